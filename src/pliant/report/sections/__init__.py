"""The sections of a report, in reading order. One function each: results in, a section or nothing out.

A new section is a function and a name in `SECTIONS`.
"""

from __future__ import annotations

from collections.abc import Callable

from pliant.report.parts import Section
from pliant.report.results import Results
from pliant.report.sections.curves import after_the_change, sensitivity
from pliant.report.sections.decisions import answers, decisions
from pliant.report.sections.methods import learning_and_forgetting
from pliant.report.sections.precision import bits_by_tokens, by_block, predicted_and_measured
from pliant.report.sections.provenance import failed, made, records
from pliant.report.sections.schedule import schedule
from pliant.report.sections.task import task_and_generic
from pliant.report.sections.ties import may_be_best

SECTIONS: tuple[Callable[[Results], Section | None], ...] = (
    decisions,
    answers,
    learning_and_forgetting,
    may_be_best,
    after_the_change,
    sensitivity,
    bits_by_tokens,
    predicted_and_measured,
    by_block,
    task_and_generic,
    schedule,
    failed,
    records,
    made,
)

__all__ = ["SECTIONS"]
