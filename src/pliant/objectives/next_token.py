"""Next token: predict every token of a text from those before it. What language models are pretrained on.

Idea: random crops of packed text; the loss of a token is -log p(token | tokens before it in its crop).
When to use it: pretraining, and fine-tuning on text that has no questions and answers of its own.
Cost: one forward pass, and with gradients two more.
What goes wrong: crops cross the borders of documents, as in most pretraining.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import log
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pliant.data import Corpus, Packed, Part, Tokenizer
from pliant.data.fields import TEXT_FIELDS, usual
from pliant.data.mixed import Mixed
from pliant.data.mixture import Mixture, Text, text_tokens
from pliant.data.rows import first_record
from pliant.errors import PliantError
from pliant.models.modules import token_embedding
from pliant.objectives.objective import Batch, Losses, Objective

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pliant.models import Model


class NextToken(Objective):
    """Predict each token of a text from the tokens before it."""

    unit = "nats/token"
    measured_by = "loss"
    data: Text = Field(description="The text: a corpus, or its source; or a mixture of several")
    part: Part = Field(default="train", description="Which part of it: train, heldout or all")

    def data_for(self, tokenizer: Tokenizer) -> Packed | Mixed:
        """The text, tokenised once."""
        return text_tokens(self.data, tokenizer, self.part)

    def told(self) -> str:
        """Which columns of a table are its text, where there are others, or where it is only taken for one."""
        record = first_record(self.data.source) if isinstance(self.data, Corpus) and self.data.field is None else None
        read = usual(tuple(record)) if record else ()
        others = [name for name in record or () if name not in read]
        return (
            f"a table of {' and '.join((*read, *others)[:8])}; every token of {' and '.join(read)} is learned"
            if others or not set(read) <= set(TEXT_FIELDS)
            else ""
        )

    def examples(self, model: Model, length: int | None) -> Crops:
        """Random crops of the text. Raises PliantError for another vocabulary, and for crops longer than the model's context."""
        return Crops.of(self.data_for(model.tokenizer), model, length)

    @property
    def of_length(self) -> bool:
        """As the mixture says, where it is one."""
        return isinstance(self.data, Mixture) and self.data.of_length

    def planned(self, examples: Crops, rows: int) -> Crops:
        """With the phases of a mixture where the run has them."""
        text = examples.text
        return replace(examples, text=text.of_run(rows * examples.length)) if isinstance(text, Mixed) else examples

    def described(self) -> Any:
        """Of a mixture nothing: all of it that the rows so far depend on is in `seen`."""
        return {"kind": self.kind, "part": self.part} if isinstance(self.data, Mixture) else super().described()

    def seen(self, examples: Crops, rows: int) -> str:
        """Phases of a mixture that have not begun make no difference, so that runs that differ in them can go on from one another."""
        text = examples.text
        return text.seen(rows * examples.length) if isinstance(text, Mixed) else examples.fingerprint

    def losses(self, network: nn.Module, batch: Batch) -> Losses:
        """`batch.targets` (rows, length) are the inputs one token on."""
        output = network(**batch.inputs, use_cache=False)
        return Losses(token_losses(output.logits, batch.targets).sum(-1), batch.weights, output)

    def distributions(self, losses: Losses, batch: Batch) -> tuple[Tensor, Tensor]:
        """One a token."""
        import torch

        logits = losses.output.logits
        rows = torch.arange(len(batch), device=logits.device)
        return logits.flatten(0, 1).float(), rows.repeat_interleave(logits.shape[1])


def token_losses(logits: Tensor, targets: Tensor) -> Tensor:
    """-log p(target) in nats, in the shape of `targets` (...), from logits (..., vocabulary): the one place, with `losses_at`, it is
    worked out.

    In float32 at least, whatever the type of the logits.
    """
    import torch
    from torch.nn.functional import cross_entropy

    wide = logits if logits.dtype == torch.float64 else logits.float()
    return cross_entropy(wide.flatten(0, -2), targets.flatten(), reduction="none").view(targets.shape)


def losses_at(logits: Tensor, places: Tensor, targets: Tensor) -> Tensor:
    """The same, to the last digit, of targets (n,) at `places` (n,) of logits (positions, vocabulary), where a place may have several."""
    import torch

    wide = logits if logits.dtype == torch.float64 else logits.float()
    return -wide.log_softmax(-1)[places, targets]


@dataclass(frozen=True)
class Crops:
    """Random crops of packed text, `length` predicted tokens each; an example's number is where its crop starts."""

    text: Packed | Mixed
    length: int

    @classmethod
    def of(cls, text: Packed | Mixed, model: Model, length: int | None) -> Crops:
        """Crops for `model`. Raises PliantError for another vocabulary, and for crops longer than the model's context."""
        vocabulary = len(token_embedding(model.network).weight)
        if text.vocab_size > vocabulary:
            raise PliantError(
                f"the text has a vocabulary of {text.vocab_size} tokens, the model one of {vocabulary}; tokenise it with the model's own"
            )
        return cls(text, model.row_length(length))

    @property
    def fingerprint(self) -> str:
        """Of the tokens."""
        return self.text.fingerprint

    @property
    def unique(self) -> int:
        """Tokens of the text."""
        return len(self.text)

    @property
    def row_tokens(self) -> float:
        """Every crop predicts as many."""
        return self.length

    @property
    def chance(self) -> float:
        """Of a uniform guess over the vocabulary."""
        return log(self.text.vocab_size)

    def batch(self, step: int, rows: int, seed: int) -> Batch:
        """Crops at random places. Raises PliantError for a text shorter than one batch."""
        import torch

        if isinstance(self.text, Mixed):
            starts, read = self.text.batch(step, rows, self.length, seed)
        else:
            positions = self.text.positions(step, rows, self.length, seed)
            starts, read = positions[:, 0], self.text.at(positions)
        tokens = torch.from_numpy(read)
        weights = torch.full((rows,), float(self.length))
        return Batch(starts, {"input_ids": tokens[:, :-1]}, tokens[:, 1:], weights)
