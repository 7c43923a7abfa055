"""A merge, tensor after tensor: what goes into the formula, what is left out of it, and an account of what came of it.

Idea: a merge can be wrong without a word: an input that is the base once more, an update below the last digit of the type that it is
written in, variances that are no more. So the result is compared with the base while it is made.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pliant.errors import PliantError
from pliant.merging.formulas import Formula, Setting
from pliant.merging.pieces import Entry, Tensors, WeightSource, finite, spans
from pliant.models.checks import computed
from pliant.progress import progress

if TYPE_CHECKING:
    from torch import Tensor

STATISTICS = ("running_mean", "running_var")
"""What batch norm keeps for evaluation; see `models.batch_norm`."""


@dataclass
class Account:
    """What came of a merge."""

    tensors: int = 0
    """How many there were to merge."""
    changed: int = 0
    """How many are other than the base's."""
    differing: list[bool] = field(default_factory=list[bool])
    """Of each of the others, whether any of its tensors is."""
    rounded_away: list[str] = field(default_factory=list[str])
    """Tensors whose update was below the last digit."""
    statistics: int = 0
    """Running means and variances of batch norm."""

    def remarks(self, base: str, others: Sequence[str], formula: Formula) -> list[str]:
        """What a user should know, a line each."""
        same = [other for other, differs in zip(others, self.differing, strict=True) if not differs]
        said = [f"{other} holds the same weights as {base}: it adds nothing" for other in same]
        if self.rounded_away:
            more = f" and {len(self.rounded_away) - 1} more tensors" if len(self.rounded_away) > 1 else ""
            said.append(f"{self.rounded_away[0]}{more}: the update is below the last digit of their type; write with dtype float32")
        if self.statistics:
            done = "were merged like weights" if formula.mean else "are the base's"
            said.append(
                f"{self.statistics} running means and variances of batch norm {done}, and fit other activations; take them anew on "
                "examples with statistics: {label: {data: ...}}"
            )
        return said


def blended(
    base: WeightSource, others: Sequence[WeightSource], written: Mapping[str, Entry], formula: Formula, told: Setting, account: Account
) -> Iterator[tuple[str, int, Tensor]]:
    """The merged tensors, piece by piece, as (name, where the piece begins, its numbers), in the order and types of `written`.

    Fills in `account`. Raises PliantError for numbers that are not finite, before or after, and for other whole numbers than the base's.
    """
    account.differing = [False] * len(others)
    with progress("merging", sum(entry.count for entry in written.values())) as advance:
        for name, entry in written.items():
            if not base.entries[name].floating:
                yield from _as_they_are(name, base, others)
            elif name.endswith(STATISTICS) and not formula.mean:
                account.statistics += 1
                yield from ((name, begin, base.read(name, begin, end).to(entry.torch_dtype)) for begin, end in spans(entry.count))
            else:
                account.statistics += name.endswith(STATISTICS)
                yield from _merged(Tensors(name, base, others), entry, formula, told, account)
            advance(entry.count)


def _merged(tensors: Tensors, entry: Entry, formula: Formula, told: Setting, account: Account) -> Iterator[tuple[str, int, Tensor]]:
    import torch

    name, number = tensors.name, entry.torch_dtype
    combine = formula.of(tensors, told)
    meant = changed = False
    for begin, was, others in tensors.pieces():
        for place, other in enumerate(others):
            account.differing[place] = account.differing[place] or not torch.equal(other, was)
        piece = combine(was, others)
        rounded = piece.to(number)
        if not finite(rounded):
            raise PliantError(f"{name}: the merged weights are more than {entry.dtype} can hold; lower the weight, or write float32")
        meant = meant or not torch.equal(piece, was)
        changed = changed or not torch.equal(rounded, was.to(number))
        yield name, begin, rounded
    account.tensors += 1
    account.changed += changed
    if meant and not changed:
        account.rounded_away.append(name)


def _as_they_are(name: str, base: WeightSource, others: Sequence[WeightSource]) -> Iterator[tuple[str, int, Tensor]]:
    """Counts and masks, which no mean makes sense of."""
    import torch

    for begin, end in spans(base.entries[name].count):
        piece = base.read(name, begin, end)
        if not computed(name, None):
            other = next((other for other in others if not torch.equal(other.read(name, begin, end), piece)), None)
            if other is not None:
                raise PliantError(f"{other.address}: {name} holds other whole numbers than {base.address}, of which no mean makes sense")
        yield name, begin, piece
