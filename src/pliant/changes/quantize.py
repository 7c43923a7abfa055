"""Post-training quantization: the weights moved to a grid of 2^bits values.

Idea: keep the weights' type but only let them take the few values that a low-bit format could store ("simulated"), so that the
loss is what a real kernel's would be, up to its own arithmetic.
When to use it: to learn what fewer bits cost a given checkpoint before choosing a format and a kernel.
Cost: `rtn` (round to nearest) a few passes over the weights, no data.
What goes wrong: one outlier widens the grid of its whole tensor, row or group; loss rises of different groupings are different
laws, never fit them together; a grid on a model already quantized starts from its rounded weights.
Source: symmetric grid as in arXiv 2411.04330 (appendix); see `pliant.rounding`.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pliant.changes.change import Change
from pliant.changes.weights import TENSORS, check_finite, select
from pliant.errors import PliantError
from pliant.rounding import Scheme, Slice, round_to_grid

if TYPE_CHECKING:
    from pliant.models import Model


class Quantize(Change):
    """Round the weight matrices to a grid of 2^bits values."""

    bits: int = Field(ge=2, le=8, description="Bits per weight")
    method: Literal["rtn"] = Field("rtn", description="How: `rtn` rounds each weight to its nearest grid value")
    scheme: Scheme = Field("symmetric", description="`symmetric` grids are centred on zero, `asymmetric` ones span the weights' range")
    group: Slice = Field(
        "channel", description="Which weights share a grid: the whole `tensor`, each `channel` (row of outputs), or that many neighbours"
    )
    tensors: str = Field("matrices", description=TENSORS)

    def apply(self, model: Model, seed: int, draw: int, undo: ExitStack) -> None:
        """Round every selected tensor. Raises PliantError that names the tensor a group does not divide, or that is not finite."""
        for name, weight in select(model.network, self.tensors).items():
            check_finite(name, weight)
            try:
                weight.copy_(round_to_grid(weight, self.bits, self.scheme, self.group))
            except PliantError as error:
                raise error.within(name) from None
