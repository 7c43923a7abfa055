"""The form that extrapolates: a sum of falling powers of the scale columns with one exponent more than Chinchilla's.

    L = E + (A N^(-a/g) + B D^(-b/g))^g,   g = 1 is Chinchilla; with one column, L = E + A C^-a

Everything is on logarithms relative to the fitted rows: y = log L and the columns have mean zero, so neither units nor levels
matter, and one set of priors holds for all tables of losses: E is about half of the mean loss, exponents about 0.3.
Why one more exponent: real tables of losses are not sums of a term in N and a term in D; over five development origins it
halves the error of extrapolation. The priors keep few rows from running away.
Source: the coupled form of Skaling (arXiv 2608.07222) and of xLSTM's scaling laws; weights and priors are our own study.
"""

from __future__ import annotations

import itertools
from typing import Protocol

import numpy as np

from pliant.laws.law import Array


class Form(Protocol):
    """A function of rows with parameters that have normal priors: what `weighted.weighted_fit` brings to its optimum."""

    @property
    def centre(self) -> Array:
        """(k,): means of the priors."""
        ...

    @property
    def deviation(self) -> Array:
        """(k,): their standard deviations."""
        ...

    @property
    def starts(self) -> Array:
        """(starts, k)."""
        ...

    def __call__(self, theta: Array, rows: Array) -> tuple[Array, Array]:
        """Values (points, rows) and Jacobians (points, rows, k) at points theta (points, k)."""
        ...


class PowerSum:
    """The form above, of one or two columns; theta = (e, p, [q,] log a, [log b, log g])."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        if columns == 1:
            self.centre, self.deviation = np.array([-0.7, -1.0, np.log(0.3)]), np.array([0.35, 3.0, 0.5])
            starts = [[e, -1.2, np.log(a)] for e, a in itertools.product((-1.2, -0.5, -0.2), (0.15, 0.4, 0.8))]
        else:
            self.centre = np.array([-0.7, -1.0, -1.0, np.log(0.3), np.log(0.3), -0.5])
            self.deviation = np.array([0.35, 3.0, 3.0, 0.5, 0.5, 0.5])
            exponents = (0.15, 0.4, 0.8)
            starts = [[e, -1.2, -1.2, np.log(a), np.log(b), 0.0] for e, a, b in itertools.product((-1.2, -0.5, -0.2), exponents, exponents)]
        self.starts = np.array(starts)

    def __call__(self, theta: Array, rows: Array) -> tuple[Array, Array]:
        """Values (points, rows) and Jacobians (points, rows, k) at centred log columns `rows` (rows, columns)."""
        with np.errstate(over="ignore", under="ignore", invalid="ignore"):
            return self._one(theta, rows) if self.columns == 1 else self._two(theta, rows)

    def _one(self, theta: Array, rows: Array) -> tuple[Array, Array]:
        e, p, a = theta[:, :1], theta[:, 1:2], np.exp(theta[:, 2:3])
        fall = a * rows[None, :, 0]
        value = np.logaddexp(e, p - fall)
        share = np.exp(p - fall - value)
        return value, np.stack([1 - share, share, -share * fall], axis=-1)

    def _two(self, theta: Array, rows: Array) -> tuple[Array, Array]:
        e, p, q = theta[:, :1], theta[:, 1:2], theta[:, 2:3]
        a, b, g = (np.exp(theta[:, i : i + 1]) for i in (3, 4, 5))
        in_size, in_tokens = a * rows[None, :, 0], b * rows[None, :, 1]
        first, second = p - in_size / g, q - in_tokens / g
        inner = np.logaddexp(first, second)
        part = np.exp(first - inner)
        value = np.logaddexp(e, g * inner)
        share = np.exp(g * inner - value)
        falls = part * in_size + (1 - part) * in_tokens
        return value, np.stack(
            [
                1 - share,
                share * g * part,
                share * g * (1 - part),
                -share * part * in_size,
                -share * (1 - part) * in_tokens,
                share * (g * inner + falls),
            ],
            axis=-1,
        )
