"""Matrices quantized as one tensor by the methods that look at calibration text.

Idea: rows of outputs do not know of each other, so matrices that read the same inputs are quantized as one with all their rows.
Such stacks, when they are alike in shape and bits, go through GPTQ's columns side by side as well (`gptq_batched`).
When to use: `quantize` does. Cost: beside the weights, the stacks that wait for their like, at most `WAITING` bytes, or one.
What goes wrong: with one grid for a whole tensor no two matrices can share it, so each is a stack of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pliant.models.modules import naming
from pliant.quantization.grid import Granularity, Scheme
from pliant.quantization.nearest import Quantized

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.quantization.inputs import Inputs

WAITING = 2**26
"""Bytes of weights and second moments that may wait to be quantized together."""


@dataclass(frozen=True)
class Stack:
    """Matrices (by parameter name, each (out, in)) that read the same inputs, to be quantized to as many bits."""

    weights: Mapping[str, Tensor]
    inputs: Inputs
    bits: int

    @property
    def name(self) -> str:
        """Its first matrix, for messages."""
        return next(iter(self.weights))

    @property
    def shape(self) -> tuple[int, int]:
        """Rows of all matrices, and columns."""
        return sum(map(len, self.weights.values())), len(self.inputs.moments)

    @property
    def bytes(self) -> int:
        """What it holds in float32 while it is quantized."""
        rows, columns = self.shape
        return 4 * columns * (rows + columns)

    def whole(self) -> Tensor:
        """All rows (out, in) in float32."""
        import torch

        return torch.cat([weight.float() for weight in self.weights.values()])

    def parted(self, quantized: Quantized) -> Iterator[tuple[str, Quantized]]:
        """What became of each matrix, once all rows are quantized."""
        start = 0
        for name, weight in self.weights.items():
            yield name, quantized.rows(start, start + len(weight))
            start += len(weight)


def stacks(weights: Mapping[str, Tensor], inputs: Inputs, bits_of: Callable[[str], int], granularity: Granularity) -> Iterator[Stack]:
    """`weights`, which all read `inputs`, in as few stacks as their bits and grids allow."""
    if granularity == "tensor":
        yield from (Stack({name: weight}, inputs, bits_of(name)) for name, weight in weights.items())
        return
    for bits in dict.fromkeys(map(bits_of, weights)):
        yield Stack({name: weight for name, weight in weights.items() if bits_of(name) == bits}, inputs, bits)


def batches(waiting: Iterable[Stack]) -> Iterator[list[Stack]]:
    """Stacks of one shape and as many bits together, as many as `WAITING` allows."""
    alike: dict[tuple[tuple[int, int], int], list[Stack]] = {}
    for stack in waiting:
        batch = alike.setdefault((stack.shape, stack.bits), [])
        batch.append(stack)
        if sum(each.bytes for stacked in alike.values() for each in stacked) >= WAITING:
            yield from alike.values()
            alike.clear()
    yield from alike.values()


def quantize_together(
    batch: list[Stack], method: Literal["gptq", "awq"], scheme: Scheme, granularity: Granularity, act_order: bool
) -> Iterator[tuple[str, Quantized]]:
    """Each matrix of a batch (see `batches`) with its grids. Raises PliantError that names the first matrix of a stack."""
    from pliant.quantization.awq import awq
    from pliant.quantization.gptq import Factor
    from pliant.quantization.gptq_batched import gptq_batched

    if method == "awq":
        for stack in batch:
            with naming(stack.name):
                yield from stack.parted(awq(stack.whole(), stack.inputs.moments, stack.inputs.magnitudes, stack.bits, scheme, granularity))
        return
    factors: list[Factor] = []
    for stack in batch:
        with naming(stack.name):
            factors.append(stack.inputs.factor(act_order))
    with naming(batch[0].name):
        quantized = gptq_batched([stack.whole() for stack in batch], factors, batch[0].bits, scheme, granularity)
    for stack, one in zip(batch, quantized, strict=True):
        yield from stack.parted(one)
