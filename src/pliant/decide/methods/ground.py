"""What all runs of a search share: the base, loaded and tokenised once, and what is read off it before and after.

The held-out samples of the target and of what is to be kept are cut in two by documents. On one half settings are chosen; the other half
judges what was chosen, so that the answer's numbers are not flattered by the choice. Whatever a test file holds is never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.decide.methods.own_loss import own_losses
from pliant.errors import PliantError
from pliant.measures import MEASURES
from pliant.models.heads import fitted, with_trunk
from pliant.spec import digest

if TYPE_CHECKING:
    from pliant.changes import Finetune
    from pliant.measures import Reading
    from pliant.measures.measure import Read
    from pliant.models import Model
    from pliant.objectives import Objective


@dataclass(frozen=True)
class Half:
    """Half of the held-out samples: how the target and the kept text are read, and what the base reads."""

    reads: tuple[Read, Read]
    target: Reading
    keep: Reading

    @property
    def identity(self) -> str:
        """Names the samples."""
        return digest(repr([(one.metric, one.data, list(one.samples), one.weights.tolist()) for one in (self.target, self.keep)]))

    def read(self, model: Model) -> tuple[Reading, Reading]:
        """Target and kept text. Raises PliantError for values that are not finite."""
        return self.reads[0](model)[0], self.reads[1](model)[0]


@dataclass(frozen=True)
class Ground:
    """The base, how it is fine-tuned but for learning rate and methods, both halves of what is read, and where runs are kept."""

    model: Model
    address: str
    """Where the base lies, as it was given."""
    weights: str
    """Names the base's numbers."""
    finetune: Finetune
    tuning: Half
    judging: Half
    folder: Path


def halves(model: Model, learned: Objective, keep: Objective, samples: int) -> tuple[Half, Half]:
    """Both halves of at most `samples` held-out samples each of what is learned and what is kept, read off the base.

    What is kept is read by the base's own head, whatever head training needs; what is learned, before training, by a fresh one.
    Raises PliantError for data that cannot be read, and whose held-out part is too little.
    """
    base = replace(model)  # training puts another network into `model` where another head is needed
    first = fitted(model, learned.needs())

    def learns(read: Read, asked: Model) -> Sequence[Reading]:
        return read(first if asked.network is base.network else asked)

    def keeps(read: Read, asked: Model) -> Sequence[Reading]:
        return read(with_trunk(base, asked))

    targets = [partial(learns, read) for read in _reads(learned, first, samples, "--data")]
    kept = [partial(keeps, read) for read in _reads(keep, base, samples, "--keep")]
    return _half(model, targets[0], kept[0]), _half(model, targets[1], kept[1])


def _reads(objective: Objective, model: Model, samples: int, option: str) -> Sequence[Read]:
    """What reads either half of the objective's own loss."""
    try:
        if not objective.measured_by:
            return own_losses(objective, model, samples)
        fields: dict[str, Any] = {"data": getattr(objective, "data"), "part": "heldout", "samples": 2 * samples}  # noqa: B009 (all have it)
        return MEASURES.parse({objective.measured_by: fields}).in_shares(model, 2)
    except PliantError as error:
        if "cannot be shared" in str(error):
            raise PliantError(f"{option}: its held-out part is a single sample, which cannot both choose and judge; add data") from None
        raise error.within(option) from None


def _half(model: Model, target: Read, keep: Read) -> Half:
    found: list[Reading] = []
    for read, option in ((target, "--data"), (keep, "--keep")):
        try:
            (reading, *_) = read(model)
        except PliantError as error:
            raise error.within(option) from None
        if not len(np.unique(np.asarray(reading.clusters, str))) > 1:
            raise PliantError(f"{option}: half of its held-out part is one document, which tells no error; add documents")
        found.append(reading)
    return Half((target, keep), *found)
