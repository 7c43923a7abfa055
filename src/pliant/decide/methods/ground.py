"""What all runs of a search share: the base, loaded and tokenised once, and what is read off it before and after.

The held-out samples of the target and of what is to be kept are cut in two by documents. On one half settings are chosen; the other half
judges what was chosen, so that the answer's numbers are not flattered by the choice. Whatever a test file holds is never read.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.data import Corpus
from pliant.errors import PliantError
from pliant.measures import MEASURES
from pliant.objectives import found_in
from pliant.spec import digest

if TYPE_CHECKING:
    from pliant.changes import Finetune
    from pliant.measures import Measure, Reading
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


def halves(model: Model, learned: Objective, keep: Corpus, samples: int) -> tuple[Half, Half]:
    """Both halves of at most `samples` held-out samples each of target and kept text, read off the base.

    Raises PliantError for data that cannot be read, whose loss no measure reads, or whose held-out part is one document.
    """
    target, kept = held_out(learned, "--data", samples), held_out(found_in(keep, "heldout"), "--keep", samples)
    shares = [_shares(model, measure, name) for measure, name in ((target, "--data"), (kept, "--keep"))]
    return _half(model, shares[0][0], shares[1][0]), _half(model, shares[0][1], shares[1][1])


def held_out(objective: Objective, option: str, samples: int) -> Measure:
    """The measure of the objective's own loss on the held-out part of its data."""
    if not objective.measured_by:
        raise PliantError(f"{option}: its loss ({objective.kind}) has no measure on held-out data; give text, or questions and answers")
    fields: dict[str, Any] = {"data": getattr(objective, "data"), "part": "heldout", "samples": 2 * samples}  # noqa: B009 (every one has it)
    return MEASURES.parse({objective.measured_by: fields}, option)


def _shares(model: Model, measure: Measure, option: str) -> Sequence[Read]:
    try:
        return measure.in_shares(model, 2)
    except PliantError as error:
        if "cannot be shared" in str(error):
            raise PliantError(f"{option}: its held-out part is a single sample, which cannot both choose and judge; add data") from None
        raise error.within(option) from None


def _half(model: Model, target: Read, keep: Read) -> Half:
    found = target(model)[0], keep(model)[0]
    for reading, option in zip(found, ("--data", "--keep"), strict=True):
        if not len(np.unique(np.asarray(reading.clusters, str))) > 1:
            raise PliantError(f"{option}: half of its held-out part is one document, which tells no error; add documents")
    return Half((target, keep), *found)
