"""Which parameters the data determine, and which only in combination.

Idea: the Jacobian at the optimum says how predictions move with each coordinate. Its singular vectors with (almost) no
singular value are directions in which parameters can go without any prediction noticing. The row space in reduced echelon
form names what is left: for a product C_T e^b its first row reads log C_T + 1 b, so "only C_T * exp(b) is determined".
Cost: one singular value decomposition.
What goes wrong: it is a local statement, made at the optimum, to which `left_open` adds what the search saw elsewhere; a
valley that it did not follow stays unseen. A direction that matters but whose standard error is more than `WIDE` units (a
factor e^5 in a positive parameter) counts as unidentifiable: a number would say nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pliant.laws.fitting.coordinates import FAR
from pliant.laws.law import Array

if TYPE_CHECKING:
    from pliant.laws.fitting.objective import FitObjective
    from pliant.laws.fitting.search import Search

EXACT = 1e-7
"""Singular values below this share of the largest are zero."""
WIDE = 5.0
"""Standard error, in units of a coordinate, beyond which a direction counts as unidentifiable."""
MATTERS = 0.02
"""Smallest coefficient of a combination that is written out."""

NOT_WORSE = 2.71
"""Twice the log-likelihood that a fit may lose before it is significantly worse, at 90%."""
BEYOND = 3.0
"""Standard errors by which fits that are not significantly worse hardly ever differ where all is determined."""


@dataclass(frozen=True)
class Unidentifiable:
    """What the data leave undetermined."""

    parameters: tuple[str, ...]
    """Coordinates of which no value can be given."""
    sentences: tuple[str, ...]
    """For people: each combination that is determined, each parameter without effect."""


def unidentifiable_directions(
    jacobian: Array, names: Sequence[str], logarithmic: NDArray[np.bool_], theta: Array, noise: float, held: NDArray[np.bool_]
) -> Unidentifiable:
    """The unidentifiable directions of a fit from its Jacobian (rows, k) on the residual's scale.

    `noise` is the standard deviation of residuals on that scale; `held` marks coordinates at a bound, which the data
    determine by pressing them there.
    """
    unit = np.where(logarithmic, 1.0, np.maximum(np.abs(theta), 0.1))
    scaled = np.where(held, 0.0, jacobian * unit)
    _, singular, directions = np.linalg.svd(np.vstack([scaled, np.zeros((len(theta), len(theta)))]), full_matrices=False)
    with np.errstate(divide="ignore"):
        lost = (singular <= EXACT * singular[0]) | (noise / singular > WIDE)
    lost &= np.abs(directions[:, ~held]).max(axis=1, initial=0.0) > MATTERS
    undetermined = (np.abs(directions[lost]) > MATTERS).any(axis=0) & ~held
    if not undetermined.any():
        return Unidentifiable((), ())
    shown = [names[index] for index in np.flatnonzero(undetermined).tolist()]
    rows = _echelon(directions[~lost]) / unit
    return Unidentifiable(tuple(shown), tuple(_sentences(rows, names, logarithmic, theta, undetermined)))


def left_open(found: Search, objective: FitObjective, jacobian: Array, noise: float) -> Unidentifiable:
    """What a fit leaves open: unidentifiable directions at its optimum, and in what equally good optima differ. `jacobian` is (rows, k)."""
    from pliant.laws.fitting.search import FAR_APART, spread

    moved, theta = objective.coordinates, found.theta.numpy()
    held = (theta <= moved.low + 1e-9) | (theta >= moved.high - 1e-9)
    local = unidentifiable_directions(jacobian, moved.names, moved.logarithmic, theta, noise, held)
    apart = spread(objective, found.equals).numpy() > FAR_APART
    if local.parameters:
        apart |= _wandering(found, objective, jacobian, noise)
    others = [name for name, far in zip(moved.names, apart.tolist(), strict=True) if far and name not in local.parameters]
    lost = [name for name, at, value in zip(moved.names, held, theta, strict=True) if at and abs(value) >= FAR and name not in others]
    sentences = [*local.sentences]
    if others:
        sentences.append(f"equally good fits differ in {', '.join(others)}")
    if lost:
        sentences.append(f"{', '.join(lost)} ran off to the end of the scale: bound an exponent, or choose a form with fewer parameters")
    return Unidentifiable((*local.parameters, *others, *lost), tuple(sentences))


def _wandering(found: Search, objective: FitObjective, jacobian: Array, noise: float) -> NDArray[np.bool_]:
    """Which coordinates other ends, not significantly worse, put beyond their standard errors.

    A valley may bend: what looks determined at the optimum takes other values further along such a direction.
    """
    lost = 2 * objective.size * objective.loss.information(noise) * (found.values - found.value)
    ends = found.ends[lost < NOT_WORSE].numpy()
    scale = np.linalg.norm(jacobian, axis=0) + 1e-300
    scaled = jacobian / scale
    error = noise * np.sqrt(np.diag(np.linalg.pinv(scaled.T @ scaled, rcond=1e-12, hermitian=True))) / scale
    return np.abs(ends - found.theta.numpy()).max(axis=0) > BEYOND * error


def _echelon(rows: Array) -> Array:
    """Reduced row echelon form with the largest entry left as the next pivot, so that no coefficient exceeds it by much."""
    rows = rows.copy()
    for done in range(len(rows)):
        below, column = divmod(int(np.abs(rows[done:]).argmax()), rows.shape[1])
        rows[[done, done + below]] = rows[[done + below, done]]
        rows[done] /= rows[done, column]
        others = np.arange(len(rows)) != done
        rows[others] -= rows[others, column, None] * rows[done]
    return rows


def _sentences(
    rows: Array, names: Sequence[str], logarithmic: NDArray[np.bool_], theta: Array, undetermined: NDArray[np.bool_]
) -> list[str]:
    used = np.zeros(len(names), dtype=bool)
    sentences: list[str] = []
    for row in rows:
        kept = np.abs(row) > MATTERS * np.abs(row).max()
        leading = int(np.abs(np.where(kept & logarithmic, row, 0.0)).argmax())
        row = row / row[leading] if kept[leading] and logarithmic[leading] else row
        if kept.sum() > 1 and (kept & undetermined).any():
            used |= kept
            sentences.append(
                f"only {_combination(row, kept, names, logarithmic)} = {_value(row, kept, logarithmic, theta):.4g} is determined"
            )
        elif kept.sum() == 1:
            used |= kept
    idle = [names[index] for index in np.flatnonzero(undetermined & ~used).tolist()]
    return sentences + [f"{name} is not determined at all" for name in idle]


def _combination(row: Array, kept: NDArray[np.bool_], names: Sequence[str], logarithmic: NDArray[np.bool_]) -> str:
    powers = [(names[i], row[i]) for i in np.flatnonzero(kept & logarithmic).tolist()]
    terms = [(names[i], row[i]) for i in np.flatnonzero(kept & ~logarithmic).tolist()]
    summed = " ".join(
        f"{'-' if c < 0 else '+'} {'' if abs(abs(c) - 1) < 5e-4 else f'{abs(c):.3g} '}{name}" for name, c in terms
    ).removeprefix("+ ")
    if not powers:
        return summed
    product = " * ".join(name if abs(c - 1) < 5e-4 else f"{name}^{c:.3g}" for name, c in powers)
    return f"{product} * exp({summed})" if terms else product


def _value(row: Array, kept: NDArray[np.bool_], logarithmic: NDArray[np.bool_], theta: Array) -> float:
    total = float(row[kept] @ theta[kept])
    return float(np.exp(np.clip(total, -700, 700))) if (kept & logarithmic).any() else total
