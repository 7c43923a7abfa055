"""Output of lm-evaluation-harness: a folder with `samples_TASK_TIME.jsonl` and `results_TIME.json`, as `--log_samples` writes them.

An item is known by the hash of its document, and a prompt by the hash that the harness keeps. What stands in one file with several
filters (strict and flexible extraction) becomes a metric each.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import numpy as np

from pliant.comparison.files import lm_eval_totals
from pliant.comparison.outcomes import Outcomes, System, better_by_name
from pliant.data.rows import rows
from pliant.errors import PliantError
from pliant.measures.measure import Better
from pliant.spec.yaml import read_json

SAMPLES = re.compile(r"samples_(?P<task>.+?)_(?P<time>\d{4}-\d{2}-\d{2}T[\d.+-]+)\.jsonl")
PER_WORD = {"word_perplexity": "nats/word", "byte_perplexity": "nats/byte", "bits_per_byte": "nats/byte", "perplexity": "nats"}
"""Metrics whose sample is a log-likelihood with what it is divided by: they are compared as losses."""
SHOWN = 120
"""Characters of a question in examples."""


def knows(path: Path) -> bool:
    """A samples file or one of totals, or a folder with some, also one level down."""
    if path.is_file():
        return bool(SAMPLES.fullmatch(path.name)) or any(_totals(path))
    return any(_inside(path, "samples_*.jsonl")) or any(_totals(path))


def read(path: Path) -> list[System]:
    """One system for every folder, by its samples, or else by its totals. Raises PliantError with the line at fault."""
    files = [path] if path.is_file() else sorted(_inside(path, "samples_*.jsonl"))
    found = [(file, match) for file in files if (match := SAMPLES.fullmatch(file.name))]
    if not found:
        return lm_eval_totals.read(list(_totals(path)))
    return [
        _system(folder, [pair for pair in found if pair[0].parent == folder]) for folder in dict.fromkeys(file.parent for file, _ in found)
    ]


def _inside(folder: Path, pattern: str) -> Iterator[Path]:
    yield from folder.glob(pattern)
    yield from folder.glob(f"*/{pattern}")


def _totals(path: Path) -> Iterator[Path]:
    """Results of the harness: other programs have files of that name too."""
    named = [path] if path.is_file() and fnmatch(path.name, "results*.json") else _inside(path, "results_*.json")
    yield from (file for file in named if lm_eval_totals.totals_in(file) is not None)


@dataclass
class Told:
    """What the results file of a run says."""

    name: str = ""
    higher: Mapping[str, Mapping[str, Any]] = field(default_factory=dict[str, "Mapping[str, Any]"])
    shots: Mapping[str, Any] = field(default_factory=dict[str, Any])
    versions: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @classmethod
    def beside(cls, folder: Path, time: str) -> Told:
        """The one of the same time; nothing where there is none."""
        path = folder / f"results_{time}.json"
        form: Any = read_json(path, finite=False) if path.is_file() else {}
        if not isinstance(form, dict):
            raise PliantError(f"{path}: is no results file of lm-eval")
        parts = [part if isinstance(part := form.get(name), dict) else {} for name in ("higher_is_better", "n-shot", "versions")]
        return cls(str(form.get("model_name") or ""), *parts)


def _system(folder: Path, files: Sequence[tuple[Path, re.Match[str]]]) -> System:
    newest: dict[str, tuple[Path, re.Match[str]]] = {}
    for pair in sorted(files, key=lambda pair: pair[1]["time"]):
        newest[pair[1]["task"]] = pair
    told = {time: Told.beside(folder, time) for time in {match["time"] for _, match in newest.values()}}
    outcomes: dict[tuple[str, str], Outcomes] = {}
    notes: list[str] = []
    if older := len(files) - len(newest):
        notes.append(f"{folder}: {older} older samples files of the same tasks are left aside")
    for task in sorted(newest):
        path, match = newest[task]
        found, left = _task(task, path, told[match["time"]])
        outcomes |= found
        notes += left
    name = next((one.name for one in told.values() if one.name), "") or folder.name
    return System(name, str(folder), outcomes, notes)


def _task(task: str, path: Path, told: Told) -> tuple[dict[tuple[str, str], Outcomes], list[str]]:
    """The outcomes of one samples file, and what in it cannot be compared."""
    columns: dict[str, list[tuple[str, float, float | None]]] = {}
    prompts: dict[str, str] = {}
    texts: dict[str, str] = {}
    seen: Counter[tuple[str, str]] = Counter()
    skipped: Counter[str] = Counter()
    for where, record in rows([path]):
        if not isinstance(record.get("metrics"), list) or "doc_id" not in record:
            raise PliantError(f"{where}: is no sample that lm-eval wrote (it has no metrics and doc_id)")
        item, chosen = str(record.get("doc_hash") or record["doc_id"]), str(record.get("filter") or "none")
        seen[item, chosen] += 1
        if seen[item, chosen] > 1:  # the same document twice in a task
            item = f"{item}#{seen[item, chosen]}"
        prompts[item], texts[item] = str(record.get("prompt_hash") or ""), _asked(record)
        for metric in map(str, record["metrics"]):
            value, weight = _number(metric, record.get(metric))
            name = metric if chosen == "none" else f"{metric},{chosen}"
            if value is None:
                skipped[name] += 1
            else:
                columns.setdefault(name, []).append((item, value, weight))
    if not seen:
        raise PliantError(f"{path}: holds no samples")
    facts = {
        name: str(table[task])
        for name, table in (("few-shot examples", told.shots), ("version of the task", told.versions))
        if task in table
    }
    found = {
        (task, name): _outcomes(task, name, column, told.higher.get(task, {}), prompts, texts, facts)
        for name, column in columns.items()
        if name not in skipped
    }
    notes = [
        f"{task}: {name} is left out, since {f'{count:,} items lack' if name in columns else 'all items lack'} a value of their own"
        for name, count in skipped.items()
    ]
    return found, notes


def _outcomes(
    task: str,
    name: str,
    column: Sequence[tuple[str, float, float | None]],
    higher: Mapping[str, Any],
    prompts: Mapping[str, str],
    texts: Mapping[str, str],
    facts: Mapping[str, str],
) -> Outcomes:
    metric = name.partition(",")[0]
    values = np.array([value for _, value, _ in column])
    weighted = [weight for _, _, weight in column if weight is not None]
    stated = higher.get(metric)
    lower = bool(weighted) or (not stated if isinstance(stated, bool) else better_by_name(metric) == "lower")
    better: Better = "lower" if lower else "higher"
    unit = PER_WORD[metric] if weighted else "fraction" if better == "higher" and values.min() >= 0 and values.max() <= 1 else metric
    items = [item for item, _, _ in column]
    return Outcomes(
        task, name, items, values, better, unit, weights=np.array(weighted) if weighted else None, prompts=prompts, texts=texts, facts=facts
    )


def _number(metric: str, value: Any) -> tuple[float | None, float | None]:
    """A sample's value, and what it counts where that is not 1."""
    if isinstance(value, bool | int | float):
        return (float(value), None) if np.isfinite(value) else (None, None)
    pair = isinstance(value, list) and len(value) == 2 and all(isinstance(part, int | float) for part in value)
    if pair and metric in PER_WORD and np.isfinite(value).all() and value[1] > 0:
        return -float(value[0]) / float(value[1]), float(value[1])
    return None, None


def _asked(record: Mapping[str, Any]) -> str:
    """The end of the prompt, where the question stands."""
    arguments = record.get("arguments")
    first = arguments.get("gen_args_0") if isinstance(arguments, dict) else None
    text = str(first.get("arg_0", "")) if isinstance(first, dict) else ""
    return " ".join(text.split())[-SHOWN:]
