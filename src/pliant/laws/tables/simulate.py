"""Tables drawn from a law: to test a fitter, plan a grid of runs, or see which parameter the grid could identify."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np

from pliant.laws.law import Array, Law


def grid(**axes: Sequence[float]) -> dict[str, Array]:
    """Every combination of the axes' values, as columns: `grid(N=[1e7, 1e8], D=[1e9])`."""
    rows = np.array(list(itertools.product(*axes.values())), dtype=np.float64)
    return {name: rows[:, index] for index, name in enumerate(axes)}


def simulate(law: Law, columns: Mapping[str, Array], parameters: Mapping[str, float], noise: float, seed: int) -> dict[str, Array]:
    """The columns with the law's target: its prediction with Gaussian noise of standard deviation `noise`.

    Noise is on the logarithm (a relative error) where the law's residual is, else on the value itself, in its unit.
    """
    exact = law(columns, parameters)
    draws = noise * np.random.default_rng(seed).standard_normal(exact.shape)
    return {**columns, law.target: exact * np.exp(draws) if law.residual == "log" else exact + draws}
