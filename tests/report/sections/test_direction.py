"""What is worse is worse, whichever way a metric runs: a ledger, and the same one upside down, get the same verdicts and pictures."""

import dataclasses
import json
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from pliant.decide.curves.checkpoint import CheckpointDecision
from pliant.ledger.ledger import Ledger
from pliant.ledger.record import Record
from pliant.report.parts import Figure, Gallery
from pliant.report.results import Results, gather
from pliant.report.sections.curves import sensitivity
from pliant.report.sections.precision import bits_by_tokens, predicted_and_measured
from pliant.report.sections.task import task_and_generic
from synthetic_ledger import synthetic_ledger

NAMES = {field.name for field in dataclasses.fields(Record)}


def upside_down(ledger: Ledger, folder: Any) -> Ledger:
    """Every value negated, and higher said to be better."""
    turned = Ledger(folder, create=True)
    rows = [row for path in ledger.shards() for row in pq.read_table(path).to_pylist()]
    records: list[Record] = []
    for row in rows:
        negated = {"value": -row["value"], "sample_values": [-value for value in row["sample_values"]], "better": "higher"}
        records.append(Record(**{name: value for name, value in row.items() if name in NAMES} | negated))
    turned.write(records)
    return turned


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Results, Results]:
    folder = tmp_path_factory.mktemp("ledgers")
    ledger = synthetic_ledger(folder / "lower", tokens=[1_000_000, 4_000_000, 16_000_000], samples=16)
    return gather(ledger), gather(upside_down(ledger, folder / "higher"))


def decisions(results: Results) -> list[CheckpointDecision]:
    return [found for ladder in results.ladders for found in ladder.decisions]


def figures(section: Any) -> list[Figure]:
    return [figure for part in section.parts if isinstance(part, Gallery) for figure in part.figures]


def test_verdicts_and_sensitivity_are_the_same(both: tuple[Results, Results]) -> None:
    lower, higher = map(decisions, both)
    assert len(lower) == len(higher) > 10
    for one, other in zip(lower, higher, strict=True):
        assert (one.name, one.metric, one.verdict, one.best) == (other.name, other.metric, other.verdict, other.best)
        assert one.evidence.spearman == other.evidence.spearman
        for point, turned in zip(one.evidence.curve, other.evidence.curve, strict=True):
            if point.delta is not None:
                assert other.cost(turned) == pytest.approx(one.cost(point), abs=1e-9)
                assert turned.delta == pytest.approx(-point.delta, abs=1e-9)


@pytest.mark.parametrize("section", [sensitivity, bits_by_tokens, predicted_and_measured])
def test_pictures_draw_the_same_costs(both: tuple[Results, Results], section: Any) -> None:
    drawn = [[(figure.title, costs(figure)) for figure in figures(section(results))] for results in both]
    assert [title for title, _ in drawn[0]] == [title for title, _ in drawn[1]]
    for (_, one), (_, other) in zip(*drawn, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-9)


def costs(figure: Figure) -> list[float]:
    rows = figure.spec["data"]["values"]
    return [row["value"] if "value" in row else row["y"] for row in rows]


def test_the_task_is_what_the_change_trains_on_wherever_it_stands(both: tuple[Results, Results]) -> None:
    """In the ledger the measure named `task` reads the data of the fine-tuning; its place in a list says nothing."""
    for figure in figures(task_and_generic(both[0])):
        axes = json.dumps(figure.spec)
        assert axes.index('"title": "generic, nats/token"') != axes.index('"title": "task, nats/token"')
        assert figure.description.count("task against generic") == 1
    for figure in figures(task_and_generic(both[1])):
        assert "task, nats/token, higher is better" in json.dumps(figure.spec)
