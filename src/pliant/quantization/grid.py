"""Rounding numbers to a grid of 2^bits values: the one place where pliant quantizes.

Idea: the largest magnitude (symmetric, full_range) or the extremes (asymmetric) of a slice of a tensor set an evenly spaced grid,
and every number of the slice moves to its nearest grid value. Finished weights (`quantize`) and the forward pass of
quantization-aware training (`qat`) share it, so "4 bits" means the same in both.
Cost: a few passes over the tensor; nothing is stored in fewer bits, numbers are only *rounded* (fake quantization).
What goes wrong: one outlier in a slice widens the whole grid; smaller slices (channel, group) contain the damage.
Source: symmetric form as in Scaling Laws for Precision (arXiv 2411.04330, appendix): s = Qp / max|x|, round, clamp to
[-2^(b-1), 2^(b-1) - 1], divide by s. full_range is the symmetric grid of compressed-tensors: s = (2^(b-1) - 1/2) / max|x|.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pliant.errors import PliantError

if TYPE_CHECKING:
    from torch import Tensor

Scheme = Literal["symmetric", "full_range", "asymmetric"]
"""symmetric: max|x| is the last positive value, so that the most negative of the 2^bits stays unused; full_range: max|x| lies half a
step beyond the last positive value, so that all are used; asymmetric: the grid spans [min(x, 0), max(x, 0)]. Zero is on every grid."""

Granularity = Literal["tensor", "channel"] | int
"""What shares one grid: the whole tensor, each row (all but the last index fixed), or `int` neighbours within a row."""


@dataclass(frozen=True)
class Grid:
    """Evenly spaced values `(code - zero) / scale` for codes `low..high`; `scale` and `zero` broadcast against the slices.

    `scale` counts grid steps per unit of x. Tensors are shaped as `slices(x, granularity)` with a last dimension of 1.
    """

    scale: Tensor
    zero: Tensor | None
    low: int
    high: int

    def codes(self, x: Tensor) -> Tensor:
        """The whole number (kept in x's dtype) of the grid value nearest to each entry; ties go to the even code."""
        code = (x * self.scale).round()
        return (code if self.zero is None else code + self.zero).clamp(self.low, self.high)

    def values(self, codes: Tensor) -> Tensor:
        """The numbers that `codes` stand for."""
        return (codes if self.zero is None else codes - self.zero) / self.scale

    def round(self, x: Tensor) -> Tensor:
        """Each entry of x moved to its nearest grid value."""
        return self.values(self.codes(x))

    def reshaped(self, change: Callable[[Tensor], Tensor]) -> Grid:
        """The same grids, or some of them, in the shape that `change` gives scale and zero."""
        return Grid(change(self.scale), None if self.zero is None else change(self.zero), self.low, self.high)


def fit_grid(x: Tensor, bits: int, scheme: Scheme = "symmetric") -> Grid:
    """The grid of each slice, where slices lie along the last dimension of x (see `slices`).

    A slice of zeros gets scale 1, so that it rounds to itself. Raises PliantError unless 2 <= bits <= 16.
    """
    if not 2 <= bits <= 16:
        raise PliantError(f"cannot round to {bits} bits; choose from 2 to 16")
    half = 2 ** (bits - 1)
    if scheme != "asymmetric":
        reach = x.abs().amax(-1, keepdim=True)
        return Grid(_steps(half - 1 if scheme == "symmetric" else half - 0.5, reach), None, -half, half - 1)
    low, high = x.amin(-1, keepdim=True).clamp(max=0), x.amax(-1, keepdim=True).clamp(min=0)
    scale = _steps(2 * half - 1, high - low)
    return Grid(scale, (-low * scale).round(), 0, 2 * half - 1)


def joined(grids: Sequence[Grid], join: Callable[[list[Tensor]], Tensor]) -> Grid:
    """Grids of one scheme and width as one, whose scale and zero `join` (such as `torch.stack`) makes of theirs."""
    zeros = [grid.zero for grid in grids if grid.zero is not None]
    return Grid(join([grid.scale for grid in grids]), join(zeros) if zeros else None, grids[0].low, grids[0].high)


def round_to_grid(x: Tensor, bits: int, scheme: Scheme = "symmetric", granularity: Granularity = "channel") -> Tensor:
    """x with every entry moved to the nearest of at most 2^bits values of its slice's grid; same shape and dtype.

    Arithmetic is in float32 at least, whatever x's dtype. For a linear layer's weight (out, in), `channel` is one grid
    per output row; transpose weights that are stored (in, out) first.

    Raises PliantError for bits outside 2..16 and for a group that does not divide the last dimension.
    """
    wide = x if x.element_size() >= 4 else x.float()
    sliced = slices(wide, granularity)
    return fit_grid(sliced, bits, scheme).round(sliced).view(x.shape).to(x.dtype)


def slices(x: Tensor, granularity: Granularity) -> Tensor:
    """x viewed so that its last dimension is one slice: (1, all), (..., row) or (..., row / group, group)."""
    if granularity == "tensor":
        return x.reshape(1, -1)
    if granularity == "channel":
        return x
    if granularity < 1 or x.shape[-1] % granularity:
        raise PliantError(f"groups of {granularity} do not divide rows of {x.shape[-1]}; choose a divisor, or `channel`")
    return x.reshape(*x.shape[:-1], x.shape[-1] // granularity, granularity)


def _steps(steps: float, reach: Tensor) -> Tensor:
    """steps / reach, and 1 where the reach is zero (or too small to divide by)."""
    scale = steps / reach
    return scale.where(~scale.isinf(), 1.0)
