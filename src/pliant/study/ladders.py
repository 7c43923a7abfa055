"""The kinds of ladders a study can walk over, and which of them a form under `checkpoints` stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pliant.errors import PliantError
from pliant.models import FolderLadder, HubLadder, Ladder
from pliant.spec import Catalog, nearest
from pliant.study.arms import Arms
from pliant.study.branches import Branches
from pliant.train import TrainedLadder

LADDERS: Catalog[Ladder] = Catalog("ladder", FolderLadder, HubLadder, TrainedLadder, Branches, home="pliant.study.tuned_ladder")
"""Asked from the last to the first whether a form is theirs; folders, to which any text may be a path, are asked last."""


def parse_ladder(form: Any, where: str = "checkpoints") -> Ladder:
    """The ladder that a study's `checkpoints` stand for: `{ladder: ...}`, `{hub: ...}`, `NAME@REVISIONS`, folders ...

    Lists in fields that hold one value stand for several, beside each other. Raises PliantError that starts with `where`.
    """
    if form is None:
        raise PliantError(f"{where}: nothing is given")
    if Arms.takes(form):
        return Arms(arms=tuple(parse_ladder(arm, f"{where}.arms, item {number}") for number, arm in enumerate(Arms.listed(form, where), 1)))
    kinds = list(LADDERS.specs().values())
    for kind in reversed(kinds):
        if kind.takes(form):
            found = [kind.from_form(one, where) for one in _swept(kind, form, where)]
            return found[0] if len(found) == 1 else Arms(arms=tuple(found))
    words = [*(kind.key for kind in reversed(kinds)), Arms.key]
    if isinstance(form, Mapping):
        first = str(next(iter(cast("Mapping[str, Any]", form)), ""))
        raise PliantError(f"{where}: unknown form {first!r}; {nearest(first, words)}")
    raise PliantError(f"{where}: give folders, NAME@REVISIONS of a hub, or one of {', '.join(words)} with its fields, not {form!r:.40}")


def _swept(kind: type[Ladder], form: Any, where: str) -> list[Any]:
    """The forms of one ladder each that a form stands for."""
    fields = form[kind.key] if kind.wrapped else form
    if not isinstance(fields, Mapping):
        return [form]
    try:
        found = list(kind.forms(cast("Mapping[str, Any]", fields)))
    except PliantError as error:
        raise error.within(f"{where}.{kind.key}" if kind.wrapped else where) from None
    return [{kind.key: one} for one in found] if kind.wrapped else found
