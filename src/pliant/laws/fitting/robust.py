"""Robust losses on residuals: what a fit makes small.

`huber:1e-3` (default): squares within 1e-3, absolute values beyond, so that a run gone wrong pulls no more than a good one;
`huber:1e-3:3`: the same, a run below the curve (better than predicted) counting three times as much as one above it, since a run may be
under-trained or badly tuned and hardly the opposite; in the straight lines that is the quantile 1 / (1 + 3), so clean tables are biased
downwards, by about .3% of a noise of .3% at 10; `squares`; `quantile:0.9`: the pinball loss, rounded within 1e-4 of its corner so that it
has a derivative.

With errors well above the corner, Huber's loss is nearly least absolute deviations: the fit is a median.
Source: Huber 1964; scaling-law practice since Hoffmann et al., arXiv 2203.15556; the asymmetric one after practice of OLMo's ladders.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pliant.errors import PliantError

if TYPE_CHECKING:
    from torch import Tensor

PINBALL_CORNER = 1e-4
MOST_PENALTY = 100


@dataclass(frozen=True)
class RobustLoss:
    """rho(r) = share(r) unit psi(r) (r - psi(r) / 2) with psi(r) = r clipped to +-corner: a parabola, then straight lines.

    `share` is 1, or `penalty` below the curve, or for quantile q: q above the curve and 1 - q below it, with unit 1 / corner, which
    makes the lines the pinball loss.
    """

    name: str
    corner: float
    quantile: float | None = None
    penalty: float = 1.0
    """How much more a run below the curve counts than one above it."""

    @classmethod
    def parse(cls, form: str) -> RobustLoss:
        """From `huber:1e-3`, `huber`, `huber:1e-3:3`, `squares` or `quantile:0.9`. Raises PliantError for anything else."""
        kind, *numbers = form.split(":")
        try:
            values = [float(number) for number in numbers]
        except ValueError:
            values = [math.nan]
        if kind == "squares" and not values:
            return cls(form, math.inf)
        if kind == "huber" and len(values) <= 2 and all(0 < value < math.inf for value in values):
            corner, penalty = (*values, *(1e-3, 1.0)[len(values) :])
            if 1 / MOST_PENALTY <= penalty <= MOST_PENALTY:
                return cls(form, corner, penalty=penalty)
        if kind == "quantile" and len(values) == 1 and 0 < values[0] < 1:
            return cls(form, PINBALL_CORNER, values[0])
        raise PliantError(
            f"loss {form[:60]!r}: write huber:1e-3 (a corner > 0), huber:1e-3:3 (runs below the curve count 3 times, 100 at most), "
            "squares, or quantile:0.9 (between 0 and 1)"
        )

    def value(self, r: Tensor) -> Tensor:
        """rho(r), differentiable twice almost everywhere."""
        psi = self._clipped(r)
        return self._share(r) * psi * (r - psi / 2)

    def slope(self, r: Tensor) -> Tensor:
        """d rho / d r."""
        return self._share(r) * self._clipped(r)

    def weight(self, r: Tensor) -> Tensor:
        """slope(r) / r: the curvature of the parabola that touches rho at r and -r and lies above it elsewhere."""
        if math.isinf(self.corner):
            return r.new_ones(()).expand_as(r)
        return self._share(r) * (self.corner / r.abs()).clamp(max=1.0)

    def information(self, noise: float) -> float:
        """E[rho''] / E[rho'^2] under Gaussian errors of this size: one row's information on what it measures.

        1 / noise^2 for squares. It puts a prior and the mean of rho on one scale.
        """
        if math.isinf(self.corner):
            return 1 / noise**2
        c = self.corner / noise
        inside = math.erf(c / math.sqrt(2))
        density = math.exp(-(c**2) / 2) / math.sqrt(2 * math.pi)
        square = noise**2 * (inside - 2 * c * density + c**2 * (1 - inside))
        if self.quantile is None:
            return inside / square * (1 + self.penalty) / (1 + self.penalty**2)
        return inside * self.corner / (square * (self.quantile**2 + (1 - self.quantile) ** 2))

    def _clipped(self, r: Tensor) -> Tensor:
        return r.clamp(-self.corner, self.corner)

    def _share(self, r: Tensor) -> Tensor | float:
        import torch

        if self.quantile is None:
            return 1.0 if self.penalty == 1 else torch.where(r < 0, self.penalty, 1.0)
        return torch.where(r > 0, self.quantile, 1 - self.quantile) / self.corner
