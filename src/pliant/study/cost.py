"""What a study will cost, roughly: floating-point operations, and seconds on one worker.

Forward passes take 2 x parameters operations a token, training 6; an image counts as the tokens that would take as much (see
`pliant.models.operations`). A CPU core does about 5e10 of them a second on tiny models,
beside some microseconds a token that no operation explains (measured with models of 9 thousand to 5 million parameters);
an accelerator is taken at 2e13. The estimate orders the work and weighs the progress bar; nothing else depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pliant.models.operations import tokens_of_image

if TYPE_CHECKING:
    from transformers import PreTrainedModel

TYPICAL_CONTEXT = 256
"""Tokens of a window, where only the model knows."""
TYPICAL_PARAMS = 1_000_000


@dataclass(frozen=True)
class Cost:
    """Operations, and the seconds they take one worker."""

    flops: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.seconds + other.seconds)


def read_at_once(network: PreTrainedModel | None) -> float:
    """Tokens of a window, or of an image where the network (one without numbers) reads those."""
    return (None if network is None else tokens_of_image(network)) or TYPICAL_CONTEXT


def training(params: int | None, tokens: float, accelerator: bool = False) -> Cost:
    """Of training a model of `params` parameters on `tokens`."""
    return _cost(6 * (params or TYPICAL_PARAMS), tokens, 4e-6, accelerator)


def evaluation(params: int | None, tokens: float, accelerator: bool = False) -> Cost:
    """Of reading `tokens` with it."""
    return _cost(2 * (params or TYPICAL_PARAMS), tokens, 1.5e-6, accelerator)


def opening(params: int | None, flops: float, accelerator: bool = False) -> Cost:
    """Of opening a rung that says its operations."""
    return training(params, flops / (6 * (params or TYPICAL_PARAMS)), accelerator)


def _cost(flops_a_token: float, tokens: float, overhead: float, accelerator: bool) -> Cost:
    rate = 2e13 if accelerator else 5e10
    return Cost(flops_a_token * tokens, tokens * ((0 if accelerator else overhead) + flops_a_token / rate))
