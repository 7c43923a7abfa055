"""The gradient of a weight for each row of a batch as a product of two tall matrices, which is enough to know its length.

Idea: what a layer multiplies, (positions, in), and the gradient of what comes out, (positions, out), make the gradient of its weight,
their product summed over positions. The squared length of a sum of outer products is a sum over pairs of positions of two inner products,
so the product itself need not exist: || sum_t a_t b_t' ||^2 = sum_ts (a_t . a_s)(b_t . b_s). An embedding's first factor is which
token stands where. A weight that is used twice (tied, or shared by layers) has the sum of two such products.
Cost: positions^2 (in + out) for each row; where a layer has fewer weights than that (an early convolution has few weights and a thousand
positions), its products are summed up for a few rows at a time instead, which costs positions x in x out.
Source: arXiv 1510.01799 (the idea), 2009.03106 (tied and sequence layers), 2205.10683 (choosing the cheaper of the two).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

ENTRIES = 2**22
"""Numbers that are held at once for pairs of positions, or for summed products."""


@dataclass(frozen=True)
class Outer:
    """sum over positions of the outer products of `outs` (rows, groups, positions, out) and `ins` (rows, groups, positions, in)."""

    outs: Tensor
    ins: Tensor


@dataclass(frozen=True)
class Lookup:
    """Rows of a table, `ids` (rows, positions), each with its gradient `ins` (rows, positions, width); an id of -1 has none."""

    ids: Tensor
    ins: Tensor


@dataclass(frozen=True)
class Made:
    """What is cheaper to make than to multiply: `of` gives the gradients (1, numbers) of one of so many rows at a time."""

    rows: int
    of: Callable[[int], Tensor]


Product = Outer | Lookup | Made


class Unfit(Exception):
    """Gradients of rows that cannot be told apart, or not in this way."""


def squared_length(parts: Sequence[Product]) -> Tensor:
    """(rows,) of the sum of the parts, the uses of one weight, in float64."""
    first, *others = [inner(part, part) for part in parts]
    for more in (*others, *(2 * inner(one, other) for one, other in combinations(parts, 2))):
        first = first + more
    return first


def inner(one: Product, other: Product) -> Tensor:
    """(rows,) the inner product of two gradients of one weight, in float64. Raises Unfit for two of which none is known."""
    if isinstance(one, Outer) and isinstance(other, Outer):
        return _of_layers(one, other)
    if isinstance(one, Lookup) and isinstance(other, Lookup):
        return _of_tables(one, other)
    if isinstance(one, Made) and isinstance(other, Made):
        return _of_made(one, other)
    table, layer = (one, other) if isinstance(one, Lookup) else (other, one)
    if not isinstance(table, Lookup) or not isinstance(layer, Outer):
        raise Unfit("a weight is shared by layers of two kinds")
    return _of_both(table, layer)


def _of_layers(one: Outer, other: Outer) -> Tensor:
    """By pairs of positions or by summed products, whichever is less work."""
    import torch

    rows, groups, positions, out = one.outs.shape
    others, width = other.outs.shape[2], one.ins.shape[-1]
    pairs = positions * others * (out + width) <= (positions + others) * out * width / 2
    found: list[Tensor] = []
    for some, _ in _pieces(rows, 1, groups * (positions * others if pairs else out * width)):
        if pairs:
            found.append(_dot(one.outs[some] @ other.outs[some].mT, one.ins[some] @ other.ins[some].mT))
        else:
            product = one.outs[some].mT @ one.ins[some]
            found.append(_dot(product, product if one is other else other.outs[some].mT @ other.ins[some]))
    return torch.cat(found)


def _of_made(one: Made, other: Made) -> Tensor:
    import torch

    found: list[Tensor] = []
    for row in range(one.rows):
        made = one.of(row)
        found.append(_dot(made, made if one is other else other.of(row)))
    return torch.cat(found)


def _of_tables(one: Lookup, other: Lookup) -> Tensor:
    """Pairs of positions with the same token."""
    import torch

    rows, positions = one.ids.shape
    total = torch.zeros(rows, dtype=torch.float64, device=one.ins.device)
    for some, part in _pieces(rows, positions, other.ids.shape[1]):
        ids = one.ids[some, part, None]
        same = (ids == other.ids[some, None, :]) & (ids >= 0)
        total[some] += _dot(same.to(one.ins.dtype), one.ins[some, part] @ other.ins[some].mT)
    return total


def _of_both(table: Lookup, layer: Outer) -> Tensor:
    """A table of tokens that is the head as well: what the head's gradient has in the rows that were looked up."""
    import torch

    rows, positions = table.ids.shape
    outs, ins = layer.outs[:, 0], layer.ins[:, 0]
    total = torch.zeros(rows, dtype=torch.float64, device=ins.device)
    for some, part in _pieces(rows, positions, outs.shape[1]):
        ids = table.ids[some, part]
        taken = outs[some].gather(2, ids.clamp(min=0)[:, None, :].expand(-1, outs.shape[1], -1)) * (ids >= 0)[:, None, :]
        total[some] += _dot(taken, ins[some] @ table.ins[some, part].mT)
    return total


def _dot(one: Tensor, other: Tensor) -> Tensor:
    """(rows,) the sum of all products, in float64."""
    return (one * other).flatten(1).double().sum(1)


def _pieces(rows: int, positions: int, size: int) -> Iterator[tuple[slice, slice]]:
    """Rows, and positions of them, `size` numbers each, so that no more than `ENTRIES` are held at once, or one's."""
    here = max(1, min(positions, ENTRIES // max(1, size)))
    some = max(1, ENTRIES // max(1, here * size))
    for row in range(0, rows, some):
        for place in range(0, positions, here):
            yield slice(row, row + some), slice(place, place + here)
