"""EL2N: how far a network's answer to an example is from its label, a few epochs into training.

Idea: the length of the error vector, || softmax(logits) - onehot(label) ||: 0 for a sure right answer, sqrt 2 for a sure wrong one. The
mean over several networks (other initial weights, other data order), trained briefly, ranks examples by how hard they are; the easy half
can be left out of the real training at equal steps.
When to use it: pruning images and other labelled examples; finding wrong labels, which have the highest scores of all.
Cost: training ten networks for a few epochs, and one forward pass each over the examples.
What goes wrong: of one network alone it is noisy; at the end of training all scores are small; below about a third of the data random
examples teach better than the hardest; with wrong labels the hardest are the wrong ones, so pass over some (`select: {skip: ...}`).
Of statistics of batch norm that are not warm yet it is wrong.
Source: arXiv 2107.07075; its accuracy at half the data replicated in arXiv 2303.14753.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from pliant.errors import PliantError
from pliant.models.modules import evaluating
from pliant.objectives.labelled import LabelledExamples
from pliant.progress import progress
from pliant.scores.score import Rows, Score, Scoring, check_readers

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.models import Model
    from pliant.objectives import Batch, Examples
    from pliant.statistics import Array


PART = 4096
"""Examples that are scored before they are written down."""


class El2n(Score):
    """Length of the error vector of each example, averaged over models."""

    reads = "label"
    batch: int = Field(256, ge=1, exclude=True, description="Examples that go through a network together; the scores are the same")

    def scoring(self, models: Sequence[Model], examples: Examples) -> Scoring:
        """One value per example, from 0 to the square root of 2.

        Raises PliantError for examples without labels, no model, models with other labels than the first, and values that are not numbers.
        """
        return labelled_scoring(self, models, examples, error_length, self.batch)


def error_length(model: Model, batch: Batch) -> Tensor:
    """(rows,) || softmax(logits) - onehot(label) ||."""
    import torch

    with torch.inference_mode():
        logits = model.network(**batch.inputs).logits.double()
        error = logits.softmax(-1)
        error[torch.arange(len(batch)), batch.targets] -= 1
        return error.norm(dim=-1)


def labelled_scoring(
    score: Score, models: Sequence[Model], examples: Examples, value: Callable[[Model, Batch], Tensor], rows: int
) -> Scoring:
    """What `value` says of every example (rows,), in evaluation mode, averaged over `models`. Raises as `El2n` does."""
    if not isinstance(examples, LabelledExamples):
        raise PliantError(f"{score.kind} scores examples with labels, of the objective label, not {type(examples).__name__}")
    if not models:
        raise PliantError(f"{score.kind} needs a model that was trained for a little while; better ten of them")
    check_readers(models)
    for model in models:
        if model.labels != models[0].labels:
            raise PliantError(
                f"{model.checkpoint.address} has other labels than {models[0].checkpoint.address}; score with models of one task"
            )
    ids = examples.ids
    starts = np.unique([*range(0, len(ids), PART), len(ids)])

    def read(numbers: range) -> Rows:
        total: Array = np.zeros(len(numbers))
        with progress(f"scoring {len(numbers)} examples", len(numbers) * len(models)) as advance:
            for model in models:
                with evaluating(model.network):
                    for start in range(0, len(numbers), rows):
                        some = np.array(numbers[start : start + rows])
                        total[start : start + rows] += value(model, examples.at(some).to(model.device)).cpu().numpy()
                        advance(len(some))
        return Rows(ids[numbers.start : numbers.stop], total / len(models), np.ones(len(numbers), np.int64))

    return Scoring(starts, np.diff(starts), read, "")
