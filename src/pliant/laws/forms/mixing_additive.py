"""Loss on one domain from size, tokens and the shares of the training data, each on its own account.

    L = E + 1 / (sum over domains of C r^g) + A N^-alpha + B D^-beta

When to use it: `mixing_additive(web, code, books)`, mixtures tried at several sizes or lengths: one mixture term serves all of them, and
the best mixture does not depend on scale.
What goes wrong: whether it does is an assumption: compare by held-out error. Where N or D hardly vary, hold A or B at 0 (`--fix A=0`).
Source: Shukor et al., arXiv 2507.09404, additive form.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pliant.laws.forms.chinchilla import BASE, SIZE, TOKENS, chinchilla
from pliant.laws.forms.family import listed, taking
from pliant.laws.forms.mixing import shares
from pliant.laws.law import Law, Parameter, power

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST = 1e-9
"""A share of zero counts as this: it has no logarithm."""


def mixing_additive(values: Mapping[str, Tensor], domains: Sequence[str]) -> Tensor:
    """The chinchilla law and a term of the mixture, in nats/token."""
    import torch

    inner = sum(
        (values[f"C_{domain}"] * power(values[domain].clamp(min=SMALLEST), values[f"g_{domain}"]) for domain in domains),
        torch.zeros((), dtype=torch.float64),
    )
    return chinchilla(*(values[name] for name in ("N", "D", "E", "A", "B", "alpha", "beta"))) + 1 / inner


def read_mixing_additive(text: str) -> Law:
    """The law `mixing_additive(...` of the domains that follow. Raises PliantError for what is no list of names."""
    domains = listed("mixing_additive", text)
    own = [
        parameter
        for domain in domains
        for parameter in (
            Parameter(f"C_{domain}", f"what {domain} alone gives", (0.5, 2.0)),
            Parameter(f"g_{domain}", "how soon a small share of it suffices", (0.3,), low=0.01, high=3.0),
        )
    ]
    return Law(
        name=f"mixing_additive({', '.join(domains)})",
        function=taking(
            lambda values: mixing_additive(values, domains),
            ["N", "D", *domains, *(parameter.name for parameter in (*BASE, *own))],
        ),
        columns=(SIZE, TOKENS, *shares(domains)),
        parameters=(*BASE, *own),
        linear=("E", "A", "B"),
        scale=("N", "D"),
        source="Shukor et al., arXiv 2507.09404",
        valid="20M to 8B parameters, 3 to 8 domains, mixtures within the range of the measured ones",
        identifiability="ten mixtures for three or four domains, twenty for six to eight; E trades off with the mixture term",
    )
