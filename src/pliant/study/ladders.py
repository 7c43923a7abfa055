"""The kinds of ladders a study can walk over, and which of them a form under `checkpoints` stands for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from pliant.errors import PliantError
from pliant.models import FolderLadder, HubLadder, Ladder
from pliant.spec import Catalog, nearest
from pliant.train import TrainedLadder

LADDERS: Catalog[Ladder] = Catalog("ladder", FolderLadder, HubLadder, TrainedLadder)
"""Asked from the last to the first whether a form is theirs; folders, to which any text may be a path, are asked last."""


def parse_ladder(form: Any, where: str = "checkpoints") -> Ladder:
    """The ladder that a study's `checkpoints` stand for: `{ladder: ...}`, `{hub: ...}`, `NAME@REVISIONS`, folders ...

    Raises PliantError that starts with `where`.
    """
    if form is None:
        raise PliantError(f"{where}: nothing is given")
    kinds = list(LADDERS.specs().values())
    for kind in reversed(kinds):
        if kind.takes(form):
            return kind.from_form(form, where)
    words = [kind.key for kind in reversed(kinds)]
    if isinstance(form, Mapping):
        first = str(next(iter(cast("Mapping[str, Any]", form)), ""))
        raise PliantError(f"{where}: unknown form {first!r}; {nearest(first, words)}")
    raise PliantError(f"{where}: give folders, NAME@REVISIONS of a hub, or one of {', '.join(words)} with its fields, not {form!r:.40}")
