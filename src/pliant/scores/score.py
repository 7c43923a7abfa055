"""What every score is: a number for each training example, worked out from what one model or several make of it.

A score is a frozen description (its fields are its YAML form). It reads the examples of an objective (`pliant.objectives`) and
answers with `Scores`, a plain table from ids to values, which is saved beside the data and from which data is selected later.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from pliant.spec import Spec

if TYPE_CHECKING:
    from pliant.measures.measure import Better
    from pliant.models import Model
    from pliant.objectives import Examples
    from pliant.scores.scores import Scores


class Score(Spec):
    """Base of all scores. Abstract: a subclass writes `__call__`."""

    unit: ClassVar[str] = "1"
    """Of a value."""
    better: ClassVar[Better] = "lower"
    """Which values speak for an example, to the models that were asked."""
    reads: ClassVar[str] = "next_token"
    """The objective whose examples it scores, by its kind."""

    def __call__(self, models: Sequence[Model], examples: Examples) -> Scores:
        """The score of every example that has one, averaged over `models`, which are left as they were.

        Raises PliantError for examples of another kind than it reads, and for values that are not numbers.
        """
        raise NotImplementedError
