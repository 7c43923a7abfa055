"""The answers: one sentence for each ladder, and a row for each change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from pliant.axes import Axis
from pliant.decide.curves.checkpoint import CheckpointDecision
from pliant.report.parts import Cell, Chip, Group, Paragraph, Part, Section, Spark, TablePart, Warnings
from pliant.report.results import LadderDecisions, Results


def answer(ladder: LadderDecisions) -> str:
    """What the ladder shows, in one sentence."""
    measure = ladder.measures[0]
    base = ladder.unchanged(measure)
    changed = [found for found in ladder.of(measure) if not found.change.unchanged and not found.tuned]
    told = [_opening(base, measure)] if base else []
    if changed:
        told.append(_turns(base, changed))
    sentence = "; ".join(told)
    return f"{sentence[0].upper()}{sentence[1:]}."


def _opening(base: CheckpointDecision, measure: str) -> str:
    name = _titled(measure, base)
    if base.verdict == "improves":
        return f"left unchanged, {name} improves {'up' if base.axis.rising else 'down'} to {base.axis.at(base.evidence.curve[-1].position)}"
    if base.verdict == "degrades":
        return f"left unchanged, {name} is best {base.axis.reached(base.best)} already"
    if base.flat_from is not None:
        return f"left unchanged, {name} improves and is flat from {base.axis.at(base.flat_from)} on"
    return f"left unchanged, it is undetermined where {name} is best: {_span(base.axis, [base.low, base.high])}"


def _titled(measure: str, base: CheckpointDecision | None) -> str:
    """The measure's name with its metric's, unless that says it already."""
    return measure if base is None or base.evidence.metric in measure else f"{measure} {base.evidence.metric}"


def _turns(base: CheckpointDecision | None, changed: Sequence[CheckpointDecision]) -> str:
    """How many changed curves turn, and where: seen from the unchanged best where there is one, else from the last checkpoint."""
    worse = [found for found in changed if found.verdict == "degrades"]
    if not worse:
        improving = sum(found.verdict == "improves" for found in changed)
        if not improving:
            return "after no change is it shown to improve or to turn"
        too = " too" if base and base.verdict == "improves" else ""
        return f"after {_of(improving, len(changed))} it improves up to the last checkpoint{too}, and none is shown to turn"
    if base is None or base.verdict not in ("degrades", "improves"):
        axis = worse[0].axis
        where = f"{axis.word} {_span(axis, [found.best for found in worse])}"
        return f"after {_of(len(worse), len(changed))} an earlier checkpoint is better than the last: the best lies {where}"
    along = base.axis.along
    relations = {
        "earlier": [found.best for found in worse if along(found.best) < along(base.best)],
        "at the same checkpoint": [found.best for found in worse if found.best == base.best],
        "later": [found.best for found in worse if along(found.best) > along(base.best)],
    }
    told = [
        f"after {_of(len(bests), len(changed))} the best comes {relation}"
        + ("" if bests[0] == base.best else f", {base.axis.word} {_span(base.axis, bests)}")
        for relation, bests in relations.items()
        if bests
    ]
    return ", ".join(told)


def _span(axis: Axis, positions: Sequence[float]) -> str:
    low, high = min(positions), max(positions)
    return axis.at(high) if axis.number(low) == axis.number(high) else axis.listed((low, high), " to ")


def _of(count: int, total: int) -> str:
    if count == total:
        return "the one change" if total == 1 else f"all {total} changes"
    return f"{count} of {total} changes"


def decisions(results: Results) -> Section | None:
    """The table of verdicts, ladder by ladder, and what holds back all of them."""
    if not results.ladders:
        return Section("No decision", "", [Paragraph(results.undecided)]) if results.undecided else None
    parts: list[Part] = []
    for ladder in results.ladders:
        if len(results.ladders) > 1:
            parts.append(Paragraph(f"{ladder.name}. {answer(ladder)}"))
        parts.append(_table(ladder))
        if caveats := common_caveats(ladder):
            parts.append(Warnings(caveats))
    return Section(
        "Which checkpoint is best",
        "Best is the place of the best value, with the checkpoints that cannot be ruled out. Worse by is what the last "
        "checkpoint has lost against the best earlier one, in the unit of its measure (90% interval): it degrades only if the whole "
        "interval lies above zero. "
        "Sensitivity is the rank correlation of what the change costs with how far along the checkpoint is.",
        parts,
    )


def answers(results: Results) -> Section | None:
    """What else the studies asked, question by question."""
    parts: list[Part] = []
    for found in results.answers:
        parts.append(Paragraph(str(found) if found.undecided else f"{found.title}."))
        for title, rows in found.tables.items():
            parts += [Paragraph(title)] if title else []
            parts.append(TablePart(list(rows[0]), [list(row.values()) for row in rows]))
    lead = "The questions of the studies, each answered by the same call as `pliant decide`."
    return Section("Answers", lead, parts) if parts else None


def groups(ladder: LadderDecisions) -> list[tuple[str, list[tuple[str, CheckpointDecision]]]]:
    """The decisions as tables show them: by measure and family, each from weak to strong, with a name for each row."""
    found: list[tuple[str, list[tuple[str, CheckpointDecision]]]] = []
    for measure in ladder.measures:
        base = ladder.unchanged(measure)
        title = f"{measure[0].upper()}{_titled(measure, base)[1:]}" if len(ladder.measures) > 1 else ""
        if base:
            found.append((title or "Unchanged", [("Unchanged", base)]))
        for family, members in ladder.families(measure).items():
            name = f"{family}: {measure}" if len(ladder.measures) > 1 else family
            found.append((name, [(decision.member, decision) for decision in members]))
    return found


def _table(ladder: LadderDecisions) -> TablePart:
    rows: list[list[Cell] | Group] = []
    for title, members in groups(ladder):
        rows += [Group(title), *(_row(name, found) for name, found in members)]
    columns = ["Change", "Verdict", f"Best, {ladder.axis.unit}", "Curve", _rise_column(ladder), "Sensitivity"]
    return TablePart(columns, rows, numeric=frozenset({2, 4, 5}))


def _rise_column(ladder: LadderDecisions) -> str:
    """With the unit where all measures share one."""
    units = {found.evidence.unit for found in ladder.decisions}
    return f"Worse by, {units.pop()}" if len(units) == 1 else "Worse by"


def _row(name: str, found: CheckpointDecision) -> list[Cell]:
    curve = found.evidence.curve
    best = next(place for place, point in enumerate(curve) if point.position == found.best)
    rank = found.evidence.spearman
    return [
        name,
        Chip(found.verdict),
        interval(found),
        Spark([point.value for point in curve], best),
        f"{signed(found.rise)} [{signed(found.rise_low)}, {signed(found.rise_high)}]",
        "" if rank is None else signed(rank, 2),
    ]


def interval(found: CheckpointDecision) -> str:
    """`8M [4M, 16M]`, or the number alone where nothing else is possible."""
    best, low, high = (found.axis.number(position) for position in (found.best, found.low, found.high))
    return best if low == high else f"{best} [{low}, {high}]"


def signed(value: float, digits: int = 3) -> str:
    """With its sign, a true minus, and so many decimals."""
    return f"{value:+z.{digits}f}".replace("-", "\u2212")


def common_caveats(ladder: LadderDecisions) -> list[str]:
    """Each caveat once, with how many of the decisions it holds for."""
    counts = Counter(caveat for found in ladder.decisions for caveat in found.evidence.caveats)
    total = len(ladder.decisions)
    return [
        f"{caveat[0].upper()}{caveat[1:]}{'' if count == total else f' ({count} of {total} decisions)'}."
        for caveat, count in counts.most_common()
    ]
