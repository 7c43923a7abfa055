"""The rise that rounding adds, as a straight line in logarithms: log rise = c + g log D - P / p.

Idea: the `ptq` law at one model size, without its offset, is linear in its parameters once logarithms are taken, so that least
squares solves it at once.
When to use it: a picture or a quick test of one ladder; for several sizes, robust losses and audits fit the `ptq` law.
Cost: microseconds a fit, also for each bootstrap sample.
What goes wrong: rises at or below zero have no logarithm and are left out, which favours large ones near the noise; below about
100 tokens a parameter the rise grows faster than any power of D.
Source: arXiv 2411.04330, post-training part.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from pliant.errors import PliantError
from pliant.statistics import Array


@dataclass(frozen=True)
class RoundingForm:
    """rise = e^constant D^power e^(-P / length), in nats/token, with D in tokens and P in bits."""

    constant: float
    power: float
    length: float
    """Bits that cut the rise by e."""
    r2: float
    """Of log rise, over all points; NaN for four points, which the form's three parameters all but pass through."""
    r2_by_bits: dict[float, float]
    """The same over the points of one width, around their own mean: can be negative.
    NaN for three or fewer, where a constant and a power would follow any tokens."""
    points: int

    def rise(self, tokens: Any, bits: Any) -> Array:
        """Predicted rise, nats/token."""
        exponent = self.constant + self.power * np.log(np.asarray(tokens, np.float64)) - np.asarray(bits, np.float64) / self.length
        return np.exp(exponent)


def fit_rounding(tokens: Sequence[float], bits: Sequence[float], rise: Sequence[float]) -> RoundingForm:
    """Least squares on log rise over the points whose rise is above zero.

    Raises PliantError unless those are at least four, at two token counts and two widths or more.
    """
    design, target = _table(tokens, bits, rise)
    constant, power, slope = _solve(design, target)
    residual = target - design @ np.array([constant, power, slope])
    widths = design[:, 2]
    by_bits = {float(width): _r2(target[widths == width], residual[widths == width], 2) for width in np.unique(widths)}
    return RoundingForm(float(constant), float(power), float(-1 / slope), _r2(target, residual, 3), by_bits, len(target))


def resampled(tokens: Sequence[float], bits: Sequence[float], rise: Sequence[float], samples: int = 2000, seed: int = 0) -> Array:
    """Power and length of `fit_rounding` for bootstrap samples of its points: (samples, 2). Raises as it does."""
    design, target = _table(tokens, bits, rise)
    generator = np.random.default_rng(seed)
    picks = generator.integers(len(target), size=(samples, len(target)))
    solved = np.array([_solve(design[pick], target[pick]) for pick in picks])
    return np.column_stack([solved[:, 1], -1 / solved[:, 2]])


def _table(tokens: Sequence[float], bits: Sequence[float], rise: Sequence[float]) -> tuple[Array, Array]:
    """Rows (1, log D, P), and log rise."""
    kept = np.asarray(rise, float) > 0
    count, width = np.asarray(tokens, float)[kept], np.asarray(bits, float)[kept]
    if len(count) < 4 or len(np.unique(count)) < 2 or len(np.unique(width)) < 2:
        raise PliantError("a fit over tokens and bits needs four rises above zero, at two token counts and two widths or more")
    design = np.column_stack([np.ones(len(count)), np.log(count), width])
    return design, np.log(np.asarray(rise, np.float64)[kept])


def _solve(design: Array, target: Array) -> Array:
    return np.linalg.lstsq(design, target, rcond=None)[0].astype(np.float64)


def _r2(target: Array, residual: Array, parameters: int) -> float:
    if len(target) <= parameters + 1:
        return float("nan")
    spread = float(np.sum((target - target.mean()) ** 2))
    return 1 - float(np.sum(residual**2)) / spread if spread > 0 else float("nan")
