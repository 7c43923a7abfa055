"""Learning against forgetting, where a study asks which method to fine-tune with."""

from __future__ import annotations

from pliant.decide.methods.answer import MethodDecision
from pliant.decide.methods.words import lines
from pliant.report.frontier import frontier
from pliant.report.parts import Part, Section, Warnings
from pliant.report.results import Results


def learning_and_forgetting(results: Results) -> Section | None:
    """A figure for each checkpoint, and what to beware of."""
    found = [one for answered in results.answers for one in answered.answers if isinstance(one, MethodDecision)]
    parts: list[Part] = []
    for one in found:
        if figure := frontier(one):
            parts.append(figure)
        beware = [f"{one.model}: {line}" if one.model else line for line in lines(one)[1:]]
        parts += [Warnings(beware)] if beware else []
    lead = "Each line is a method's best setting along its runs, on average over seeds; bands are 90% intervals of what is forgotten."
    return Section("Learning and forgetting", lead, parts) if parts else None
