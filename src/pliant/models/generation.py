"""Generation: what a model says next, for many prompts at once. The one home of it.

Idea: prompts of like length go through together, padded on the left, each with a cache of keys and values; a row is done at its end
token or a stop string, and a batch when all its rows are. transformers' own loop decodes, so every architecture it knows is served.
Cost: a batch takes as many steps as its longest answer.
What goes wrong: sampled text depends on what it was batched with only through the random numbers, which are drawn for the batch;
greedy text may differ between batch sizes where two tokens are equally likely to the last digit.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.errors import PliantError
from pliant.progress import progress

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.models.model import Model

BATCH_TOKENS = {"cpu": 4096, "cuda": 65536}
"""Tokens of prompts and answers that are held at once."""


def generate(
    model: Model,
    prompts: Sequence[str],
    *,
    most: int = 256,
    stop: Sequence[str] = (),
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    batch_tokens: int | None = None,
) -> list[str]:
    """What follows each prompt, up to `most` tokens, the end token or the first of the `stop` strings, which is left out.

    Args:
        model: A causal language model with its tokenizer.
        prompts: Texts; one longer than the context allows beside `most` tokens loses its beginning.
        most: Tokens of an answer.
        stop: Texts that end an answer.
        temperature: 0 takes the likeliest token each time; above it, tokens are drawn.
        top_p: Draw among the likeliest tokens that make up this probability.
        seed: Of what is drawn. The caller's random state is left untouched.
        batch_tokens: Tokens held at once, where the default needs too much memory.

    Raises PliantError for an empty prompt, and for `most` beyond the context.
    """
    import torch

    if not 0 < most < model.context:
        raise PliantError(f"answers of {most} tokens leave no room for a prompt in a context of {model.context}")
    encoded = _encoded(model, prompts, model.context - most)
    budget = batch_tokens or BATCH_TOKENS.get(model.device.type, BATCH_TOKENS["cuda"])
    answers = [""] * len(prompts)
    cuda = [model.device] if model.device.type == "cuda" else []
    with torch.random.fork_rng(cuda), torch.no_grad(), progress("generating", len(prompts)) as advance:
        torch.manual_seed(seed)
        for batch in _batches([len(ids) for ids in encoded], most, budget):
            for row, text in zip(batch, _answers(model, [encoded[row] for row in batch], most, stop, temperature, top_p), strict=True):
                answers[row] = text
            advance(len(batch))
    return answers


def _encoded(model: Model, prompts: Sequence[str], longest: int) -> list[list[int]]:
    begin = model.tokenizer.beginning_id
    found: list[list[int]] = []
    for number, ids in enumerate(model.tokenizer.encode(prompts), 1):
        kept = ([] if begin is None else [begin]) + ids.tolist()
        if not kept:
            raise PliantError(f"prompt {number} is empty, so there is nothing to go on from")
        found.append(kept[-longest:])
    return found


def _batches(lengths: Sequence[int], most: int, budget: int) -> Iterator[list[int]]:
    """Rows of like length, longest first, whose padded prompts and answers stay within `budget` tokens."""
    order = sorted(range(len(lengths)), key=lambda row: -lengths[row])
    while order:
        rows = max(1, budget // (lengths[order[0]] + most))
        yield order[:rows]
        order = order[rows:]


def _answers(model: Model, rows: Sequence[Sequence[int]], most: int, stop: Sequence[str], temperature: float, top_p: float) -> list[str]:
    import torch
    from transformers import GenerationConfig, StoppingCriteriaList

    longest = max(map(len, rows))
    ids = np.zeros((len(rows), longest), np.int64)
    real = np.zeros((len(rows), longest), np.int64)
    for row, tokens in enumerate(rows):
        ids[row, longest - len(tokens) :], real[row, longest - len(tokens) :] = tokens, 1
    end = model.tokenizer.end_id
    sampling: dict[str, Any] = (
        {"do_sample": True, "temperature": temperature, "top_p": top_p, "top_k": 0} if temperature else {"do_sample": False}
    )
    config = GenerationConfig(max_new_tokens=most, pad_token_id=end if end is not None else 0, eos_token_id=end, **sampling)
    network: Any = model.network
    was_training = network.training
    network.eval()
    try:
        found: Tensor = network.generate(
            input_ids=torch.from_numpy(ids).to(model.device),
            attention_mask=torch.from_numpy(real).to(model.device),
            generation_config=config,
            stopping_criteria=StoppingCriteriaList([_Stops(model, longest, stop)] if stop else []),
        )
    finally:
        network.train(was_training)
    return [_text(model, row[longest:].tolist(), stop) for row in found.cpu()]


class _Stops:
    """Rows that have said one of the stop strings are done."""

    def __init__(self, model: Model, start: int, stop: Sequence[str]) -> None:
        self.model, self.start, self.stop = model, start, stop
        self.longest = max(map(len, stop))

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        """One flag a row. A stop string holds at most as many tokens as characters, so only the last ones are looked at."""
        import torch

        tails = input_ids[:, max(self.start, input_ids.shape[1] - self.longest - 1) :].tolist()
        texts = [self.model.tokenizer.decode(tail) for tail in tails]
        done = [any(word in text for word in self.stop) for text in texts]
        return torch.tensor(done, device=input_ids.device)


def _text(model: Model, tokens: Sequence[int], stop: Sequence[str]) -> str:
    """The answer up to its end token or the first stop string."""
    end = model.tokenizer.end_id
    kept = tokens[: tokens.index(end)] if end is not None and end in tokens else tokens
    text = model.tokenizer.decode(np.asarray(kept, np.int64)) if kept else ""
    return text[: min((text.find(word) for word in stop if word in text), default=len(text))]
