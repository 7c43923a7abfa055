"""The question `between`: which of several groups of the ladders trained here is better at a scale; see `decide.groups.between`.

Idea: unchanged checkpoints are runs, and what differs between ladders (schedule, peak learning rate, bits of training) names the groups.
When to use it: a study of two or more ladders of several sizes or budgets. For tables of runs, see `pliant decide between --help`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from pliant.errors import PliantError
from pliant.numbers import Rate
from pliant.study.question import Question, Row

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pliant.decide.groups.answer import GroupDecision
    from pliant.ledger.ledger import Ledger

UNCHANGED = "select * from records where status = 'ok' and change_kind = 'none' and value is not null and params > 0 and tokens > 0"


class BetterGroup(Question):
    """Which group of ladders is better at a scale of compute."""

    kind = "between"
    by: Literal["schedule", "peak_lr", "final_lr", "phase", "training_bits", "study"] = Field(description="The fact that names the groups")
    compute: Rate = Field(description="FLOPs of the run that is asked about: each group's best run there")
    measure: str | None = Field(None, description="The name of the one measure to answer by; by default every measure gives its answer")

    def answer(self, ledger: Ledger) -> list[GroupDecision]:
        """One decision for each measure. Raises PliantError where groups have no scale in common."""
        from pliant.decide.groups.between import decide

        runs = ledger.sql(f"{UNCHANGED} and {self.by} is not null")
        known = sorted(set(zip(runs["measure"].to_pylist(), runs["better"].to_pylist(), strict=True)))
        asked = [(name, better) for name, better in known if self.measure in (None, name)]
        if not asked:
            raise PliantError(f"{ledger.folder}: no unchanged checkpoints of known size, tokens and {self.by} were measured to choose from")
        answers: list[GroupDecision] = []
        for name, better in asked:
            columns = {"N": "params", "D": "tokens", "loss": "1 - value" if better == "higher" else "value"}
            quoted = name.replace("'", "''")
            answers.append(decide(runs, self.by, {"compute": self.compute}, columns, f"measure = '{quoted}'"))
        return answers

    def tables(self, answers: Sequence[GroupDecision]) -> dict[str, list[Row]]:
        """One row a measure."""
        return {
            "": [
                {"question": found.question, "answer": found.answer, "sure": f"{found.probability:.0%}", "in words": found.sentence()}
                for found in answers
            ]
        }
