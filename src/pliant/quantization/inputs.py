"""What the inputs of a network's linear layers look like: the statistics that GPTQ and AWQ work with, kept for a sweep.

Idea: second moments H = X X^T and mean |x| are all that either method needs to know of a text; layers that read the same tensor share
them. Cost: width^2 numbers a layer input; beyond `KEEP_BYTES` in all they are kept in a temporary folder, not in memory.
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from pliant.errors import PliantError
from pliant.files import disk_errors, workplace
from pliant.quantization.gptq import Factor, factor

if TYPE_CHECKING:
    from torch import Tensor

KEEP_BYTES = 2**30
"""Moments and their factors kept in memory before the rest goes to a temporary folder."""


@dataclass
class Inputs:
    """What the inputs of one or more linear layers looked like: moments X X^T / tokens (in, in), mean |x| (in,), float32."""

    moments: Tensor
    magnitudes: Tensor
    factors: dict[bool, Factor] = field(default_factory=dict[bool, Factor])

    def factor(self, act_order: bool) -> Factor:
        """The Cholesky factor GPTQ works with, made once for each column order."""
        if act_order not in self.factors:
            self.factors[act_order] = factor(self.moments, act_order)
        return self.factors[act_order]


class Calibration:
    """Input statistics of every linear layer inside a model's blocks, and of its output head."""

    def __init__(self) -> None:
        self._shared: dict[str, str] = {}  # layer -> the layer whose inputs are the same tensor
        self._kept: dict[str, Inputs] = {}
        self._folder: Path | None = None
        self._bytes = 0

    def groups(self) -> Iterator[tuple[list[str], Inputs]]:
        """Layers that read the same inputs, with those inputs, in the order of the network."""
        for first in dict.fromkeys(self._shared.values()):
            yield [layer for layer, source in self._shared.items() if source == first], self._load(first)

    def inputs(self, layer: str) -> Inputs:
        """The inputs of one layer by its module name. Raises PliantError for a layer that was never run."""
        if layer not in self._shared:
            raise PliantError(f"{layer} did not take part in calibration; round it to nearest, or leave it out")
        return self._load(self._shared[layer])

    def add(self, shared: dict[str, str], collected: dict[str, Inputs]) -> None:
        """Take in one block's statistics."""
        self._shared |= shared
        for layer, inputs in collected.items():
            self._bytes += inputs.moments.numel() * 4 * 2  # and as much again for the factor that is made of them
            if self._bytes > KEEP_BYTES:
                self._spill(layer, inputs)
            else:
                self._kept[layer] = inputs

    def _spill(self, layer: str, inputs: Inputs) -> None:
        from safetensors.torch import save_file

        if self._folder is None:
            kept = ExitStack()
            self._folder = kept.enter_context(workplace(Path(tempfile.gettempdir()) / "pliant-calibration"))
            weakref.finalize(self, kept.close)
        with disk_errors(self._folder):
            save_file({"moments": inputs.moments, "magnitudes": inputs.magnitudes}, self._folder / f"{layer}.safetensors")

    def _load(self, layer: str) -> Inputs:
        if layer in self._kept:
            return self._kept[layer]
        from safetensors.torch import load_file

        assert self._folder is not None
        stored = load_file(self._folder / f"{layer}.safetensors")
        return Inputs(stored["moments"], stored["magnitudes"])
