"""Which sources to train on at a budget: short runs on each alone, the quality/quantity law fitted to all, every set compared by it.

Idea: a better pool lowers the loss faster, a small one wears out when it is repeated. Both are told by a few short runs on each source
alone, some of which repeat it; the law then says what any set of them would come to at the budget (`decide.fits.data.pools`).
Cost: the ladder's budgets, once for each source.
What goes wrong: runs that never repeat a source know nothing of how it wears out; transfer between sources is not modelled.
Source: arXiv 2404.07177.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.data import Corpus, load_tokenizer, packed
from pliant.decide.data.trained import fields_of, sources_of, trained
from pliant.decide.fits.data import MOST_POOLS
from pliant.decide.fits.data import pools as best_pools
from pliant.errors import PliantError
from pliant.spec import nearest

if TYPE_CHECKING:
    from pliant.decide.fits.answer import Decision
    from pliant.study import Study

FEWEST = 3
"""Budgets from which a utility can be told."""


def pools(study: Study, folder: Path, samples: float, *, measure: str | None = None, **running: Any) -> Decision:
    """The set of the mixture's sources with the lowest `measure` after `samples` training tokens.

    Raises PliantError for a study of another form, fewer than three budgets, several measures and none named, and failed runs.
    """
    from pliant.laws import fit

    fields = fields_of(study)
    sources = sources_of(fields)
    budgets = fields.get("tokens") or ()
    if len(fields["model"]) != 1:
        raise PliantError("pools are compared for one model; give the ladder one")
    if len(budgets) < FEWEST:
        raise PliantError(f"short runs tell a law from {FEWEST} budgets on: checkpoints: {{ladder: {{tokens: [1M, 2M, 4M], ...}}}}")
    if not 2 <= len(sources) <= MOST_POOLS:
        raise PliantError(f"pools are compared from 2 to {MOST_POOLS}, not {len(sources)}; merge the most alike")
    if len(budgets) * len(sources) * len(study.seeds) <= 2 + 2 * len(sources):
        raise PliantError(f"{len(budgets)} budgets of {len(sources)} sources are too few runs for the law; add a budget, or a seed")
    name = _measured(study, measure)
    rows = [row for source, form in sources.items() for row in _rows(study, fields, source, form, name, folder, running)]
    table = {column: [row[column] for row in rows] for column in ("n", "S", "error", "pool")}
    found = best_pools(fit("utility", table, by={"b": "pool", "tau": "pool"}), samples)
    if all(n <= size for n, size in zip(table["n"], table["S"], strict=True)):
        found.warnings.append("no run repeats its source, so how fast any of them wears out is not known; add longer budgets")
    return found


def _measured(study: Study, measure: str | None) -> str:
    if measure is None and len(study.measures) > 1:
        raise PliantError(f"the law is of one measure: give --measure, one of {', '.join(study.measures)}")
    name = measure or next(iter(study.measures))
    if name not in study.measures:
        raise PliantError(f"no measure is called {name!r}; {nearest(name, study.measures)}")
    return name


def _rows(
    study: Study, fields: dict[str, Any], source: str, form: dict[str, Any], measure: str, folder: Path, running: dict[str, Any]
) -> list[dict[str, Any]]:
    """A row for every run on this source."""
    runs = trained(study, f"pool-{source}", {"ladder": {**fields, "corpus": form}}, folder, **running)
    size = len(packed(Corpus.parse(form), load_tokenizer(fields["model"][0]["tokenizer"])))
    records = runs.own.records()
    found = [
        {"n": float(row["tokens"]), "S": float(size), "error": float(row["value"]), "pool": source}
        for row in records
        if row["measure"] == measure
    ]
    if any(row["better"] == "higher" for row in records if row["measure"] == measure):
        raise PliantError(f"{measure}: the law is of a loss or an error; name a measure of which lower is better")
    return found
