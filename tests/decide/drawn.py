"""Fits with known parameters, for decisions whose right answer is known."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from pliant.decide.fits.bootstrapped import BootstrappedFit
from pliant.laws import LAWS
from pliant.statistics import Array

KUMAR = "2411.04330, with its offset"
HOLDS = {"held_out": 3, "error": 0.005, "verdict": "holds", "reason": "predicted within 1%"}


def drawn(
    law: str,
    constants: Mapping[str, float],
    measured: Mapping[str, object],
    spread: Mapping[str, float] | None = None,
    draws: int = 200,
    audit: Mapping[str, object] = HOLDS,
) -> BootstrappedFit:
    """A fit whose sample 0 is `constants` and whose bootstrap samples scatter around them by relative `spread`."""
    generator = np.random.default_rng(0)
    parameters: dict[str, Array] = {}
    for name in LAWS[law].parameter_names:
        scatter = (spread or {}).get(name, 0.0) * generator.standard_normal((draws, 1))
        scatter[0] = 0
        parameters[name] = constants[name] * np.exp(scatter) if constants[name] else np.zeros((draws, 1))
    return BootstrappedFit(
        LAWS[law],
        parameters,
        {name: np.asarray(values, dtype=float) for name, values in measured.items()},
        0.01,
        LAWS[law].residual == "log",
        audit,
    )
