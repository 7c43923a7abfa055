"""What fewer bits cost: by width and pretraining tokens, block by block, and against the fitted form."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from pliant.axes import axis_named
from pliant.changes import Change
from pliant.decide.curves.checkpoint import CheckpointDecision
from pliant.decide.curves.evidence import PointEvidence
from pliant.errors import PliantError
from pliant.laws.fitting.rounding_form import RoundingForm, fit_rounding
from pliant.report.bands import reach, told
from pliant.report.maps import bar_chart, heat_map, scatter_chart
from pliant.report.parts import Cell, Figure, Gallery, Section, TablePart
from pliant.report.results import LadderDecisions, Results

BLOCK = re.compile(r"\.(\d+)\.")
"""The number of a block in a tensor's name."""


class Sweep(NamedTuple):
    """Decisions about one way to round, at two or more widths, along one ladder; widest first."""

    title: str
    ladder: LadderDecisions
    measure: str
    members: Sequence[CheckpointDecision]

    @property
    def unit(self) -> str:
        """Of the measure."""
        return self.members[0].evidence.unit

    def points(self) -> Iterator[tuple[int, PointEvidence, float, CheckpointDecision]]:
        """Width, point of the curve, cost and decision of everything that was measured beside the unchanged checkpoint."""
        for found in self.members:
            for point in found.evidence.curve:
                if (cost := found.cost(point)) is not None:
                    yield found.change.weight_bits or 16, point, cost, found


def bits_by_tokens(results: Results) -> Section | None:
    """One map for each way to round that was measured at several widths along a ladder."""
    figures = [_map(sweep) for sweep in _sweeps(results)]
    if not figures:
        return None
    return Section(
        "Bits and tokens",
        "How much worse rounding made each checkpoint, by width and pretraining tokens; darker is more, on a logarithmic scale. The framed "
        "cell of each width holds the tokens that are best after rounding.",
        [Gallery(figures)],
    )


def _sweeps(results: Results) -> list[Sweep]:
    found: list[Sweep] = []
    for ladder in results.ladders:
        for measure in ladder.measures:
            for family, decided in ladder.families(measure).items():
                rounded = [
                    decision
                    for decision in decided
                    if decision.change.weight_bits is not None and _block(decision.change) is None and ladder.axis.name == "tokens"
                ]
                for before, members in _alike_before_rounding(rounded).items():
                    words = [", ".join(filter(None, (family, before))), *([measure] if len(ladder.measures) > 1 else [])]
                    name = f" ({ladder.name})" if len(results.ladders) > 1 else ""
                    found.append(Sweep(": ".join(words) + name, ladder, measure, members))
    return found


def _alike_before_rounding(rounded: Sequence[CheckpointDecision]) -> dict[str, list[CheckpointDecision]]:
    """What differs in nothing but the width, two widths or more, by what the other links of a chain are told apart by."""
    groups: dict[str, list[CheckpointDecision]] = {}
    for decision in rounded:
        others = [link.member(decision.tuned) for link in decision.change.singly() if link.weight_bits is None]
        groups.setdefault(", ".join(filter(None, others)), []).append(decision)
    return {before: members for before, members in groups.items() if len({one.change.weight_bits for one in members}) >= 2}


def _map(sweep: Sweep) -> Figure:
    axis = sweep.ladder.axis
    cells: list[dict[str, Any]] = []
    for bits, point, delta, decision in sweep.points():
        tip = {
            "bits": f"{bits:g}",
            "after": axis.at(point.position),
            "value": f"{point.value:z.3f}",
            "worse by": f"{delta:+z.4f} ± {reach(decision, point, 'delta_stderr'):.4f}",
        }
        cells.append(
            {
                "column": axis.number(point.position),
                "row": f"{bits:g}",
                "value": delta,
                "text": f"{delta:z.2g}".replace("-", "\u2212"),
                "best": point.position == decision.best,
                "tip": tip,
            }
        )
    positions = sorted({point.position for _, point, _, _ in sweep.points()}, key=axis.along)
    rows = [f"{decision.change.weight_bits}" for decision in sweep.members]
    verdicts = "; ".join(f"{decision.change.weight_bits} bits: {decision.sentence()}" for decision in sweep.members)
    spec = heat_map(cells, [axis.number(position) for position in positions], rows, axis.title, "bits")
    return Figure(sweep.title, f"How much worse after {sweep.title}, {sweep.unit}, by bits and {axis.title}. {verdicts}.", spec)


def predicted_and_measured(results: Results) -> Section | None:
    """For every such map, the form that the precision laws fit to it, point by point."""
    figures: list[Figure] = []
    rows: list[list[Cell]] = []
    for sweep in _sweeps(results):
        points = list(sweep.points())
        try:
            form = fit_rounding([p.position for _, p, _, _ in points], [bits for bits, *_ in points], [delta for _, _, delta, _ in points])
        except PliantError:
            continue
        figures.append(_agreement(sweep, form))
        rows += _fits(sweep, form)
    if not figures:
        return None
    table = TablePart(
        ["Rounding", "Width", "Power of tokens", "Decay length, bits", "R2 of log rise", "Points"], rows, frozenset(range(1, 6))
    )
    return Section(
        "Rounding, predicted and measured",
        "The rise as a power of tokens times an exponential of bits, log rise = c + g log D \u2212 P/p (arXiv 2411.04330), by least "
        "squares over the rises above zero. Points on the dashed line are as predicted, bars are 90% intervals; one that runs to "
        "the foot reaches further down. R2 of one width says how well the form follows its tokens, blank where the points are too few.",
        [Gallery(figures), table],
    )


