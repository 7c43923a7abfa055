"""Selection: which examples are kept, by a plain table from ids to values.

Idea: whatever gives an example a number (a score, another program, a person) writes a table; those with the highest or lowest values,
or a window of them, are kept. A random choice of the same size is the control that every selection needs.
When to use it: pruning easy or noisy examples before training. Cost: reading the table.
What goes wrong: scores depend on the model, the part and the moment they were taken. Fewer examples are also seen more often at equal
steps. At small fractions (a quarter and less) the hardest examples alone teach worse than random ones; with wrong labels the hardest are
the wrong ones, so pass over the first of them (`skip`).
Source: arXiv 2107.07075; windows as in arXiv 2405.20541.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from pliant.data.content import contents
from pliant.data.locate import locate
from pliant.data.rows import rows
from pliant.errors import PliantError
from pliant.spec import Content, digest

VALUES = ("score", "value")
"""What the column of values may be called; that of ids is `id`."""


class Selection(Content):
    """Keep a fraction of the examples: those with the highest or lowest values in a table, or any."""

    scores: str | None = Field(default=None, min_length=1, description="Table with the columns id and score, as `pliant score` writes")
    keep: float = Field(gt=0, le=1, description="Fraction of the examples that is kept")
    order: Literal["highest", "lowest", "random"] = Field(
        default="highest", description="Which come first: the highest values, the lowest, or any"
    )
    skip: float = Field(default=0.0, ge=0, lt=1, description="Fraction at the beginning of that order that is passed over")
    balanced: bool = Field(default=False, description="Keep that fraction of every class, where there are classes")
    seed: int = Field(default=0, ge=0, description="Of a random order")
    within_source: bool = Field(default=False, description="Keep that fraction of every source in the table: a relation, a file")

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `within_source` where not, so that records from before there was a choice keep their keys."""
        return {name: value for name, value in handler(self).items() if name != "within_source" or value}

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if self.scores is None and self.order != "random":
            raise ValueError("give a table of scores, or order: random")
        if self.within_source and (self.scores is None or self.balanced):
            raise ValueError("within_source needs a table of scores, and does not go with balanced")
        if self.keep + self.skip > 1:
            raise ValueError(f"skip {self.skip:g} and keep {self.keep:g} are more than there is")
        return self

    def fingerprint(self) -> str:
        """Of the values and of what is done with them. Raises PliantError for a table that cannot be read."""
        table = contents(locate(self.scores)) if self.scores is not None else []
        within = ["within_source"] if self.within_source else []
        return digest(json.dumps([table, self.keep, self.order, self.skip, self.balanced, self.seed, *within]))

    def kept(self, ids: Sequence[str], labels: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
        """Which of the examples with these ids are kept: `keep` times their number, rounded, at least one; ties go by id.

        Args:
            ids: Of the examples to choose from.
            labels: The class of each, (examples,), for a choice within classes.

        Raises PliantError for a table that cannot be read, where an example has no value in it, and for classes where there are none.
        """
        if self.balanced and labels is None:
            raise PliantError("`balanced` keeps a fraction of every class, and these examples have none; leave it out")
        keys = self._keys(ids)
        classes = self._sources(ids) if self.within_source else np.zeros(len(ids), np.int64)
        if self.balanced and labels is not None:
            classes = labels
        kept = np.zeros(len(ids), bool)
        for name in np.unique(classes):
            inside = np.flatnonzero(classes == name)
            ordered = inside[np.argsort(keys[inside], kind="stable")]
            first = round(self.skip * len(inside))
            kept[ordered[first : first + max(1, round(self.keep * len(inside)))]] = True
        return kept

    def _keys(self, ids: Sequence[str]) -> NDArray[Any]:
        """What the examples are sorted by, ascending."""
        if self.order == "random":
            return np.array([hashlib.sha256(f"{self.seed} {name}".encode()).hexdigest() for name in ids])
        values = self.values()
        missing = [name for name in ids if name not in values]
        if missing:
            raise PliantError(
                f"{self.scores}: {len(missing)} of {len(ids)} examples have no value, the first of them {missing[0]}; "
                "score the data that is selected from, and the same part of it"
            )
        sign = -1.0 if self.order == "highest" else 1.0
        ranks = np.empty(len(ids), np.int64)
        ranks[np.lexsort((np.array(ids), sign * np.array([values[name] for name in ids])))] = np.arange(len(ids))
        return ranks

    def _sources(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """The number of each example's source."""
        assert self.scores is not None  # see `_sensible`
        told = {str(record.get("id")): str(record.get("source", "")) for _, record in rows(locate(self.scores))}
        return np.unique([told.get(name, "") for name in ids], return_inverse=True)[1].astype(np.int64)

    def values(self) -> dict[str, float]:
        """The table. Raises PliantError that names the row at fault."""
        assert self.scores is not None  # see `_sensible`
        found: dict[str, float] = {}
        for where, record in rows(locate(self.scores)):
            column = next((name for name in VALUES if name in record), None)
            if "id" not in record or column is None:
                raise PliantError(f"{where}: a table of scores has the columns id and score, not {', '.join(list(record)[:8]) or 'none'}")
            name, value = str(record["id"]), _number(record[column])
            if value is None:
                raise PliantError(f"{where}: the {column} of {name[:40]} is {str(record[column])[:40]!r}, not a finite number")
            if name in found:
                raise PliantError(f"{where}: {name[:40]} has a value already; ids must be different")
            found[name] = value
        if not found:
            raise PliantError(f"{self.scores}: the table is empty")
        return found


def _number(value: Any) -> float | None:
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if math.isfinite(number) else None
