"""Errors that the points of a curve have in common because they were measured on the same questions.

Idea: a hard question is hard for every checkpoint, so the errors of their scores move together and cancel from differences. How much
they do is seen wherever results are kept by question, and holds for other checkpoints of the same ladder and test.
When to use it: published scores with binomial errors, of which some checkpoints are known question by question.
What goes wrong: neighbours on a ladder agree more than its ends do; one number for all pairs is too sure about the ends. Give the results
of all points where they are there.
Source: paired comparison of evaluations (Miller, arXiv 2411.00640).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from pliant.errors import PliantError
from pliant.statistics import Array


def correlations(results: ArrayLike) -> Array:
    """How the errors of scores hang together, (points, points), from results (points, questions), the same questions at every point.

    Raises PliantError for anything else than a finite table of two questions or more. A point at which all questions ended alike has
    no error to share: zeros.
    """
    table = np.asarray(results, float)
    if table.ndim != 2 or table.shape[1] < 2 or not np.isfinite(table).all():
        raise PliantError("results by question must be a table (points, questions) of finite numbers, with two questions or more")
    centred = table - table.mean(axis=1, keepdims=True)
    size = np.sqrt((centred**2).sum(axis=1, keepdims=True))
    unit = np.divide(centred, size, out=np.zeros_like(centred), where=size > 1e-12)
    found = unit @ unit.T
    np.fill_diagonal(found, 1.0)
    return found


def shared_error(results: ArrayLike) -> float:
    """The share of the errors' variance that points have in common, on average over pairs; for `Curve.from_table(..., shared=)`.

    `results` (points, questions) may be of a few checkpoints only. Raises PliantError as `correlations` does, and for a single point.
    """
    found = correlations(results)
    if len(found) < 2:
        raise PliantError("what points share takes the results of two points or more")
    pairs = found[np.triu_indices(len(found), 1)]
    return float(np.clip(pairs.mean(), 0.0, 1.0))


def share_matrix(shared: ArrayLike, points: int) -> Array:
    """Correlations (points, points) from a share (one number from 0 to 1) or from results by question (points, questions).

    Raises PliantError for a share outside [0, 1] and for results of another number of points.
    """
    given = np.asarray(shared, float)
    if given.ndim == 0:
        if not 0 <= given <= 1:
            raise PliantError(f"shared = {given:g}: it is the part of the errors' variance that all points have in common, from 0 to 1")
        return np.where(np.eye(points, dtype=bool), 1.0, float(given))
    found = correlations(given)
    if len(found) != points:
        raise PliantError(f"shared holds the results of {len(found)} points, the curve has {points}: give a row for each, in its order")
    return found
