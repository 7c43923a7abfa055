"""What can be asked of the results of a study, and what an answer must be able to say of itself.

Idea: a question is a spec like a change or a measure: its typed fields are its form in a study file, its options of
`pliant decide` and its entry in the reference. It is answered from a ledger alone, so that the end of `run`, a report,
`pliant decide` and Python give the same answer.
The kinds stand in `pliant.decide.questions`: their answers are decisions, a floor above studies. A study knows what all of them
have in common, and finds each through the catalog, as it finds those of other packages.
"""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from pliant.spec import Catalog, Spec

if TYPE_CHECKING:
    from pliant.ledger.ledger import Ledger
    from pliant.models import Checkpoint

Row = dict[str, str]
"""A row of a table: its cells by the names of the columns."""


class AnyDecision(Protocol):
    """What every decision, the answer to a question, says of itself to whoever shows it."""

    @property
    def name(self) -> str:
        """What it is about, among the other answers to its question."""
        ...

    @property
    def verdict(self) -> str:
        """In one word."""
        ...

    def sentence(self) -> str:
        """The answer in one sentence."""
        ...

    def json(self) -> dict[str, Any]:
        """Plain values; what scripts read."""
        ...


class Question(Spec):
    """Base of all questions. Abstract: a subclass writes `answer`.

    The first line of its docstring is its title.
    """

    named: ClassVar[tuple[str, ...]] = ("measure",)
    """The fields, where it has them, that hold the name of one of the study's measures."""
    charted: ClassVar[bool] = False
    """Whether reports have sections of their own for its answers, of every study, asked for or not."""

    def title(self) -> str:
        """What people read above its answers."""
        return (inspect.getdoc(type(self)) or self.kind).splitlines()[0].rstrip(".")

    def form(self) -> Any:
        """As a study file would say it: the kind alone where every field has its default, else everything spelled out."""
        fields = type(self).model_fields
        usual = all(value == fields[name].get_default(call_default_factory=True) for name, value in self)
        return self.kind if usual else self.canonical()

    def obstacle(self, checkpoints: Sequence[Checkpoint], axis: str) -> str | None:
        """What will keep it from being answered about these checkpoints along this axis, in a line that says what to do.

        Asked before anything is measured. None: nothing that is known then.
        """
        return None

    def answer(self, ledger: Ledger) -> Sequence[AnyDecision]:
        """The answers, from every record that `ledger` shows. Raises PliantError where it holds nothing to answer from."""
        raise NotImplementedError

    def tables(self, answers: Sequence[Any]) -> dict[str, list[Row]]:
        """What `answer` gave, as people read it: tables by their titles, a single one without a title."""
        return {"": [{"about": found.name, "verdict": found.verdict, "answer": found.sentence()} for found in answers]}


QUESTIONS: Catalog[Question] = Catalog("question", home="pliant.decide.questions")
