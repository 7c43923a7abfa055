"""The page of `pliant decide method -o`: the answer, learning against forgetting along every arm's runs, the arms, what was tried."""

from __future__ import annotations

from pathlib import Path

from pliant.decide.methods.answer import MethodDecision
from pliant.decide.methods.words import legend, lines, table
from pliant.files import write_atomic
from pliant.report.frontier import frontier
from pliant.report.page import document
from pliant.report.parts import Code, Folded, Part, Section, TablePart, Warnings


def write_page(found: MethodDecision, out: Path) -> None:
    """Raises PliantError for a file that cannot be written."""
    write_atomic(out, document(f"fine-tuning on {found.target}", [found.sentence()], sections(found)))


def sections(found: MethodDecision) -> list[Section]:
    """In reading order."""
    made: list[Section] = []
    if figure := frontier(found):
        lead = "Each line is an arm's best setting along its runs, on average over seeds; bands are 90% intervals of what is forgotten."
        made.append(Section("Learning and forgetting", lead, [figure]))
    headings, rows = table(found)
    known = [arm for arm in found.arms if arm.learned is not None]
    parts: list[Part] = [TablePart([*headings], rows, frozenset(range(3, len(headings))))] if rows else []
    beware = [line for line in lines(found) if not known or line != legend(found)]
    parts += [Warnings(beware)] if beware else []
    parts += [Code(found.command)] if found.command else []
    made.append(Section("Arm by arm", legend(found) if known else "", parts))
    tried = [TablePart(["arm", "lr", "methods", "steps", "target loss", "forgotten"], _tried(found), frozenset({1, 3, 4, 5}))]
    told = f"{found.trained:,} optimizer steps in all; settings were chosen on other held-out samples than those above."
    made.append(Section("What was tried", told, [Folded("Every setting, as far as it was trained", tried)]))
    return made


def _tried(found: MethodDecision) -> list[list[str]]:
    rows: list[list[str]] = []
    for arm in found.arms:
        for one in arm.tried:
            how = ", ".join(str(method) for method in one["methods"])
            ran = (
                ["", f"dropped: {one['dropped']}", ""]
                if "dropped" in one
                else [f"{one['steps']:,}", f"{one['loss']:.4f}", f"{one['forgotten']:.4f}"]
            )
            rows.append([arm.name, f"{one['lr']:g}", how, *ran])
    return rows
