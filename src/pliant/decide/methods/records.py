"""What a ledger holds of fine-tuning: for every checkpoint and recipe, each setting's runs as each measure read them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pliant.changes import Finetune, recorded

if TYPE_CHECKING:
    from pliant.changes import Change
    from pliant.ledger import Ledger
    from pliant.methods import Method

READ = """
select r.study, r.checkpoint, r.base_weights, r.change_json, r.measure, r.metric, r.unit, r.better, r.seed, r.draw,
    any_value(r.measure_json) as measure_json, list(s.sample order by s.sample) as samples, list(s.value order by s.sample) as values,
    list(s.weight order by s.sample) as weights
from records r join samples s on s.key = r.key and s.draw = r.draw and s.metric = r.metric and s.study = r.study
where r.status = 'ok' and r.change_json in ({wanted}) group by all
order by r.study, r.checkpoint, r.change_json, r.measure, r.metric, r.seed, r.draw"""
FAILED = "select study, checkpoint, change_json, error from records where status <> 'ok' order by all"
Row = Mapping[str, Any]
Run = tuple[int, int]
"""Seed and draw."""


@dataclass
class Finetuned:
    """Every fine-tuning of one checkpoint with one recipe, but for learning rate, methods and steps."""

    base: dict[str, Row]
    """What each measure read before."""
    template: Finetune
    settings: dict[str, tuple[float, tuple[Method, ...]]] = field(default_factory=dict[str, "tuple[float, tuple[Method, ...]]"])
    """Learning rate and methods, by `setting`."""
    values: dict[tuple[str, int, Run, str], Row] = field(default_factory=dict[tuple[str, int, Run, str], Row])
    """What was read, by setting, steps, run and measure."""
    failed: dict[str, str] = field(default_factory=dict[str, str])
    """Why runs of a setting failed."""

    @property
    def steps(self) -> list[int]:
        """The numbers of steps that runs have."""
        return sorted({steps for _, steps, _, _ in self.values})

    @property
    def runs(self) -> list[Run]:
        """Seeds and draws."""
        return sorted({run for _, _, run, _ in self.values})


def setting(lr: float, methods: Sequence[Method]) -> str:
    """Names a learning rate with its methods."""
    return json.dumps([lr, [method.canonical() for method in methods]], sort_keys=True)


def finetuned(ledger: Ledger) -> dict[str, Finetuned]:
    """By checkpoint and, where there are several, recipe. Only what has steps, and was measured beside the unchanged checkpoint."""
    changes = _changes(ledger)
    wanted = ", ".join("'" + form.replace("'", "''") + "'" for form in changes)
    rows: list[Row] = ledger.sql(READ.format(wanted=wanted)).to_pylist() if changes else []
    metrics: dict[str, set[str]] = {}
    for row in rows:
        metrics.setdefault(row["measure"], set()).add(row["metric"])
    names = [row["measure"] if len(metrics[row["measure"]]) == 1 else f"{row['measure']}.{row['metric']}" for row in rows]
    bases: dict[tuple[str, str], dict[str, Row]] = {}
    for name, row in zip(names, rows, strict=True):
        if changes[row["change_json"]].unchanged:
            bases.setdefault((row["study"], row["base_weights"]), {}).setdefault(name, row)
    found: dict[tuple[str, str, str], Finetuned] = {}
    for name, row in zip(names, rows, strict=True):
        change, base = changes[row["change_json"]], bases.get((row["study"], row["base_weights"]))
        if isinstance(change, Finetune) and change.steps is not None and base is not None:
            known = found.setdefault((row["study"], row["checkpoint"], _recipe(change)), Finetuned(base, change))
            named = setting(change.lr, change.methods)
            known.settings[named] = (change.lr, change.methods)
            known.values[named, change.steps, (row["seed"], row["draw"]), name] = row
    _add_failed(found, ledger)
    return _told(found)


def _changes(ledger: Ledger) -> dict[str, Change]:
    """Fine-tuning, and none."""
    forms = [row["change_json"] for row in ledger.sql("select distinct change_json from records").to_pylist()]
    changes = {form: recorded(form) for form in sorted(forms)}
    return {form: change for form, change in changes.items() if change.unchanged or isinstance(change, Finetune)}


def _add_failed(found: Mapping[tuple[str, str, str], Finetuned], ledger: Ledger) -> None:
    for row in ledger.sql(FAILED).to_pylist():
        change = recorded(row["change_json"])
        if isinstance(change, Finetune) and (known := found.get((row["study"], row["checkpoint"], _recipe(change)))):
            named = setting(change.lr, change.methods)
            known.settings.setdefault(named, (change.lr, change.methods))
            known.failed.setdefault(named, str(row["error"]))


def _recipe(change: Finetune) -> str:
    varied = {"lr", "methods", "steps", "draws"}
    return json.dumps({name: value for name, value in change.canonical().items() if name not in varied}, sort_keys=True)


def _told(found: Mapping[tuple[str, str, str], Finetuned]) -> dict[str, Finetuned]:
    """Under the checkpoint's name, and the recipe's where that alone does not tell them apart."""
    named: dict[str, Finetuned] = {}
    for (_, checkpoint, _), one in found.items():
        several = sum(other == checkpoint for _, other, _ in found) > 1
        plain = one.template.model_copy(update={"methods": ()})
        name = f"{checkpoint}, {plain.title()}" if several else checkpoint
        named[name if name not in named else f"{name} ({len(named) + 1})"] = one
    return named
