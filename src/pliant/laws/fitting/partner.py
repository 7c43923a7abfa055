"""A parameter that the data leave open takes its partners along: bootstrap samples over what it may be.

A fit puts such a parameter somewhere, often at zero, and from there the others look sharp: E at 0 makes an exponent a third
of what it is, with a narrow interval. So the parameter is profiled: held at each of a range of values while the others
follow. A value counts by its likelihood; each bootstrap sample then holds it at a value drawn so, and the others' intervals
are over all of them.
When: one positive parameter alone is undetermined, or the search sent one to zero. Where only a combination of several is
determined, that has its own words.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from pliant.laws.fitting.newton import minimise
from pliant.laws.fitting.objective import FitObjective
from pliant.laws.law import Array

POINTS = 97
LOWEST, HIGHEST = -8.0, 4.0
"""Logarithms of the profile's range, relative to the middle of the parameter's start values."""
NEAR_ZERO = 0.05
"""Values near zero, where the fit itself is, count as if the parameter were so much of its mean."""
NEGLIGIBLE = 20.0
"""Deviance beyond which a value does not count."""


def partner_starts(
    objective: FitObjective, theta: Tensor, index: int, noise: float, shared: float, samples: int, seed: int
) -> Tensor | None:
    """Where each bootstrap sample begins, (samples, k), coordinate `index` where it is to be held; None where nothing counts.

    `theta` is the fit before the parameter was sent to zero; `shared` is clusters over rows, so many independent errors a row
    has. The draw is uniform in the parameter times its likelihood.
    """
    owner = objective.coordinates.owners[index]
    starts = next(parameter.starts for parameter in objective.law.parameters if parameter.name == owner)
    grid = torch.linspace(LOWEST, HIGHEST, POINTS, dtype=torch.float64) + float(np.log(np.median(starts)))
    begin = theta.expand(POINTS, -1).clone()
    begin[:, index] = grid
    frozen = torch.zeros_like(begin, dtype=torch.bool)
    frozen[:, index] = True
    ends = minimise(objective, begin, torch.zeros(POINTS, dtype=torch.long), frozen)
    deviance: Array = (2 * shared * objective.size * objective.loss.information(noise) * (ends.value - ends.value.min())).numpy()
    likely = np.where(np.isfinite(deviance) & (deviance < NEGLIGIBLE), np.exp(-np.minimum(deviance, NEGLIGIBLE) / 2), 0.0)
    value = np.exp(grid.numpy())
    weight = likely * (value + NEAR_ZERO * float(likely @ value**2) / max(float(likely @ value), 1e-300))
    if weight.sum() == 0:
        return None
    drawn = np.random.default_rng(seed).choice(POINTS, samples, p=weight / weight.sum())
    return ends.theta[torch.as_tensor(drawn)]
