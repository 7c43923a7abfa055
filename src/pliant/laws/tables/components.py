"""Principal capabilities: a few numbers that say what a model's benchmark scores have in common.

Idea: scores of many benchmarks lie near a plane. Missing ones are filled in from the first component of the standardised scores, then
the components of all scores are taken, and each model gets its position along them. Signs are chosen so that higher scores lie
further along, and positions are counted from a model that scores nothing.
When to use it: before the law `observational`.
What goes wrong: models to be predicted must not be in the table that components come from: name those that may be with `among`.
Source: Ruan et al., arXiv 2405.10938.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.laws.law import Array

ROUNDS = 500
SETTLED = 1e-10


def principal_components(scores: Mapping[str, Any], count: int = 3, among: Sequence[bool] | None = None) -> tuple[dict[str, Array], Array]:
    """PC1 ... of every row, and the share of the variance that each explains; NaN in `scores` is missing.

    Args:
        scores: benchmark -> one score a model, (models,).
        count: how many components.
        among: which models the components come from, (models,); all by default.

    Raises PliantError for fewer benchmarks or models than components, and for a model or benchmark without any score.
    """
    table = np.stack([np.asarray(values, dtype=np.float64) for values in scores.values()], axis=1)
    chosen = np.ones(len(table), dtype=np.bool_) if among is None else np.asarray(among, dtype=np.bool_)
    if not 1 <= count <= min(table.shape[1], int(chosen.sum()) - 1):
        raise PliantError(f"{count} components need at least {count} benchmarks and {count + 1} models; there are {table.shape[::-1]}")
    for bad, what in ((~np.isfinite(table[chosen]).any(axis=0), "benchmark"), (~np.isfinite(table).any(axis=1), "model")):
        if bad.any():
            which = list(scores)[int(np.argmax(bad))] if what == "benchmark" else f"row {int(np.argmax(bad)) + 1}"
            raise PliantError(f"{what} {which} has no score at all; leave it out")
    full = _imputed(table, chosen)
    centred = full[chosen] - full[chosen].mean(axis=0)
    _, sizes, axes = np.linalg.svd(centred, full_matrices=False)
    axes = axes[:count] * np.where(axes[:count].sum(axis=1, keepdims=True) < 0, -1.0, 1.0)
    share = sizes[:count] ** 2 / (sizes**2).sum()
    return {f"PC{index + 1}": full @ axis for index, axis in enumerate(axes)}, share


def _imputed(table: Array, chosen: NDArray[np.bool_]) -> Array:
    """Missing scores from the first component of the standardised scores of the chosen models, until they settle."""
    missing = ~np.isfinite(table)
    mean, deviation = np.nanmean(table[chosen], axis=0), np.nanstd(table[chosen], axis=0)
    unit = np.where(deviation > 0, deviation, 1.0)
    standard = np.where(missing, 0.0, (table - mean) / unit)
    for _ in range(ROUNDS if missing.any() else 0):
        centre = standard[chosen].mean(axis=0)
        axis = np.linalg.svd(standard[chosen] - centre, full_matrices=False)[2][0]
        filled = np.where(missing, centre + np.outer((standard - centre) @ axis, axis), standard)
        settled = np.abs(filled - standard).max() < SETTLED
        standard = filled
        if settled:
            break
    return np.where(missing, standard * unit + mean, table)
