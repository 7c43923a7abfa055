"""What every score is: a number for each training example, worked out from what one model or several make of it.

A score is a frozen description (its fields are its YAML form). It reads the examples of an objective (`pliant.objectives`) and
answers with `Scores`, a plain table from ids to values, which is saved beside the data and from which data is selected later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.measures.measure import check_loaded
from pliant.spec import Spec

if TYPE_CHECKING:
    from pliant.measures.measure import Better
    from pliant.models import Model
    from pliant.objectives import Examples
    from pliant.scores.scores import Scores
    from pliant.statistics import Array


@dataclass(frozen=True)
class Rows:
    """The scores of some examples; those that have none are left out."""

    ids: Sequence[str]
    values: Array
    tokens: NDArray[np.int64]
    sources: Sequence[str] | None = None
    """What each belongs to, where that is not one thing for all: a relation, say."""


@dataclass(frozen=True)
class Scoring:
    """How a score reads examples in parts, each of which stands for itself, so that it can be stopped between any two."""

    starts: NDArray[np.int64]
    """(parts + 1,) the number of each part's first example, and how many examples there are."""
    work: NDArray[np.int64]
    """(parts,) what each costs, in tokens."""
    read: Callable[[range], Rows]
    """Scores the examples with these numbers."""
    source: str
    """Where they are from."""
    unscored: Sequence[str] = ()
    """The ids of examples that are known to have no score before they are read."""


def check_readers(models: Sequence[Model]) -> None:
    """Raises PliantError for what is no loaded model, and for a tokenizer other than the first model's, which made the tokens."""
    for model in models:
        check_loaded(model)
        if model.words is not None and models[0].words is not None and model.words.fingerprint != models[0].words.fingerprint:
            raise PliantError(
                f"{model.checkpoint.address} has another tokenizer than {models[0].checkpoint.address}; score with each by itself"
            )


class Score(Spec):
    """Base of all scores. Abstract: a subclass writes `scoring`."""

    unit: ClassVar[str] = "1"
    """Of a value."""
    better: ClassVar[Better] = "lower"
    """Which values speak for an example, to the models that were asked."""
    reads: ClassVar[str] = "next_token"
    """The objective whose examples it scores, by its kind."""

    @classmethod
    def source(cls, form: Any, where: str) -> Any:
        """What says where examples are and reads them for a model (`examples`), from its fields: the objective of the kind `reads`.

        Raises PliantError that begins with `where`.
        """
        from pliant.objectives import OBJECTIVES

        return OBJECTIVES.parse({cls.reads: form}, where)

    def scoring(self, models: Sequence[Model], examples: Examples) -> Scoring:
        """How the score of every example that has one is read, as a mean over `models`, which are left as they were.

        Raises PliantError for examples of another kind than it reads, and for models that do not fit them; its `read` does for values
        that are not numbers.
        """
        raise NotImplementedError

    def __call__(self, models: Sequence[Model], examples: Examples) -> Scores:
        """All of it at once, in memory. Raises as `scoring` and its `read` do."""
        from pliant.scores.scores import scored

        found = self.scoring(models, examples)
        rows = found.read(range(int(found.starts[-1])))
        hashes = [model.weights() for model in models]
        return scored(self, hashes, examples.fingerprint, rows.ids, rows.values, rows.tokens, rows.sources or found.source)
