"""Label: tell which class a text or an image is of.

Idea: the cross-entropy of the head's outputs with the label of each example; a soft label is a distribution over the classes, and counts
as one. A network without such a head gets a fresh one, seeded, with an output for each class of the data.
When to use it: sentiment, entailment (pairs of texts), topics, digits, CIFAR; with `noise` for what wrong labels do.
Cost: one forward pass of the whole text or image for one number learned from.
What goes wrong: a fresh head of a language model learns slowly beside its trunk: rates of pretraining are too low for it, or train the
head alone first (method `probe`). Labels that the model's head does not know are refused; `fresh_head` puts a new one there.
Source: the loss of transformers' classifiers.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pliant.data import Part
from pliant.data.images import Images
from pliant.data.label_noise import LabelNoise
from pliant.data.labelled_texts import LabelledTexts
from pliant.data.sequences import UNCUT
from pliant.errors import PliantError
from pliant.models.heads import outputs
from pliant.models.images import ImageInput
from pliant.models.tasks import Needs
from pliant.objectives.labelled import LabelledImages
from pliant.objectives.labelled_data import AnyLabelled
from pliant.objectives.labelled_texts import LabelledTextRows, answered
from pliant.objectives.objective import Batch, Losses, Objective
from pliant.spec import digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor, nn

    from pliant.data import Corpus, Tokenizer
    from pliant.models import Model
    from pliant.objectives.objective import TrainingData


TYPICAL_LENGTH = 64
"""Tokens of a text with a label, where only the tokenizer knows: for estimates of cost."""


class Label(Objective):
    """Tell classes apart."""

    unit = "nats"
    task = "sequence"
    judged_by = "accuracy"
    row_tokens = 1
    data: AnyLabelled = Field(description="Texts or images with labels: a table, a folder of class folders, an archive, or its source")
    part: Part = Field(default="train", description="Which part of it: train, heldout or all")
    noise: LabelNoise | None = Field(default=None, description="Wrong labels on purpose: `{fraction: 0.3, flips: symmetric}`")
    fresh_head: bool = Field(default=False, description="Put a new head on a model that has one already")

    @classmethod
    def found_in(cls, corpus: Corpus, part: Part) -> Label | None:
        """Where a source holds images, or texts with a column that is called a label."""
        images = corpus.field is None and Images.recognised(corpus.source)
        data = Images(source=corpus.source, skip_bad=corpus.skip_bad) if images else LabelledTexts.of(corpus)
        return None if data is None else cls(data=data, part=part)

    def needs(self) -> Needs:
        """A classifier with an output for each class, and for images what they look like."""
        if not isinstance(self.data, Images):
            return Needs("sequence", self.data.classes(), fresh=self.fresh_head)
        pictures = self.data.whole()
        height, width, channels = pictures.shape
        return Needs("image", pictures.classes, images=ImageInput((height, width), channels), fresh=self.fresh_head)

    def tokens_read(self, length: int | None, context: float) -> float:
        """An image is read whole; a text is seldom longer than `TYPICAL_LENGTH`."""
        return context if isinstance(self.data, Images) else min(float(length or TYPICAL_LENGTH), context)

    def pictures(self) -> int:
        """Of its part."""
        return len(self.data.pictures(self.part)) if isinstance(self.data, Images) else 0

    def data_for(self, tokenizer: Tokenizer) -> TrainingData:
        """The texts, uncut, or the images."""
        found: Any = self.data.pictures(self.part) if isinstance(self.data, Images) else self.data.rows(tokenizer, self.part, UNCUT)
        return found

    def examples(self, model: Model, length: int | None) -> LabelledImages | LabelledTextRows | Relabelled:
        """The examples as `model` reads them; `length` is the most tokens of a text.

        Raises PliantError for labels unknown to its head, texts beyond its context, and images of another size than it reads.
        """
        if isinstance(self.data, Images):
            found, labels, places = self._images(self.data, model)
        else:
            places = outputs(model, self.data.classes())
            found = LabelledTextRows.of(self.data, model, self.part, length)
            labels = found.rows.labels
            if self.noise is not None and labels.shape[1] > 1:
                raise PliantError(f"{self.data.source}: its labels are probabilities, which noise cannot flip; leave `noise` out")
            labels = labels[:, 0].astype(np.int64)
        if self.noise is None:
            return found
        if self.data.select is None:
            wrong = np.array(places, np.int64)[self.noise(found.ids, labels, len(places))]
        else:  # the same ones are wrong, whatever is selected
            whole: Any = self._unselected().examples(model, length)
            given = dict(zip(whole.ids, whole.targets.tolist(), strict=True))
            wrong = np.array([given[name] for name in found.ids], np.int64)
        return Relabelled(found, wrong, digest(f"{found.fingerprint} {self.noise.canonical_json()}"))

    def held_out(self) -> Label:
        """Without wrong labels and augmentation."""
        data = self.data.model_copy(update={"augment": None}) if isinstance(self.data, Images) else self.data
        return self.model_copy(update={"part": "heldout", "noise": None, "data": data})

    def _unselected(self) -> Label:
        return self.model_copy(update={"data": self.data.model_copy(update={"select": None})})

    def _images(self, data: Images, model: Model) -> tuple[LabelledImages, NDArray[np.int64], list[int]]:
        pictures = data.pictures(self.part, model.images.size)
        places = outputs(model, pictures.classes)
        if pictures.shape[:2] != model.images.size:
            told = " x ".join(map(str, pictures.shape[:2])), " x ".join(map(str, model.images.size))
            raise PliantError(f"{data.source}: images of {told[0]} pixels, and the model reads {told[1]}; leave `size` out, or give that")
        return LabelledImages(pictures, model.images, tuple(places), data.augment), pictures.labels, places

    def told(self) -> str:
        """The columns that were found."""
        if isinstance(self.data, Images):
            return f"images of {len(self.data.whole().classes)} classes; the class is learned"
        *texts, label = self.data.form().needs
        told = f"a table of {' and '.join(texts)} with {len(self.data.classes())} classes in {label}; the class is learned"
        return f"{told} (`field: {texts[0]}` learns the text)" if len(texts) == 1 else told

    def losses(self, network: nn.Module, batch: Batch) -> Losses:
        """`batch.targets` are outputs of the head (rows,), or probabilities of all of them (rows, outputs)."""
        import torch
        from torch.nn.functional import cross_entropy

        output = answered(network, batch)
        logits = output.logits if output.logits.dtype == torch.float64 else output.logits.float()
        soft = batch.targets.is_floating_point()
        return Losses(
            cross_entropy(logits, batch.targets.to(logits.dtype) if soft else batch.targets, reduction="none"), batch.weights, output
        )

    def distributions(self, losses: Losses, batch: Batch) -> tuple[Tensor, Tensor]:
        """One a row."""
        import torch

        logits = losses.output.logits
        return logits.float(), torch.arange(len(batch), device=logits.device)


@dataclass(frozen=True)
class Relabelled:
    """Examples with other labels than they had."""

    examples: Any
    targets: NDArray[np.int64]
    """(examples,) outputs of the head."""
    fingerprint: str

    @property
    def ids(self) -> Sequence[str]:
        """(examples,) what names each for good."""
        return self.examples.ids

    @property
    def unique(self) -> int:
        """Examples."""
        return self.examples.unique

    @property
    def row_tokens(self) -> float:
        """One label a row."""
        return self.examples.row_tokens

    @property
    def chance(self) -> float:
        """Of a uniform guess over the classes."""
        return self.examples.chance

    def batch(self, step: int, rows: int, seed: int) -> Batch:
        """The next rows of the epoch."""
        return self._other(self.examples.batch(step, rows, seed))

    def at(self, numbers: NDArray[np.int64]) -> Batch:
        """Some of the examples as they are."""
        return self._other(self.examples.at(numbers))

    def _other(self, batch: Batch) -> Batch:
        import torch

        return replace(batch, targets=torch.from_numpy(self.targets[batch.numbers]))
