"""What a study will cost, roughly: floating-point operations, and seconds on one worker.

Forward passes take 2 x parameters operations a token, training 6. A CPU core does about 5e10 of them a second on tiny models,
beside some microseconds a token that no operation explains (measured with models of 9 thousand to 5 million parameters);
an accelerator is taken at 2e13. The estimate orders the work and weighs the progress bar; nothing else depends on it.
"""

from __future__ import annotations

from dataclasses import dataclass

from pliant.changes import Chain, Change
from pliant.data import Corpus
from pliant.measures import Measure

TYPICAL_CONTEXT = 256
"""Tokens of a window, where only the model knows."""
TYPICAL_SAMPLES = 256
TYPICAL_PARAMS = 1_000_000
CHARACTERS_A_TOKEN = 4


@dataclass(frozen=True)
class Cost:
    """Operations, and the seconds they take one worker."""

    flops: float = 0.0
    seconds: float = 0.0

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.flops + other.flops, self.seconds + other.seconds)


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


def training_tokens(change: Change) -> float:
    """Tokens that one draw of the change trains on; 0 for changes without training."""
    if isinstance(change, Chain):
        return sum(training_tokens(link) for link in change.links)
    steps, batch = getattr(change, "steps", None), getattr(change, "batch", None)
    if batch is None:
        return 0.0
    if steps:
        return steps * batch * getattr(change, "accumulate", 1) * (getattr(change, "length", None) or TYPICAL_CONTEXT)
    corpus = getattr(change, "data", None)
    characters = float(corpus.split().lengths.sum()) if isinstance(corpus, Corpus) else 0.0
    return (getattr(change, "epochs", None) or 0.0) * characters / CHARACTERS_A_TOKEN


def measured_tokens(measure: Measure) -> float:
    """Tokens that one reading of the measure takes, as far as its fields tell."""
    samples, window = getattr(measure, "samples", None), getattr(measure, "window", None)
    return float((samples or TYPICAL_SAMPLES) * (window or TYPICAL_CONTEXT))
