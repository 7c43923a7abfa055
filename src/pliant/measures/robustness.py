"""Robustness: what is left of a classifier's accuracy when an adversary with a stated budget alters the inputs.

Idea: `clean_accuracy` and `robust_accuracy` on the same examples, and `lost_to_attack`, the share that is right before and wrong after:
an example is robust when it is right as it is and stays right, so the two can be paired. With a target, `target_reached` is the share of
the other classes' examples that are taken for it, and `target_reached_clean` the same without an attack: the benign control. Then the
attack itself is checked on the first `checked` examples: after one step and after random signs of the same size, which must break nothing
that the attack leaves whole (`missed_by_attack`); after twice the steps and with the margin in place of the loss, which find hardly more
where the attack has converged (`found_beyond_attack`); and with a budget that allows any picture, which must leave next to nothing.
When to use it: before and after any change of a classifier of images or text, or of a dual encoder (CLIP, SigLIP) asked with prompts.
Cost: steps x restarts forward and backward passes over the examples; the checks about five times that over theirs.
What goes wrong: an attack that fails proves nothing: where a check fails, gradients are masked and the accuracy under attack is too high,
which is said in a line. A model trained against one norm or epsilon is not robust to another. No images are written.
Source: arXiv 1706.06083; the checks, arXiv 1802.00420 and 1902.06705.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pliant.attacks import AnyAttack, Attack, Checks, Costing
from pliant.data import Part
from pliant.data.images import Images
from pliant.errors import PliantError
from pliant.measures.masking import failed_checks
from pliant.measures.measure import Measure, Reading, check_loaded
from pliant.models.modules import evaluating
from pliant.models.zero_shot import TEMPLATES, class_embeddings, zero_shot_logits
from pliant.numbers import Count
from pliant.objectives import Label
from pliant.objectives.label import TYPICAL_LENGTH
from pliant.objectives.labelled import LabelledExamples, LabelledImages
from pliant.objectives.labelled_data import AnyLabelled
from pliant.objectives.objective import Losses
from pliant.progress import progress, remark

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pliant.models import Model
    from pliant.objectives import Batch

TYPICAL_EXAMPLES = 1000


class Robustness(Measure):
    """Accuracy under attack, and whether the attack can be believed."""

    trust: ClassVar[tuple[str, ...]] = ("robust_accuracy", "clean_accuracy")
    needs: ClassVar[str] = "images with labels, and a classifier of their classes or a dual encoder (CLIP)"

    data: AnyLabelled = Field(description="Texts or images with labels: a table, a folder of class folders, an archive, or its source")
    part: Part = Field("heldout", description="Which part of it: heldout, train or all")
    samples: Count | None = Field(None, ge=1, description="How many examples, from the first; null for all")
    attack: AnyAttack = Field(description="The adversary and its budget: `pgd: {epsilon: 0.03, steps: 20}`")
    checked: Count = Field(128, ge=0, description="How many of the examples the checks of the attack look at; 0 leaves them out")
    templates: tuple[str, ...] = Field(
        TEMPLATES, description="Of a dual encoder such as CLIP: the texts that stand for a class, {} being its name"
    )
    seed: int = Field(0, ge=0, description="Of the attack's draws")
    batch: int = Field(64, ge=1, exclude=True, description="Examples that go through the network together; the result is the same")

    @classmethod
    def on(cls, source: str) -> Self | None:
        """Of a source of images: against PGD with 8 of 255 levels."""
        return cls.model_validate({"data": source, "attack": {"pgd": {"epsilon": 8 / 255}}}) if Images.recognised(source) else None

    def readings(self, model: Model) -> Sequence[Reading]:
        """Clean and robust accuracy, what was lost, what reached the target, then the checks.

        Raises PliantError for a model that tells no classes apart, labels unknown to its head, data that cannot be read, inputs that the
        attack cannot alter, a budget that they do not know, and answers that are no numbers.
        """
        check_loaded(model)
        examples, names, objective = self._asked(model)
        count = min(len(examples.ids), self.samples or len(examples.ids))
        if self.attack.aim() and self.attack.aim() not in names:
            raise PliantError(f"target {self.attack.aim()[:40]!r} is no class of {self.data.source}, which has {', '.join(names[:6])}")
        checks = self.attack.checks() if self.checked else Checks()
        tried = _tried(self.attack, checks)
        found = Withstood(list(examples.ids[:count]), examples.fingerprint)
        try:
            with progress("robustness", count) as advance:
                for start in range(0, count, self.batch):
                    numbers = np.arange(start, min(count, start + self.batch))
                    inside = numbers < self.checked
                    given = examples.at(numbers).to(model.device)
                    found.add("", *_answers(model, objective, given))
                    for name, attack in tried.items():
                        part = given if not name.startswith("check ") else given[: int(inside.sum())]
                        if len(part):
                            found.add(name, *_answers(model, objective, attack.perturb(model, part, objective, self.seed)))
                    advance(len(numbers))
        except PliantError as error:
            raise error.within(f"{model.checkpoint.address} on {self.data.source}") from None
        told = found.readings(names, self.attack.aim(), checks)
        for line in failed_checks(told):
            remark(f"robustness: {line}")
        return told

    def _asked(self, model: Model) -> tuple[LabelledExamples, Sequence[str], Costing]:
        """The examples, the classes in the order of the answers, and what a row costs."""
        if model.labels:
            objective = Label(data=self.data, part=self.part)
            return objective.examples(model, None), model.labels, objective
        if not (model.task.text and model.task.images and isinstance(self.data, Images) and hasattr(model.network, "get_text_features")):
            raise PliantError(
                f"{model.checkpoint.address} is {model.task.called}; robustness is read off a classifier, or a dual encoder and images"
            )
        pictures = self.data.pictures(self.part, model.images.size)
        examples = LabelledImages(pictures, model.images, tuple(range(len(pictures.classes))))
        embeddings = class_embeddings(model, pictures.classes, self.templates).clone()  # outside inference mode, gradients may pass
        return examples, pictures.classes, Prompted(model, tuple(pictures.classes), embeddings)

    def tokens(self) -> float:
        """Of texts, all passes together."""
        return 0.0 if isinstance(self.data, Images) else self._passes() * TYPICAL_LENGTH

    def pictures(self) -> float:
        """Of images, all passes together."""
        return self._passes() if isinstance(self.data, Images) else 0.0

    def _passes(self) -> float:
        """Examples times forward passes; a backward pass counts as two."""
        each = 3.0 * float(getattr(self.attack, "steps", 1)) * float(getattr(self.attack, "restarts", 1))
        return float((self.samples or TYPICAL_EXAMPLES) * (1 + each) + self.checked * 5 * each)


@dataclass(frozen=True)
class Prompted:
    """What a dual encoder's answers cost, its classes being texts."""

    model: Model
    classes: tuple[str, ...]
    embeddings: Tensor

    def losses(self, network: nn.Module, batch: Batch) -> Losses:
        """Cross-entropy over the classes."""
        from torch.nn.functional import cross_entropy

        logits = zero_shot_logits(self.model, batch.inputs["pixel_values"], self.embeddings)
        return Losses(cross_entropy(logits, batch.targets, reduction="none"), batch.weights, SimpleNamespace(logits=logits))


