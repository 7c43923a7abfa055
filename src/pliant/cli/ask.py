"""`pliant decide NAME --ledger DIR`: one command for each kind of question, whose fields are its options."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.main import get_group

from pliant.cli.change import JsonOption
from pliant.cli.decide_bits import bits_command
from pliant.cli.fields import catalog_app, spec_command
from pliant.cli.questions import show_answers
from pliant.study.question import QUESTIONS, Question


def answer_question(
    question: Question,
    *,
    ledger: Annotated[Path, typer.Option("--ledger", help="A ledger's folder", show_default=False)],
    as_json: JsonOption = False,
) -> None:
    """Answered from the records of a ledger, as at the end of a run that asks it."""
    show_answers(question, ledger, as_json)


def question_commands() -> dict[str, Any]:
    """The commands by the kinds' names."""
    examples = {kind: f"pliant decide {kind} --ledger runs/demo" for kind in QUESTIONS.specs()}
    made = catalog_app(QUESTIONS, answer_question, "question", "", examples)
    made.command("bits")(spec_command(bits_command))  # also of fits, and of one model
    return dict(get_group(made).commands)
