"""Changes: what is done to finished weights before they are used. One file each; a new one is a file and a name in `CHANGES`."""

from __future__ import annotations

import itertools
import json
from functools import cache
from typing import Any

from pliant.changes.chain import Chain
from pliant.changes.change import Change
from pliant.changes.finetune import Finetune
from pliant.changes.merge import Merge
from pliant.changes.none import NoChange
from pliant.changes.perturb import Perturb
from pliant.changes.quantize import Quantize
from pliant.changes.recorded import Recorded
from pliant.errors import PliantError
from pliant.spec import Catalog, check_count

CHANGES: Catalog[Change] = Catalog("change", NoChange, Perturb, Quantize, Finetune, Merge, Chain)

__all__ = ["CHANGES", "Chain", "Change", "Finetune", "Merge", "NoChange", "Perturb", "Quantize", "Recorded", "parse_changes", "recorded"]


def parse_changes(form: Any, where: str = "changes") -> list[Change]:
    """The changes that a study's `changes` list stands for, sweeps multiplied out.

    Each item is one change in the forms of `Catalog.expand`, or a list: a chain, which stands for every combination of
    what its links stand for. Raises PliantError that names the item, and for a list without items.
    """
    if not isinstance(form, list) or not form:
        raise PliantError(f"{where}: expected a list of changes such as `- quantize: {{bits: 4}}`, got {form!r}")
    changes: list[Change] = []
    for number, item in enumerate(form, 1):
        changes += _expand(item, f"{where}, item {number}")
        check_count((len(changes),), f"{where}: its items")
    return list({change.hash(): change for change in changes}.values())


def _expand(item: Any, where: str) -> list[Change]:
    if not isinstance(item, list):
        return CHANGES.expand(item, where)
    links = [CHANGES.expand(link, where) for link in item]
    if not links:
        raise PliantError(f"{where}: a chain needs at least one change")
    try:
        check_count(map(len, links), "the chain's lists")
        return [chain[0] if len(chain) == 1 else Chain(links=chain) for chain in itertools.product(*links)]
    except PliantError as error:
        raise error.within(where) from None


@cache
def recorded(change_json: str) -> Change:
    """The change whose canonical form a record holds; see `pliant.changes.recorded`."""
    form = json.loads(change_json)
    try:
        return CHANGES.parse(form)
    except PliantError:
        return Recorded(form=form)
