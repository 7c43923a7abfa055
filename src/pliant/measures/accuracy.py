"""Accuracy of a classifier, and how well its probabilities are worth their name: one pass, several readings.

Idea: `accuracy` is the share of examples whose likeliest class is the right one; `nll` the negative log-likelihood of the label, `brier`
the squared distance of the probabilities from it. `calibration_error` is the expected calibration error: examples are put into `bins` by
the probability of the likeliest class, and it is the mean over examples of | share right - mean probability | of their bin. Beside these
stands the accuracy within each class.
When to use it: any classifier of text or images; before and after a change, and against it on other data. A dual encoder (CLIP) is asked
with prompts, `templates` with the names of the classes in them.
Cost: one forward pass over the examples.
What goes wrong: accuracy moves in steps of one example. The calibration error is never negative, so few examples in many bins make it too
large. Its values are (probability - right), with the sign that their bin has as a whole, so that their mean is the calibration error and
pairs can be compared; the interval takes those signs as given, and so does not know of that excess. Soft labels count as right where
the likeliest class is.
Source: arXiv 1706.04599 (15 bins of equal width); Brier, Monthly Weather Review 78 (1950).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pliant.data import Part
from pliant.data.images import Images
from pliant.errors import PliantError, within
from pliant.measures.measure import Measure, Reading, check_loaded
from pliant.measures.predictions import Predictions
from pliant.models.modules import evaluating
from pliant.models.zero_shot import TEMPLATES, class_embeddings, zero_shot_logits
from pliant.numbers import Count
from pliant.objectives import Label
from pliant.objectives.label import TYPICAL_LENGTH
from pliant.objectives.labelled import LabelledExamples, LabelledImages
from pliant.objectives.labelled_data import AnyLabelled
from pliant.progress import progress

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.models import Model
    from pliant.objectives import Batch
    from pliant.statistics import Array

Answer = Callable[["Batch"], "Tensor"]

TYPICAL_EXAMPLES = 1000


class Accuracy(Measure):
    """Accuracy, likelihood and calibration of a classifier."""

    data: AnyLabelled = Field(description="Texts or images with labels: a table, a folder of class folders, an archive, or its source")
    part: Part = Field("heldout", description="Which part of it: heldout, train or all")
    samples: Count | None = Field(None, ge=1, description="How many examples, from the first; null for all")
    bins: int = Field(15, ge=1, le=1000, description="Bins of equal width for the calibration error")
    templates: tuple[str, ...] = Field(
        TEMPLATES, description="Of a dual encoder such as CLIP: the texts that stand for a class, {} being its name"
    )
    per_class: bool = Field(True, description="Also the accuracy within each class")
    batch: int = Field(64, ge=1, exclude=True, description="Examples that go through the network together; the result is the same")

    def readings(self, model: Model) -> Sequence[Reading]:
        """Accuracy, nll, Brier score, calibration error, then the accuracy within each class that comes.

        Raises PliantError for a model that is no classifier, labels unknown to its head, data that cannot be read, and answers that are
        no numbers.
        """
        examples, names, chances, labels = self.answered(model)
        return self._told(names, list(examples.ids[: len(chances)]), examples.fingerprint, chances, labels)

    def predictions(self, model: Model) -> Predictions:
        """The likeliest class of each example. Raises PliantError as `readings` does."""
        examples, names, chances, _ = self.answered(model)
        return Predictions(list(examples.ids[: len(chances)]), chances.argmax(1), tuple(names), examples.fingerprint)

    def answered(self, model: Model) -> tuple[LabelledExamples, Sequence[str], Array, Array]:
        """The examples, the classes, and of each example that is asked the probabilities given and those of the label."""
        check_loaded(model)
        examples, names, answer = self._asked(model)
        count = min(len(examples.ids), self.samples or len(examples.ids))
        with within(f"{model.checkpoint.address} on {self.data.source}"):
            return examples, names, *class_chances(model, examples, answer, len(names), count, self.batch)

    def _asked(self, model: Model) -> tuple[LabelledExamples, Sequence[str], Answer]:
        """The examples, the classes in the order of the answers, and what gives logits (rows, classes) for a batch."""
        if model.labels:
            return (
                Label(data=self.data, part=self.part).examples(model, None),
                model.labels,
                lambda batch: model.network(**batch.inputs).logits,
            )
        if not (model.task.text and model.task.images and isinstance(self.data, Images)):
            raise PliantError(
                f"{model.checkpoint.address} is {model.task.called}; accuracy is read off a classifier, such as one fine-tuned on labels"
            )
        pictures = self.data.pictures(self.part, model.images.size)
        embeddings = class_embeddings(model, pictures.classes, self.templates)
        examples = LabelledImages(pictures, model.images, tuple(range(len(pictures.classes))))
        return examples, pictures.classes, lambda batch: zero_shot_logits(model, batch.inputs["pixel_values"], embeddings)

    def _told(self, names: Sequence[str], ids: list[str], data: str, chances: Array, labels: Array) -> list[Reading]:
        right = (chances.argmax(1) == labels.argmax(1)).astype(float)
        ones = np.ones(len(ids))
        found = [
            Reading("accuracy", "fraction right", ids, right, ones, data, better="higher"),
            Reading("nll", "nats", ids, -(labels * np.log(np.maximum(chances, np.finfo(float).tiny))).sum(1), ones, data),
            Reading("brier", "squared probability", ids, np.square(chances - labels).sum(1), ones, data),
            Reading("calibration_error", "probability", ids, calibration_values(chances.max(1), right, self.bins), ones, data),
        ]
        for number in np.unique(labels.argmax(1)) if self.per_class else ():
            inside = np.flatnonzero(labels.argmax(1) == number)
            own = [ids[place] for place in inside]
            found.append(Reading(f"accuracy of {names[number]}", "fraction right", own, right[inside], ones[inside], data, better="higher"))
        return found

    def tokens(self) -> float:
        """Of texts, examples times a usual length."""
        return 0.0 if isinstance(self.data, Images) else float((self.samples or TYPICAL_EXAMPLES) * TYPICAL_LENGTH)

    def pictures(self) -> float:
        """Of images, how many."""
        return float(self.samples or TYPICAL_EXAMPLES) if isinstance(self.data, Images) else 0.0


def calibration_values(sure: Array, right: Array, bins: int) -> Array:
    """(examples,) whose mean is the expected calibration error: probability - right, with the sign of its bin's sum."""
    places: NDArray[np.int64] = np.minimum((sure * bins).astype(np.int64), bins - 1)
    signs = np.sign(np.bincount(places, weights=sure - right, minlength=bins))
    return signs[places] * (sure - right)


def class_chances(model: Model, examples: LabelledExamples, answer: Answer, width: int, count: int, rows: int) -> tuple[Array, Array]:
    """Probabilities (examples, classes) that the model gives, and those of the labels: 0 and 1, where they are not soft."""
    import torch

    chances, labels = np.zeros((count, width)), np.zeros((count, width))
    lengths: NDArray[np.int64] = getattr(examples, "lengths", np.zeros(count, np.int64))[:count]
    order = np.argsort(-lengths, kind="stable")  # texts of one length together, so that little is padded
    with torch.inference_mode(), evaluating(model.network), progress("accuracy", count) as advance:
        for start in range(0, count, rows):
            numbers = order[start : start + rows]
            batch = examples.at(numbers).to(model.device)
            logits = answer(batch)
            if not torch.isfinite(logits).all():
                raise PliantError("the model's answers are no finite numbers; its weights are damaged")
            chances[numbers] = logits.double().softmax(-1).cpu().numpy()
            targets = batch.targets.cpu().numpy()
            labels[numbers] = targets if targets.ndim == 2 else np.eye(width)[targets]
            advance(len(numbers))
    return chances, labels
