"""Studies: checkpoints x changes x measures x seeds, planned as cells, run by workers, kept in a ledger."""

from pliant.ledger.ledger import Ledger
from pliant.ledger.record import Record
from pliant.study.planning import Plan, plan
from pliant.study.question import QUESTIONS, AnyDecision, Question
from pliant.study.running import run
from pliant.study.runs import Runs
from pliant.study.study import Study

__all__ = ["QUESTIONS", "AnyDecision", "Ledger", "Plan", "Question", "Record", "Runs", "Study", "plan", "run"]
