"""Greedy coordinate gradient: a suffix of tokens, found by swapping one at a time, after which a model says what it is made to say.

Idea: with the suffix as one-hot rows, the gradient of the target's loss says at each place which tokens promise most; of the `top` best
at every place `candidates` swaps of one token are drawn, each is tried, and the best of them is the next suffix. Several prompts have one
suffix: their losses are averaged, so that it carries over to prompts it was not found on. `start` is repeated to `length` tokens.
When to use it: to test how far a rule that a model was tuned to keep holds against an adversary (of one's own systems); never as a measure
of how often it is broken by chance.
Cost: `steps` x (one backward pass + `candidates` forward passes) a prompt. What stands before the suffix is read once; what stands before
a candidate's swap is read once a step for all candidates that share it; and logits are made of the target alone.
What goes wrong: it is greedy, so starts and seeds differ much: report several, and the steps. A suffix that other tokens would spell again
as other tokens cannot be typed: such candidates are left out (`typable`). Small vocabularies need a smaller `top`.
Source: arXiv 2307.15043; the budget of the papers is 20 tokens, 512 candidates of the 256 best, 500 to 1000 steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pydantic import Field

from pliant.attacks.ascent import frozen
from pliant.attacks.attack import Attack, Costing
from pliant.attacks.ball import generator_of
from pliant.attacks.suffix_loss import SuffixLoss
from pliant.errors import PliantError
from pliant.models.modules import evaluating, token_embedding
from pliant.progress import progress

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from pliant.models import Model
    from pliant.objectives import Batch


@dataclass(frozen=True)
class Suffix:
    """What was found: the best suffix of all steps."""

    text: str
    ids: tuple[int, ...]
    loss: float
    """Of the target after it, nats a token, averaged over the prompts."""
    losses: tuple[float, ...]
    """Of the best candidate of every step."""


class Gcg(Attack):
    """Find a suffix of tokens after which a model says a target."""

    target: str = Field(min_length=1, description="What the model is to say")
    start: str = Field("x", min_length=1, description="The text that the first suffix is made of, over and over")
    length: int = Field(20, ge=1, le=1000, description="Tokens of the suffix")
    steps: int = Field(250, ge=1, le=100000, description="Swaps")
    candidates: int = Field(512, ge=1, description="Swaps tried at each step")
    top: int = Field(256, ge=1, description="Tokens that are drawn from at each place: those that the gradient promises most of")
    ascii_only: bool = Field(True, description="Only tokens of printable ASCII")
    typable: bool = Field(True, description="Only suffixes whose text is read as the same tokens again")
    rows: int = Field(128, ge=1, description="Candidates that go through the network together")

    def perturb(self, model: Model, batch: Batch, objective: Costing, seed: int = 0) -> Batch:
        """None: a suffix is found for prompts, not for a batch. Raises PliantError."""
        raise PliantError("gcg finds a suffix for prompts (`Gcg(...).suffix(model, prompts)`); batches are moved by pgd")

    def suffix(self, model: Model, prompts: Sequence[str], seed: int = 0) -> Suffix:
        """The suffix under which the target costs least after all `prompts`: a pure function of its arguments.

        Raises PliantError for a model that does not tell the next token, texts that are too long for it, no usable token, and a loss that
        is not finite.
        """
        import torch

        if not prompts:
            raise PliantError("gcg needs at least one prompt")
        if model.task.name != "causal":
            raise PliantError(f"{model.checkpoint.address} is {model.task.called}; a suffix is found for a causal language model")
        losses = [SuffixLoss.of(model, prompt, self.target, self.length, self.rows) for prompt in prompts]
        allowed = self._allowed(model)
        current = self._first(model)
        generator = generator_of(f"gcg {seed}")
        best, told = (float("inf"), current), list[float]()
        with evaluating(model.network), frozen(model.network), progress("gcg", self.steps) as advance:
            for _ in range(self.steps):
                gradient = torch.stack([loss.gradient(current) for loss in losses]).sum(0)
                swapped = self._swaps(model, current, gradient, allowed, generator)
                with torch.inference_mode():
                    costs = torch.stack([loss.of_swaps(current, *swapped) for loss in losses]).mean(0)
                if not torch.isfinite(costs).all():
                    raise PliantError(f"{model.checkpoint.address}: the loss of a candidate is not finite; its weights are damaged")
                place, token = (int(part[costs.argmin()]) for part in swapped)
                current = current.clone()
                current[place] = token
                told.append(float(costs.min()))
                best = min(best, (told[-1], current), key=lambda found: found[0])
                advance(1)
        ids = tuple(best[1].tolist())
        return Suffix(model.tokenizer.decode(list(ids)), ids, best[0], tuple(told))

    def _first(self, model: Model) -> Tensor:
        """`start` over and over, cut to the length."""
        import torch

        ids = [int(number) for number in model.tokenizer.encode([self.start])[0]]
        if not ids:
            raise PliantError(f"start {self.start[:40]!r} is no token of this model; give another text")
        return torch.tensor((ids * self.length)[: self.length], device=model.device)

    def _allowed(self, model: Model) -> Tensor:
        """(vocabulary,) which tokens may be used."""
        import torch

        count = len(token_embedding(model.network).weight)
        special = {model.tokenizer.end_id, model.tokenizer.padding_id}
        kept = [number not in special and number < model.tokenizer.vocab_size for number in range(count)]
        if self.ascii_only:
            texts = (model.tokenizer.decode([number]) if kept[number] else "" for number in range(count))
            kept = [bool(text) and text.isascii() and text.isprintable() for text in texts]
        if not any(kept):
            raise PliantError("no token of this model is printable ASCII; `ascii_only: false` allows all")
        return torch.tensor(kept, device=model.device)

    def _swaps(self, model: Model, current: Tensor, gradient: Tensor, allowed: Tensor, generator: Generator) -> tuple[Tensor, Tensor]:
        """Places and tokens (swaps,) of different swaps that change something. Raises PliantError where none is left."""
        import torch

        top = min(self.top, int(allowed.sum()))
        best = gradient.masked_fill(~allowed, float("inf")).topk(top, dim=1, largest=False).indices
        places = torch.randint(0, len(current), (self.candidates,), generator=generator)
        picks = torch.randint(0, top, (self.candidates,), generator=generator)
        tokens = best[places.to(best.device), picks.to(best.device)].cpu()
        pairs = torch.unique(torch.stack([places, tokens], 1), dim=0)
        pairs = pairs[pairs[:, 1] != current.cpu()[pairs[:, 0]]]
        if self.typable:
            pairs = pairs[self._typable(model, current, pairs)]
        if not len(pairs):
            raise PliantError("no candidate's text is read as the same tokens again; give another `start`, or `typable: false`")
        return pairs[:, 0].to(current.device), pairs[:, 1].to(current.device)

    def _typable(self, model: Model, current: Tensor, pairs: Tensor) -> Tensor:
        """(pairs,) whether the text of each swapped suffix is read as its own tokens."""
        import torch

        rows = current.cpu().repeat(len(pairs), 1)
        rows[torch.arange(len(pairs)), pairs[:, 0]] = pairs[:, 1]
        texts = [model.tokenizer.decode(row) for row in rows.tolist()]
        again = model.tokenizer.encode(texts)
        return torch.tensor([list(ids) == row for ids, row in zip(again, rows.tolist(), strict=True)])
