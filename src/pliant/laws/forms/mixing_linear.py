"""Loss on one domain as a weighted mean over the shares of the training data: L = sum over domains of w r (RegMix's regression).

When to use it: `mixing_linear(web, code, books)`, as `mixing`: the plain baseline, where ranks are all that is wanted.
What goes wrong: a straight line bends nowhere: its best mixture is always one domain alone, so it ranks but does not choose. `mixing` ranks
better on the released table.
Source: Liu et al., arXiv 2407.01492.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pliant.laws.forms.family import listed, taking
from pliant.laws.forms.mixing import shares
from pliant.laws.law import Law, Parameter

if TYPE_CHECKING:
    from torch import Tensor


def mixing_linear(values: Mapping[str, Tensor], domains: Sequence[str]) -> Tensor:
    """The sum of w r, in nats/token."""
    import torch

    return sum((values[f"w_{domain}"] * values[domain] for domain in domains), torch.zeros((), dtype=torch.float64))


def read_mixing_linear(text: str) -> Law:
    """The law `mixing_linear(...` of the domains that follow. Raises PliantError for what is no list of names."""
    domains = listed("mixing_linear", text)
    weights = [f"w_{domain}" for domain in domains]
    return Law(
        name=f"mixing_linear({', '.join(domains)})",
        function=taking(lambda values: mixing_linear(values, domains), [*domains, *weights]),
        columns=shares(domains),
        parameters=tuple(
            Parameter(weight, f"loss of {domain} alone", (4.0,), "identity") for weight, domain in zip(weights, domains, strict=True)
        ),
        linear=tuple(weights),
        residual="difference",
        source="Liu et al., arXiv 2407.01492",
        valid="one size and length; to rank mixtures like the measured ones",
        identifiability="a domain that is hardly ever used leaves its weight open",
    )
