"""Questions: one file each. A new one is a file, its test, and a name here; see `pliant.study.question` for what it writes.

What a question computes is imported when it is answered, so that reading a study or listing commands takes no time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.decide.questions.arms import ArmsAgainstOne
from pliant.decide.questions.between import BetterGroup
from pliant.decide.questions.bits import BitsAlongLadder
from pliant.decide.questions.checkpoint import BestCheckpoint
from pliant.decide.questions.method import BestMethod
from pliant.errors import PliantError
from pliant.study.question import QUESTIONS, AnyDecision, Question
from pliant.study.runs import records_of

if TYPE_CHECKING:
    from pliant.ledger.ledger import Ledger
    from pliant.study.runs import Runs

QUESTIONS.add(BestCheckpoint, BetterGroup, BitsAlongLadder, ArmsAgainstOne, BestMethod)

__all__ = ["QUESTIONS", "ArmsAgainstOne", "BestCheckpoint", "BestMethod", "BetterGroup", "BitsAlongLadder", "Question", "ask"]


def ask(question: Any, results: Runs | Ledger | str | Path) -> Sequence[AnyDecision]:
    """The answers to one question, a spec or in any form that a study file may use, from a study's runs or a ledger.

    Raises PliantError for a question that there is not, and where the results hold nothing to answer it from.
    """
    asked = QUESTIONS.parse(question, "question")
    ledger = records_of(results)
    answers = asked.answer(ledger)
    if not answers:
        raise PliantError(f"{ledger.folder}: nothing was found to answer {asked.kind!r} from")
    return answers
