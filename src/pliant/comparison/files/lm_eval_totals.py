"""Results of lm-evaluation-harness without samples: `results_TIME.json`, which holds the mean of each task and its standard error.

A mean whose error is that of right and wrong answers is taken for a number of right ones; another mean with an error for what it is.
What is no mean over items (a perplexity, a corpus's BLEU) is left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pliant.comparison.outcomes import Outcomes, System, better_by_name
from pliant.comparison.totals import MOST, of_mean, of_total
from pliant.errors import PliantError
from pliant.measures.measure import Better
from pliant.spec.yaml import read_json


def totals_in(path: Path) -> Mapping[str, Any] | None:
    """What a results file of the harness says; None for another program's, which may have that name too."""
    told = read_json(path, finite=False)
    known = isinstance(told, dict) and isinstance(told.get("results"), dict) and {"configs", "lm_eval_version", "versions"} & set(told)
    return told if known else None


def read(files: Sequence[Path]) -> list[System]:
    """One system for every folder, from its newest results. Raises PliantError where none holds a mean over items."""
    newest = {path.parent: path for path in sorted(files)}
    return [_system(path) for path in newest.values() if totals_in(path) is not None]


def _system(path: Path) -> System:
    form = totals_in(path)
    assert form is not None
    outcomes: dict[tuple[str, str], Outcomes] = {}
    notes: list[str] = []
    for task, row in form["results"].items():
        if not isinstance(row, dict) or task in _part(form, "group_subtasks"):
            continue
        found = {key.removesuffix(",none"): _outcomes(task, key, row, form) for key, value in row.items() if _is_mean(key, value)}
        outcomes |= {(task, name): told for name, told in found.items() if told is not None}
        if lacking := [name for name, told in found.items() if told is None]:
            notes.append(f"{task}: {', '.join(lacking)} cannot be compared without samples; run lm_eval again with --log_samples")
    if not outcomes:
        raise PliantError(f"{path}: holds no means with their errors, which alone compare without samples; run lm_eval with --log_samples")
    return System(str(form.get("model_name") or path.parent.name), str(path), outcomes, notes)


def _is_mean(key: str, value: Any) -> bool:
    return "," in key and "_stderr," not in key and isinstance(value, int | float) and not isinstance(value, bool)


def _outcomes(task: str, key: str, row: Mapping[str, Any], form: Mapping[str, Any]) -> Outcomes | None:
    """Of one metric; None where it is no mean over items."""
    metric, _, chosen = key.partition(",")
    mean, error, count = row[key], row.get(f"{metric}_stderr,{chosen}"), _count(task, row, form)
    if not isinstance(error, int | float) or not np.isfinite([mean, error]).all() or not 1 < count <= MOST:
        return None
    stated = _part(_part(form, "higher_is_better"), task).get(metric)
    better: Better = better_by_name(metric) if not isinstance(stated, bool) else "higher" if stated else "lower"
    names = {"few-shot examples": "n-shot", "version of the task": "versions"}
    facts = {name: str(_part(form, part)[task]) for name, part in names.items() if task in _part(form, part)}
    name = key.removesuffix(",none")
    aggregated = _aggregation(task, metric, form)
    right_or_wrong = 0 <= mean <= 1 and np.isclose(error, np.sqrt(mean * (1 - mean) / (count - 1)), rtol=0.01, atol=1e-9)
    if right_or_wrong and aggregated in ("", "mean"):
        return of_total(task, name, mean, count, better, facts)
    return of_mean(task, name, mean, error, count, better, facts) if aggregated == "mean" else None


def _count(task: str, row: Mapping[str, Any], form: Mapping[str, Any]) -> int:
    known = _part(_part(form, "n-samples"), task).get("effective", row.get("sample_len"))
    return known if isinstance(known, int) else 0


def _aggregation(task: str, metric: str, form: Mapping[str, Any]) -> str:
    metrics = _part(_part(form, "configs"), task).get("metric_list")
    said = [one for one in metrics if isinstance(one, dict) and one.get("metric") == metric] if isinstance(metrics, list) else []
    return str(said[0].get("aggregation", "")) if said else ""


def _part(form: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    part = form.get(name)
    return part if isinstance(part, dict) else {}
