"""Loss on one domain from the shares of the training data: L = c + k exp(sum over domains of t r).

When to use it: `mixing(web, code, books)`, a few dozen to some hundred small runs of one size and length on different mixtures, one fit a
validation domain; to rank mixtures, and to look for the best among those like them.
What goes wrong: shares sum to one, so a constant added to every t is lost in k: the first domain's t is held at 0, and the others
say how much more than it they move the loss. Leave a domain out of the list instead, and free that one. Ranks carry over to
larger models better than losses do: score by rank there.
Source: Ye et al., arXiv 2403.16952.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pliant.laws.forms.family import listed, taking
from pliant.laws.law import Column, Law, Parameter

if TYPE_CHECKING:
    from torch import Tensor


def shares(domains: Sequence[str]) -> tuple[Column, ...]:
    """A column for each domain's share."""
    return tuple(Column(domain, "share", f"share of the training data that is {domain}", positive=False) for domain in domains)


def mixing(values: Mapping[str, Tensor], domains: Sequence[str]) -> Tensor:
    """c + k exp(sum of t r), in nats/token."""
    import torch

    slope = sum((values[f"t_{domain}"] * values[domain] for domain in domains), torch.zeros((), dtype=torch.float64))
    return values["c"] + values["k"] * torch.exp(slope)


def read_mixing(text: str) -> Law:
    """The law `mixing(...` of the domains that follow. Raises PliantError for what is no list of names."""
    domains = listed("mixing", text)
    slopes = [f"t_{domain}" for domain in domains]
    return Law(
        name=f"mixing({', '.join(domains)})",
        function=taking(lambda values: mixing(values, domains), [*domains, "c", "k", *slopes]),
        columns=shares(domains),
        parameters=(
            Parameter("c", "loss that no mixture removes", (0.5, 1.5, 3.0)),
            Parameter("k", "what the first domain alone leaves above it", (0.3, 1.0, 3.0)),
            *(
                Parameter(slope, f"how {domain} moves the log of that", (-0.5,), "identity")
                for slope, domain in zip(slopes, domains, strict=True)
            ),
        ),
        linear=("c", "k"),
        fix={slopes[0]: 0.0},
        source="Ye et al., arXiv 2403.16952",
        valid="one size and length; mixtures within the range of the measured ones",
        identifiability="c, k and the slopes trade off unless mixtures differ much; the first domain's slope is held at 0",
    )
