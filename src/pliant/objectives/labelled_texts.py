"""Labelled texts as one network reads them: padded rows of tokens, and the outputs of its head that stand for their labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import log
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pliant.data.labelled_rows import LabelledRows
from pliant.data.order import order
from pliant.data.row_encoding import marks_texts
from pliant.models.heads import outputs, padding_id
from pliant.models.modules import looks_ahead
from pliant.objectives.objective import Batch

if TYPE_CHECKING:
    from torch import nn

    from pliant.data import Part
    from pliant.data.labelled_texts import LabelledTexts, Texts
    from pliant.models import Model


@dataclass(frozen=True)
class LabelledTextRows:
    """Texts with labels; every one once an epoch."""

    rows: LabelledRows
    targets: NDArray[Any]
    """(rows,) the output of each; (rows, outputs) probabilities, of soft labels; (rows, outputs) numbers."""
    chance: float
    """The loss of knowing nothing."""
    padding: int
    """The id that fills rows up."""
    marked: bool
    """Whether the network is told which of two texts a token is of."""

    @classmethod
    def of(cls, data: LabelledTexts, model: Model, part: Part, length: int | None) -> LabelledTextRows:
        """The examples of a part as `model` reads them.

        Raises PliantError for labels unknown to its head, and for a length beyond its context.
        """
        classes = data.classes()
        rows = data.rows(model.tokenizer, part, model.row_length(length))
        if data.numbers:
            targets = rows.labels.astype(np.float32)
            chance = float(rows.labels.var(0).mean())
        else:
            targets, chance = _class_targets(rows.labels, outputs(model, classes), len(model.labels)), log(len(classes))
        return cls._padded(rows, targets, chance, model)

    @classmethod
    def unlabelled(cls, data: Texts, model: Model, part: Part) -> LabelledTextRows:
        """The texts of a part as `model` reads them, whatever their labels are; all targets are 0."""
        rows = data.rows(model.tokenizer, part, model.context)
        return cls._padded(rows, np.zeros(len(rows), np.int64), 0.0, model)

    @classmethod
    def _padded(cls, rows: LabelledRows, targets: NDArray[Any], chance: float, model: Model) -> LabelledTextRows:
        config: Any = model.network.config.get_text_config()
        padding = padding_id(model)
        if config.pad_token_id is None:  # by which decoders find the end of each row
            config.pad_token_id = padding
        return cls(rows, targets, chance, padding, marks_texts(model.tokenizer))

    @property
    def fingerprint(self) -> str:
        """Of tokens and labels."""
        return self.rows.fingerprint

    @property
    def ids(self) -> Sequence[str]:
        """(rows,) what names each for good."""
        return self.rows.ids

    @property
    def counts(self) -> dict[str, int]:
        """What became of the records."""
        return self.rows.counts

    @property
    def unique(self) -> int:
        """Texts."""
        return len(self.rows)

    @property
    def row_tokens(self) -> float:
        """One label a row."""
        return 1.0

    @cached_property
    def lengths(self) -> NDArray[np.int64]:
        """(rows,) tokens."""
        return np.array([len(self.rows.row(number)[0]) for number in range(len(self.rows))], np.int64)

    def batch(self, step: int, rows: int, seed: int) -> Batch:
        """The next rows of the epoch."""
        return self.at(order(len(self.rows), step, rows, seed))

    def at(self, numbers: NDArray[np.int64]) -> Batch:
        """Some of the rows, padded on the right."""
        import torch

        found = [self.rows.row(int(number)) for number in numbers]
        shape = len(found), max(len(tokens) for tokens, _ in found)
        ids, texts, real = np.full(shape, self.padding, np.int64), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, (tokens, marks) in enumerate(found):
            ids[row, : len(tokens)], texts[row, : len(tokens)], real[row, : len(tokens)] = tokens, marks, 1
        arrays = {"input_ids": ids, "attention_mask": real} | ({"token_type_ids": texts} if self.marked else {})
        inputs = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return Batch(numbers, inputs, torch.from_numpy(self.targets[numbers]), torch.ones(len(numbers)))


def answered(network: nn.Module, batch: Batch) -> Any:
    """What the network answers to each row.

    A decoder finds the end of a row by its padding ids. Of embeddings, which have none (see `pliant.attacks.pgd`), it would take the
    padding for the end: there each row goes through it alone, without.
    """
    import torch

    embeds, real = (batch.inputs.get(name) for name in ("inputs_embeds", "attention_mask"))
    if embeds is None or real is None or bool(real.all()) or looks_ahead(network):
        return network(**batch.inputs)
    alone = [network(inputs_embeds=embeds[row : row + 1, : int(real[row].sum())]) for row in range(len(batch))]
    alone[0].logits = torch.cat([output.logits for output in alone])
    return alone[0]


def _class_targets(labels: NDArray[np.float64], places: Sequence[int], width: int) -> NDArray[Any]:
    """Of the head's outputs, of labels (rows, 1) by class or (rows, classes) by probability."""
    if labels.shape[1] == 1:
        return np.array(places, np.int64)[labels[:, 0].astype(np.int64)]
    targets = np.zeros((len(labels), width), np.float32)
    targets[:, list(places)] = labels
    return targets
