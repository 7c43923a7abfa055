"""What a pool of data is worth, and how fast repeating it wears that out (quality against quantity).

    one pass:      y(n) = x^b + d,                                  x = a n / 100,000
    epoch k:       the exponent becomes b_k = b (1/2)^(k / tau)
    many epochs:   y(n) = x_0^b prod_{j >= 1} (n_j / n_{j-1})^b_j + d,   n_j = min(S (j + 1), n)

n samples seen, S samples per epoch, b < 0 the utility, tau the half-life in epochs, d irreducible. y is an error in [0, 1]
or a loss. Fit all pools together: `a` and `d` are shared, b and tau are each pool's own (`by={"b": "pool", "tau": "pool"}`).
When to use it: a few short runs per quality bucket, to choose which buckets to train on at a budget.
What goes wrong: `a` and `d` are crutches: look at the profile likelihood of d. Transfer from contrastive image-text error to
language-model loss is an assumption to be tested on a mixture that was not fitted.
The law `utility_compat` is the variant of the authors' code.
Source: Goyal et al., arXiv 2404.07177.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from pliant.laws.law import Array, Column, Law, Parameter, power

if TYPE_CHECKING:
    from torch import Tensor

UNIT = 1e5
"""Samples in which x counts, so that printed values of `a` apply."""


def first_epoch(n: Tensor, S: Tensor, a: Tensor, b: Tensor) -> Tensor:
    """x_0^b: reducible error when the first epoch (or n, if shorter) ends."""
    import torch

    return power(a * torch.minimum(n, S) / UNIT, b)


def repeats(n: Tensor, S: Tensor, b: Tensor, tau: Tensor) -> Tensor:
    """prod_{j >= 1} (n_j / n_{j-1})^b_j: what all later epochs multiply it by."""
    import torch

    epochs = (n / S).unsqueeze(-1)
    j = torch.arange(1, max(2, int(torch.ceil(epochs.max()))), dtype=n.dtype, device=n.device)
    growth = torch.log(torch.clamp(torch.minimum(j + 1, epochs) / j, min=1))
    decay = torch.exp(-np.log(2) * j / tau.unsqueeze(-1))
    return torch.exp(b * (growth * decay).sum(-1))


def utility(n: Tensor, S: Tensor, a: Tensor, b: Tensor, tau: Tensor, d: Tensor) -> Tensor:
    """The paper's form: reducible error plus d."""
    return first_epoch(n, S, a, b) * repeats(n, S, b, tau) + d


def mixture(n: float, sizes: Array, b: Array, tau: Array, a: float | Array, d: float | Array, *, compat: bool = False) -> Array:
    """Error after n samples of pools of `sizes` (pools,) mixed in proportion; b, tau and the result: (..., pools) -> (...).

    In combined epoch k the exponent is the mean of b_i (1/2)^(k / tau_i'), weighted by fraction; tau_i' = tau_i / fraction, since
    a mixed-in sample comes back that much later. For p equal pools this is the paper's tau_i' = p tau_i.
    """
    fraction, epochs = sizes / sizes.sum(), n / sizes.sum()
    j = np.arange(1, max(2, int(np.ceil(epochs))))
    exponent = (fraction * b[..., None, :] * 0.5 ** (j[:, None] * fraction / tau[..., None, :])).sum(axis=-1)
    later = np.exp((exponent * np.log(np.clip(np.minimum(j + 1, epochs) / j, 1, None))).sum(axis=-1))
    first = (a * min(n, float(sizes.sum())) / UNIT) ** (b @ fraction)
    return (first + d) * later if compat else first * later + d


LAW = Law(
    name="utility",
    function=utility,
    columns=(Column("n", "samples", "samples seen"), Column("S", "samples", "samples per epoch (the pool's size)")),
    parameters=(
        Parameter("a", "normaliser, shared by pools", (0.003, 0.03, 0.3)),
        Parameter("b", "utility, the log-slope of the first epoch", (-0.4, -0.2, -0.05), "identity", high=0.0),
        Parameter("tau", "half-life of the utility, epochs", (2.0, 6.0, 20.0)),
        Parameter("d", "irreducible error", (0.02, 0.1), low=0.0),
    ),
    linear=("d",),
    target="error",
    unit="error in [0, 1], or loss",
    residual="difference",
    scale=("n",),
    source="Goyal et al., arXiv 2404.07177",
    valid="12.8M-sample buckets of a 128M pool, 32M to 640M samples, 2 to 10 epochs for the fit",
    identifiability="a, b and d trade off on one pool: fit several pools that share a and d, or fix them; tau needs two or more epochs",
    printed={
        "2404.07177, T-MARS buckets, ImageNet": {"a": 0.022, "d": 0.1},
        "2404.07177, T-MARS buckets, 18 tasks": {"a": 0.033, "d": 0.1},
    },
)