class Withstood:
    """What was right, attack by attack, and what was answered."""

    def __init__(self, ids: list[str], data: str) -> None:
        self.ids, self.data = ids, data
        self._right: dict[str, list[NDArray[np.bool_]]] = {}
        self._answers: dict[str, list[NDArray[np.int64]]] = {}
        self._labels: list[NDArray[np.int64]] = []

    def add(self, name: str, answers: NDArray[np.int64], labels: NDArray[np.int64]) -> None:
        """What was answered after the attack called so; "" for none."""
        self._right.setdefault(name, []).append(answers == labels)
        self._answers.setdefault(name, []).append(answers)
        if not name:
            self._labels.append(labels)

    def right(self, name: str) -> NDArray[np.bool_]:
        """Right as it is, and after the attack."""
        after = np.concatenate(self._right[name])
        return after & np.concatenate(self._right[""])[: len(after)]

    def withstood(self, name: str, wanted: int | None) -> NDArray[np.bool_]:
        """What the attack did not get where it wanted: right still, or with a target not taken for it."""
        if wanted is None:
            return self.right(name)
        answers = np.concatenate(self._answers[name])
        return (answers != wanted) | (np.concatenate(self._labels)[: len(answers)] == wanted)

    def readings(self, names: Sequence[str], aim: str, checks: Checks) -> list[Reading]:
        """All that was found, as readings."""
        clean, robust = self.right(""), self.right("attack")
        wanted = list(names).index(aim) if aim else None
        told = [
            self._reading("clean_accuracy", clean, "higher"),
            self._reading("robust_accuracy", robust, "higher"),
            self._reading("lost_to_attack", clean & ~robust),
        ]
        if wanted is not None:
            others = np.flatnonzero(np.concatenate(self._labels) != wanted)
            for metric, name in (("target_reached", "attack"), ("target_reached_clean", "")):
                told.append(self._reading(metric, np.concatenate(self._answers[name])[others] == wanted, places=others))
        names_of = (*checks.weaker, *checks.stronger)
        told += [self._reading(f"accuracy after {name}", self.right(f"check {name}"), "higher") for name in names_of]
        for metric, part in (("missed_by_attack", checks.weaker), ("found_beyond_attack", checks.stronger)):
            if part:
                whole = np.logical_and.reduce([self.withstood(f"check {name}", wanted) for name in part])
                told.append(self._reading(metric, self.withstood("attack", wanted)[: len(whole)] & ~whole))
        if checks.unbounded is not None:
            told.append(self._reading("accuracy without a bound", self.right("check unbounded"), "higher"))
        return told

    def _reading(self, metric: str, values: NDArray[np.bool_], better: Any = "lower", places: NDArray[np.int64] | None = None) -> Reading:
        ids = self.ids[: len(values)] if places is None else [self.ids[place] for place in places]
        return Reading(metric, "fraction", ids, values.astype(np.float64), np.ones(len(values)), self.data, better=better)


def _tried(attack: Attack, checks: Checks) -> Mapping[str, Attack]:
    """Every attack by the name under which it is noted."""
    found = {"attack": attack, **{f"check {name}": one for name, one in {**checks.weaker, **checks.stronger}.items()}}
    return found if checks.unbounded is None else {**found, "check unbounded": checks.unbounded}


def _answers(model: Model, objective: Costing, batch: Batch) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(rows,) the likeliest class of each, and its label. Raises PliantError for answers that are no numbers."""
    import torch

    with torch.inference_mode(), evaluating(model.network):
        logits = objective.losses(model.network, batch).output.logits
    if not torch.isfinite(logits).all():
        raise PliantError("the model's answers are no finite numbers; its weights are damaged")
    targets = batch.targets.argmax(1) if batch.targets.ndim == 2 else batch.targets
    return logits.argmax(-1).cpu().numpy(), targets.cpu().numpy()
