"""The fit of every bootstrap sample: the same objective with other targets, weights and priors, from the fit itself.

Cost: all samples are one batch; a sample starts at the fit, so that a few Newton steps end it.
What goes wrong: a sample whose best minimum is another than the fit's is not searched for; see `restarts` for how likely that is.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pliant.laws.fitting.newton import minimise
from pliant.laws.fitting.objective import FitObjective, Prior
from pliant.laws.fitting.partner import partner_starts
from pliant.laws.fitting.resample import Bootstrap, drawn_weights, noise_level, residual_errors, wild_errors
from pliant.laws.law import Array

STEPS, CONVERGED = 40, 1e-7
"""A bootstrap sample need not be exact: this is far below their own spread."""


def bootstrap_samples(
    objective: FitObjective,
    theta: Tensor,
    jacobian: Array,
    residuals: Array,
    clusters: NDArray[np.int64] | None,
    how: Bootstrap,
    seed: int,
    open_parameter: int | None = None,
) -> Array:
    """The optimum of every bootstrap sample, (samples, k). `theta` is the fit, `jacobian` (rows, k) and `residuals` are taken there.

    `open_parameter` is the one coordinate that the data leave open, which is then held at values it may have.
    """
    rows, k = jacobian.shape
    if how.samples == 0:
        return np.empty((0, k))
    generator = np.random.default_rng(seed)
    if how.kind in ("run", "cluster"):
        varied = objective.varied(weights=drawn_weights(rows, clusters if how.kind == "cluster" else None, how.samples, seed))
    else:
        corner = objective.loss.corner
        if how.kind == "residual":
            errors = residual_errors(residuals, k, corner, how.samples, generator)
        else:
            errors = wild_errors(residuals, jacobian, corner, clusters, how.samples, generator)
        changed = objective.targets.numpy() - residuals + errors
        varied = objective.varied(targets=np.exp(changed) if objective.logs else changed)
    if varied.prior is not None:
        noise = noise_level(residuals, k, objective.loss.corner)
        varied = varied.varied(prior=_redrawn(varied.prior, how.samples, rows * objective.loss.information(noise), generator))
    starts, frozen = theta.expand(how.samples, -1).clone(), None
    if open_parameter is not None:
        noise = noise_level(residuals, k, objective.loss.corner)
        shared = 1.0 if clusters is None else len(np.unique(clusters)) / rows
        held = partner_starts(objective, theta, open_parameter, noise, shared, how.samples, seed)
        if held is not None:
            starts, frozen = held.clone(), torch.zeros_like(held, dtype=torch.bool)
            frozen[:, open_parameter] = True
    return minimise(varied, starts, torch.arange(how.samples), frozen, flat=CONVERGED, steps=STEPS).theta.numpy()


def _redrawn(prior: Prior, samples: int, information: float, generator: np.random.Generator) -> Prior:
    """A prior is one more measurement, with its own error in every bootstrap sample."""
    error = torch.as_tensor(generator.standard_normal((samples, len(prior.strength))))
    deviation = torch.where(prior.strength > 0, 1 / (prior.strength * information).sqrt(), 0.0)
    return type(prior)(prior.centre + error * deviation, prior.strength)
