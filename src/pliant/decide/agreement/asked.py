"""What heads answer, asked of models that lie in folders, or of heads that are trained here on one frozen trunk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.decide.agreement.answers import HeadAnswers
from pliant.decide.agreement.features import features_of
from pliant.decide.agreement.line import FEWEST
from pliant.decide.agreement.probes import Diversity, trained_heads
from pliant.errors import PliantError
from pliant.measures import Accuracy, Predict
from pliant.models import load
from pliant.models.heads import fitted
from pliant.objectives import Label

if TYPE_CHECKING:
    from pliant.models import Model

STEPS = (20, 640)
"""Of the shortest and the longest training of a head."""


def of_models(addresses: Sequence[str], labelled: Any, unlabelled: Any, device: str | None = None) -> HeadAnswers:
    """Of classifiers with the same classes, each loaded when its turn comes; `labelled` is asked for its held-out part.

    Raises PliantError for fewer than three, the same one twice, data that cannot be read, and what is no classifier.
    """
    if len(addresses) < FEWEST:
        raise PliantError(f"{len(addresses)} heads are too few: agreement on the line takes {FEWEST} or more")
    if twice := next((one for one in addresses if addresses.count(one) > 1), None):
        raise PliantError(f"{twice} is given twice; heads must be different ones")
    rows: list[tuple[Any, ...]] = []
    names: Sequence[str] = ()
    for address in addresses:
        model = load(address, device=device)
        if names and list(names) != list(model.labels):
            raise PliantError(f"{address} has the classes {', '.join(model.labels)[:60]}, the first head {', '.join(names)[:60]}")
        names = model.labels
        _, _, chances, labels = Accuracy.parse({"data": labelled}, "labelled").answered(model)
        told = Predict.parse({"data": unlabelled}, "unlabelled")(model)
        places = {name: number for number, name in enumerate(names)}
        answers = [places[answer] for answer in told.answers]
        rows.append((chances.argmax(1), chances.max(1), chances.argmax(1) == labels.argmax(1), answers, told.values))
    known, known_sure, right, shifted, shifted_sure = (np.array(column) for column in zip(*rows, strict=True))
    return HeadAnswers(list(addresses), known, known_sure, right.astype(np.float64), shifted, shifted_sure)


def of_trunk(
    model: Model,
    labelled: Any,
    unlabelled: Any,
    count: int = 30,
    diversity: Diversity = "head",
    rate: float = 0.1,
    steps: tuple[int, int] = STEPS,
    seed: int = 0,
) -> HeadAnswers:
    """Of `count` linear heads on the trunk's features, trained on the training part of `labelled`, and judged on its held-out part.

    Raises PliantError for data that cannot be read, or that the model does not read, and as `trained_heads` does.
    """
    learned, held = (Label.parse({"data": labelled, "part": part}, "labelled") for part in ("train", "heldout"))
    trunk = fitted(model, learned.needs(), seed)
    features, labels = features_of(trunk, learned.examples(trunk, None))
    heads = trained_heads(features, labels, len(trunk.labels), count, diversity, rate, steps, seed)
    inside, classes = features_of(trunk, held.examples(trunk, None))
    outside, _ = features_of(trunk, Predict.parse({"data": unlabelled}, "unlabelled").examples(trunk), labelled=False)
    known, shifted = heads.chances(inside), heads.chances(outside)
    right = (known.argmax(-1) == classes).astype(np.float64)
    names = [f"{diversity} {number}" for number in range(count)]
    return HeadAnswers(names, known.argmax(-1), known.max(-1), right, shifted.argmax(-1), shifted.max(-1))


def asked(heads: Sequence[str | Path], labelled: Any, unlabelled: Any, device: str | None = None, **trained: Any) -> HeadAnswers:
    """Of several classifiers, or where there is one model, of heads trained on its trunk as `of_trunk` is told."""
    if len(heads) == 1:
        return of_trunk(load(str(heads[0]), device=device), labelled, unlabelled, **trained)
    return of_models([str(head) for head in heads], labelled, unlabelled, device)
