"""Agreement on the line: accuracy on unlabelled data from how often several models agree there.

Idea: z is the probit of a fraction. Over pairs of models z(agreement) on shifted data is often linear in z(agreement) on the data that
they learned from, and then accuracy lies on the same line. ALine-S puts each model's accuracy through that line; ALine-D asks of each pair
    (u_i + u_j) / 2 = z(agreement shifted) + slope ((z(acc_i) + z(acc_j)) / 2 - z(agreement)),      u_i = z(accuracy shifted of i)
and solves for all u by least squares, so that the line's bias cancels. Of all pairs the normal equations have the closed form used here.
What goes wrong: models that are wrong in the same way agree without being right; the fit's R2 does not see it.
Source: arXiv 2404.01542.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.statistics import Array

FEWEST = 3
"""Models: of two there is one equation for two unknowns."""


@dataclass(frozen=True)
class AgreementLine:
    """z(agreement shifted) = slope z(agreement) + bias, over pairs; r2 in that space."""

    slope: float
    bias: float
    r2: float


def pairs_of(models: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first and the second of every pair."""
    first, second = np.triu_indices(models, 1)
    return first.astype(np.int64), second.astype(np.int64)


def probit(fractions: Array, items: int) -> Array:
    """z of fractions of so many items; none is nearer to 0 or 1 than half an item."""
    from scipy import special

    return np.asarray(special.ndtri(np.clip(fractions, 0.5 / items, 1 - 0.5 / items)), np.float64)


def fraction(z: Array) -> Array:
    """What `probit` is the inverse of."""
    from scipy import special

    return np.asarray(special.ndtr(z), np.float64)


def line_through(known: Array, shifted: Array, counts: Array | None = None) -> AgreementLine:
    """Least squares over (pairs,) agreements in probit space, each counted as often as `counts` says.

    Raises PliantError where agreements on known data are all the same, so that there is no line.
    """
    weights = np.ones(len(known)) if counts is None else counts
    total = float(weights.sum())
    if not total:
        raise PliantError("no pair of heads is left to draw a line through")
    x, y = known - weights @ known / total, shifted - weights @ shifted / total
    spread, other = float(weights @ x**2), float(weights @ y**2)
    if spread <= 1e-12 * total:
        raise PliantError("every pair of heads agrees equally often on the labelled data, so there is no line; give heads that differ more")
    slope = float(weights @ (x * y)) / spread
    bias = float(weights @ shifted - slope * (weights @ known)) / total
    return AgreementLine(slope, bias, float(weights @ (x * y)) ** 2 / (spread * other) if other > 0 else 0.0)


def aline_s(line: AgreementLine, accuracy: Array) -> Array:
    """z of shifted accuracies (models,) from z of known ones, through the line."""
    return line.slope * accuracy + line.bias


def aline_d(slope: float, accuracy: Array, known: Array, shifted: Array) -> Array:
    """The same by pairs (see above): of three models or more.

    Args:
        slope: Of the line.
        accuracy: (models,) z of accuracies on known data.
        known: (pairs,) z of agreements there, in the order of `pairs_of`.
        shifted: (pairs,) z of agreements on shifted data.

    Raises PliantError for fewer than three models.
    """
    models = len(accuracy)
    if models < FEWEST:
        raise PliantError(f"{models} heads are too few: agreement on the line takes {FEWEST} or more")
    first, second = pairs_of(models)
    wanted = shifted + slope * ((accuracy[first] + accuracy[second]) / 2 - known)
    sums = np.bincount(first, wanted, models) + np.bincount(second, wanted, models)
    total = 2 * wanted.sum() / (models - 1)  # of all u
    return (2 * sums - total) / (models - 2)