def _agreement(sweep: Sweep, form: RoundingForm) -> Figure:
    points: list[dict[str, Any]] = []
    for bits, point, delta, found in sweep.points():
        half = reach(found, point, "delta_stderr")
        if delta > 0:
            predicted = float(form.rise(point.position, bits))
            tip = {
                "after": found.axis.at(point.position),
                "measured": told(delta, half),
                "predicted": f"{predicted:.4g}",
            }
            points.append({"x": predicted, "y": delta, "low": delta - half, "high": delta + half, "name": f"{bits:g} bits", "tip": tip})
    names = [f"{width:g} bits" for width in sorted(form.r2_by_bits, reverse=True)]
    words = f"Measured against predicted rise of {sweep.title}: power of tokens {form.power:z.2f}, decay length {form.length:.2f} bits"
    fit = f", R2 {_r2(form.r2)}" if _r2(form.r2) else ""
    axes = f"predicted rise, {sweep.unit}", f"measured rise, {sweep.unit}"
    return Figure(sweep.title, f"{words}{fit} over {form.points} points.", scatter_chart(points, names, *axes))


def _fits(sweep: Sweep, form: RoundingForm) -> list[list[Cell]]:
    widths = [float(bits) for bits, _, delta, _ in sweep.points() if delta > 0]
    first: list[Cell] = [sweep.title, "all", f"{form.power:z.2f}", f"{form.length:.2f}", _r2(form.r2), str(form.points)]
    others: list[list[Cell]] = [
        ["", f"{width:g}", "", "", _r2(r2), str(widths.count(width))] for width, r2 in sorted(form.r2_by_bits.items())
    ]
    return [first, *others]


def _r2(value: float) -> str:
    """Nothing where the points were too few to have one."""
    return "" if math.isnan(value) else f"{value:z.3f}".replace("-", "\u2212")


def by_block(results: Results) -> Section | None:
    """Rises of studies that rounded one block at a time: `tensors` a name pattern with the block's number."""
    groups: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for row in results.differences:
        change: Change = row["change"]
        number = _block(change)
        if number is not None and row["rise"] is not None:
            facts = [row[name] for name in ("study", "measure", "metric", "params", "schedule", "peak_lr", "training_bits")]
            groups.setdefault(json.dumps([BLOCK.sub(".#.", change.title()), *facts], sort_keys=True), []).append((number, row))
    figures = [_blocks(group) for group in groups.values() if len({number for number, _ in group}) >= 2]
    if not figures:
        return None
    return Section(
        "Block by block",
        "What rounding one block alone added to the measure, everything else unrounded, on the checkpoint with the most tokens (mean over "
        "seeds). Where one block costs far more than the others, give it more bits.",
        [Gallery(figures)],
    )


def _block(change: Change) -> int | None:
    """The block whose tensors alone a rounding touches; None where it is not exactly one."""
    if change.weight_bits is None:
        return None
    numbers = [set(BLOCK.findall(pattern)) for pattern in getattr(change, "tensors", "").split(",")]
    first = numbers[0]
    return int(next(iter(first))) if len(first) == 1 and all(found == first for found in numbers) else None


def _blocks(group: Sequence[tuple[int, dict[str, Any]]]) -> Figure:
    axis = axis_named(group[0][1]["axis"], group[0][1]["phase"])
    last = max((row["position"] or 0 for _, row in group), key=axis.along)
    cells: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for number, row in group:
        if (row["position"] or 0) == last:
            cells.setdefault((row["change"].weight_bits, number), []).append(row)
    bars = [_bar(bits, number, rows[0]) for (bits, number), rows in sorted(cells.items(), key=lambda cell: (-cell[0][0], cell[0][1]))]
    row = group[0][1]
    title = f"{BLOCK.sub('.#.', row['change'].title())}: {row['measure']}" + (f", after {axis.at(last)}" if last else "")
    names = list(dict.fromkeys(bar["name"] for bar in bars))
    rises = "; ".join(f"block {bar['x']} at {bar['name']} {bar['y']:+z.4f}" for bar in bars)
    return Figure(title, f"{title}, rise by block: {rises}.", bar_chart(bars, names, "block", f"added to {row['measure']}, {row['unit']}"))


def _bar(bits: int, number: int, row: dict[str, Any]) -> dict[str, Any]:
    rise, half = row["rise"], (row["high"] - row["low"]) / 2 if row["stderr"] is not None else 0.0
    tip = {"block": str(number), "bits": f"{bits:g}", "rise": f"{rise:+z.4f} ± {half:.4f}"}
    return {"x": number, "y": rise, "low": rise - half, "high": rise + half, "name": f"{bits:g} bits", "tip": tip}
