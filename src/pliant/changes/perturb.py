"""Gaussian noise on the weights: the plainest question of how much a checkpoint bears.

Idea: W + s z with z standard normal, one s per tensor: a multiple of the tensor's standard deviation at initialisation, or of
its present root mean square, or a signal-to-noise ratio. For small s the rise of the loss is half the Hessian's trace weighted
by s^2, so this is also a flatness probe.
When to use it: to compare checkpoints of one family, at several scales. `init` is the published probe, the same noise for every
checkpoint; `rms` is fairer where weight decay shrinks the matrices while norm gains grow, so report both.
Cost: drawing as many normal numbers as there are weights (135M: about a second on a CPU core) and one evaluation a draw.
With `split`, two evaluations for all draws together: each pair reads its own share of the samples. Where the spread from draw to
draw is the larger one, as it is for small models, the same cost then buys several times the precision. Give 32 draws or more,
since shares are what the standard error counts (see `pliant.measures.shares`).
Comparisons need few draws: draw k is the same noise at every checkpoint (common random numbers), and draws 2k and 2k + 1 are the
same noise with opposite signs, so that the loss's slope cancels from their mean (antithetic pairs). Give an even number of draws.
What goes wrong: with `split`, the value of one sample is that under its share's noise alone; only means over samples say
something about the change. The embedding of a tiny byte-level model carries most of the sensitivity; look at `tensors: linear` too.
Only matrices are perturbed. Norm gains and biases start as constants, with zero variance: no multiple of it says anything.
Source: arXiv 2503.19206 (section 3, unit init); noise at a given signal-to-noise ratio as in arXiv 2605.23901.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, model_validator

from pliant.changes.change import Change
from pliant.errors import PliantError
from pliant.models.modules import TENSORS, check_finite, named_tensors, select

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from pliant.models import Model


UNITS = {"rms": "relative to weight RMS", "init": "relative to initial spread", "snr_db": "by signal to noise"}
"""The units of noise, in words."""

MOST_DECIBELS = 300.0
"""Beyond them noise, or the weights, are below the last digit of any number type."""


class Perturb(Change):
    """Add Gaussian noise to the weight matrices."""

    called = "Gaussian noise"
    strength_field = "scale"
    untold = frozenset({"draws", "split", "unit"})
    mirrored = True
    scale: float = Field(allow_inf_nan=False, description="How much noise, in `unit`; above 0 unless it is decibels")
    unit: Literal["init", "rms", "snr_db"] = Field(
        "rms",
        description="What `scale` counts: standard deviations at initialisation, root mean squares of the tensor's weights, or decibels of "
        "weight power over noise power (more is less noise)",
    )
    tensors: str = Field("matrices", description=TENSORS)
    draws: int = Field(4, ge=1, description="Noise draws to average over; even, since they come in pairs of opposite sign")  # pyright: ignore[reportIncompatibleVariableOverride]
    split: bool = Field(
        False, description="Each pair of draws reads its own share of the samples: all draws together cost two evaluations, not one each"
    )

    @model_validator(mode="after")
    def _sensible(self) -> Perturb:
        if self.unit != "snr_db" and self.scale <= 0:
            raise ValueError(f"scale must be above 0 in unit {self.unit}")
        if self.unit == "snr_db" and abs(self.scale) > MOST_DECIBELS:
            raise ValueError(f"scale must lie within {MOST_DECIBELS:g} decibels (got {self.scale:g})")
        if self.split and self.draws % 2:
            raise ValueError(f"draws must be even with split, since pairs of draws share the samples among them (got {self.draws})")
        return self

    def canonical(self) -> dict[str, Any]:
        """Without `split` where it is off, so that records from before there was one keep their keys."""
        return {name: value for name, value in super().canonical().items() if name != "split" or value}

    @property
    def shares(self) -> int:
        """One for each pair of split draws."""
        return self.draws // 2 if self.split else 1

    @property
    def stronger(self) -> Literal["higher", "lower"]:
        """More decibels are less noise."""
        return "lower" if self.unit == "snr_db" else "higher"

    def details(self) -> list[str]:
        """What the noise is measured by comes first."""
        return [UNITS[self.unit], *super().details()]

    def shown_strength(self, value: str) -> str:
        """`20 dB`, or a multiple."""
        return f"{value} dB" if self.unit == "snr_db" else f"×{value}"

    @property
    def stochastic(self) -> bool:
        """Yes."""
        return True

    @property
    def needs_shapes(self) -> bool:
        """Where tensors are chosen by their names."""
        return named_tensors(self.tensors)

    def check(self, network: PreTrainedModel) -> None:
        """Raises PliantError when no tensor has such a name."""
        select(network, self.tensors)

    def apply(self, model: Model, seed: int, draw: int, undo: ExitStack) -> None:
        """Add the noise of (seed, draw). Arithmetic is in float32 at least; the sum is rounded to the weights' own type.

        Raises PliantError that names the tensor whose type cannot hold the sum.
        """
        import torch

        weights = select(model.network, self.tensors)
        deviations = self._deviations(model, weights)
        sign = -1.0 if draw % 2 else 1.0
        for name, weight in weights.items():
            noise = standard_normal(seed, draw // 2, name, weight.shape).to(weight.device)
            wide = weight.to(torch.promote_types(weight.dtype, torch.float32))
            held = deviations[name] <= torch.finfo(wide.dtype).max
            if held:
                weight.copy_(torch.add(wide, noise, alpha=sign * deviations[name]))
            if not held or not torch.isfinite(weight).all():
                raise PliantError(f"{name}: noise of this scale is more than {str(weight.dtype).removeprefix('torch.')} can hold; lower it")

    def _deviations(self, model: Model, weights: dict[str, Tensor]) -> dict[str, float]:
        """The noise's standard deviation by tensor."""
        if self.unit == "init":
            from pliant.changes.initial import initial_std

            initial = initial_std(model.network)
            unknown = next((name for name in weights if name not in initial), None)
            if unknown is not None:
                raise PliantError(f"the initialisation of {unknown} cannot be recovered; give the noise in unit rms")
            return {name: self.scale * initial[name] for name in weights}
        share = self.scale if self.unit == "rms" else 10 ** (-self.scale / 20)
        return {name: share * root_mean_square(name, weight) for name, weight in weights.items()}


def root_mean_square(name: str, weight: Tensor) -> float:
    """Of all entries. Raises PliantError that names the tensor when it holds infinities or NaN."""
    check_finite(name, weight)
    return float(weight.double().square().mean().sqrt()) if weight.numel() else 0.0


def standard_normal(seed: int, pair: int, name: str, shape: Sequence[int]) -> Tensor:
    """Float32 noise on the CPU: a pure function of its arguments, whatever the weights hold and wherever they live."""
    import torch

    key = hashlib.sha256(f"{seed} {pair} {name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(key[:7], "big"))
    return torch.randn(tuple(shape), generator=generator)
