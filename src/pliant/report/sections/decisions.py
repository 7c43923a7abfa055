"""The answers: one sentence for each ladder, and a row for each change."""

from __future__ import annotations

from collections import Counter

from pliant.decide.checkpoint import CheckpointDecision
from pliant.decide.series import token_count
from pliant.report.parts import Cell, Chip, Group, Paragraph, Part, Section, Spark, Table, Warnings
from pliant.report.results import Ladder, Results


def answer(ladder: Ladder) -> str:
    """What the ladder shows, in one sentence."""
    measure = ladder.measures[0]
    base = ladder.unchanged(measure)
    changed = [found for found in ladder.of(measure) if found.change["kind"] != "none" and found.change.get("lr") != "tuned"]
    worse = [found for found in changed if found.verdict == "degrades"]
    opening = _opening(base, measure) if base else ""
    if not changed:
        return opening + "."
    if not worse:
        improving = sum(found.verdict == "improves" for found in changed)
        return (
            f"{opening}; after {_of(improving, len(changed))} it still improves too, and none is shown to turn."
            if opening
            else "No change is shown to turn."
        )
    bests = sorted(found.best for found in worse)
    where = token_count(bests[0]) if bests[0] == bests[-1] else f"{token_count(bests[0])} to {token_count(bests[-1])}"
    joined = f"{opening}, but after" if opening else "After"
    return f"{joined} {_of(len(worse), len(changed))} an earlier checkpoint is better: the best lies at {where} tokens."


def _opening(base: CheckpointDecision, measure: str) -> str:
    last = token_count(base.evidence["curve"][-1]["tokens"])
    name = f"{measure} {base.evidence['metric']}" if base.evidence["metric"] != measure else measure
    if base.verdict == "improves":
        return f"Left unchanged, {name} improves up to {last} tokens"
    if base.verdict == "degrades":
        return f"Left unchanged, {name} is best at {token_count(base.best)} tokens already"
    return f"Left unchanged, {name} is level from {token_count(base.low)} to {token_count(base.high)} tokens"


def _of(count: int, total: int) -> str:
    return "the one change" if count == total == 1 else f"all {total} changes" if count == total else f"{count} of {total} changes"


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
        "Best is the bottom of the curve over tokens, with the checkpoints that cannot be ruled out. Rise is how much worse the last "
        "checkpoint is than the best earlier one (90% interval): it degrades only if the whole interval lies above zero. "
        "Sensitivity is the rank correlation of what the change costs with tokens.",
        parts,
    )


def groups(ladder: Ladder) -> list[tuple[str, list[tuple[str, CheckpointDecision]]]]:
    """The decisions as tables show them: by measure and family, each from weak to strong, with a name for each row."""
    found: list[tuple[str, list[tuple[str, CheckpointDecision]]]] = []
    for measure in ladder.measures:
        base = ladder.unchanged(measure)
        title = f"{measure[0].upper()}{measure[1:]} {base.evidence['metric'] if base else ''}".strip() if len(ladder.measures) > 1 else ""
        if base:
            found.append((title or "Unchanged", [("Unchanged", base)]))
        for family, members in ladder.families(measure).items():
            name = f"{family}: {measure}" if len(ladder.measures) > 1 else family
            found.append((name, [(named.member or named.family, decision) for named, decision in members]))
    return found


def _table(ladder: Ladder) -> Table:
    rows: list[list[Cell] | Group] = []
    for title, members in groups(ladder):
        rows += [Group(title), *(_row(name, found) for name, found in members)]
    unit = ladder.decisions[0].evidence["unit"]
    columns = ["Change", "Verdict", "Best, tokens", "Curve", f"Rise, {unit}", "Sensitivity"]
    return Table(columns, rows, numeric=frozenset({2, 4, 5}))


def _row(name: str, found: CheckpointDecision) -> list[Cell]:
    curve = found.evidence["curve"]
    best = next(place for place, point in enumerate(curve) if point["tokens"] == found.best)
    rank = found.evidence["spearman"]
    return [
        name,
        Chip(found.verdict),
        interval(found),
        Spark([point["value"] for point in curve], best),
        f"{signed(found.rise)} [{signed(found.rise_low)}, {signed(found.rise_high)}]",
        "" if rank is None else signed(rank, 2),
    ]


def interval(found: CheckpointDecision) -> str:
    """`8M [4M, 16M]`, or the number alone where nothing else is possible."""
    best, low, high = (token_count(tokens) for tokens in (found.best, found.low, found.high))
    return best if low == high else f"{best} [{low}, {high}]"


def signed(value: float, digits: int = 3) -> str:
    """With its sign, a true minus, and so many decimals."""
    return f"{value:+.{digits}f}".replace("-", "\u2212")


def common_caveats(ladder: Ladder) -> list[str]:
    """Each caveat once, with how many of the decisions it holds for."""
    counts = Counter(caveat for found in ladder.decisions for caveat in found.evidence["caveats"])
    total = len(ladder.decisions)
    return [
        f"{caveat[0].upper()}{caveat[1:]}{'' if count == total else f' ({count} of {total} decisions)'}."
        for caveat, count in counts.most_common()
    ]
