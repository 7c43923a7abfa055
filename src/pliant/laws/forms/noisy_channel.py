"""A rival to 'base loss plus rise': the model as a channel whose noise grows with size and tokens.

    C = a N^alpha log2(1 + b D^beta / (c (D N)^gamma + d D^delta + e)),     L = 1 / C

When to use it: losses after one fixed change over several sizes and token counts, to compare by held-out error with
`chinchilla` plus `sensitivity`. It can turn upward with D (and with N), which a sum of falling powers cannot.
What goes wrong: eight free parameters; with fewer than a few dozen runs most directions are flat, and the turn that it
puts outside the measured range means nothing. The change itself is not an input: fit one change at a time.
Source: Ouyang et al., arXiv 2605.23901.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.forms.chinchilla import SIZE, TOKENS
from pliant.laws.law import Law, Parameter, power

if TYPE_CHECKING:
    from torch import Tensor


def noisy_channel(
    N: Tensor, D: Tensor, a: Tensor, alpha: Tensor, b: Tensor, beta: Tensor,
    c: Tensor, gamma: Tensor, d: Tensor, delta: Tensor, e: Tensor,
) -> Tensor:  # fmt: skip
    """1 / capacity, in nats/token."""
    import torch

    noise = c * power(D * N, gamma) + d * power(D, delta) + e
    return 1 / (a * power(N, alpha) * torch.log2(1 + b * power(D, beta) / noise))


LAW = Law(
    name="noisy_channel",
    function=noisy_channel,
    columns=(SIZE, TOKENS),
    parameters=(
        Parameter("a", "capacity per unit of bandwidth", (0.003, 0.03)),
        Parameter("alpha", "bandwidth grows as N^alpha", (0.05, 0.15), "identity"),
        Parameter("b", "signal at one token", (1.0,)),
        Parameter("beta", "signal grows as D^beta", (0.3, 0.6), "identity"),
        Parameter("c", "noise that grows with size and tokens", (1e-9, 1e-4)),
        Parameter("gamma", "its exponent", (0.3, 0.7), "identity"),
        Parameter("d", "noise that grows with tokens alone", (1e-9, 1e-3)),
        Parameter("delta", "its exponent", (0.3, 0.7), "identity"),
        Parameter("e", "constant noise", (1.0, 1e3)),
    ),
    fix={"b": 1.0},
    scale=("N", "D"),
    source="Ouyang et al., arXiv 2605.23901",
    valid="Pythia up to 12B and OLMo 2 under noise, quantization and fine-tuning; checkpoints of single runs, not annealed",
    identifiability="only the ratios b : c : d : e count (b is held at 1); c and d separate only over several sizes",
)
