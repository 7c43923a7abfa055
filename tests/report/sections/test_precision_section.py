"""The sections about bits, from a ledger with known truth."""

import json

import numpy as np
import pytest

from pliant.ledger.ledger import Ledger
from pliant.ledger.record import Record
from pliant.report.parts import Gallery, TablePart
from pliant.report.results import gather
from pliant.report.sections import SECTIONS
from pliant.report.sections.precision import bits_by_tokens, by_block, predicted_and_measured
from synthetic_ledger import GENERIC, TOKENS, synthetic_ledger

BASE, ROUNDED = GENERIC[0][1], {change["bits"]: means for change, means in GENERIC if change["kind"] == "quantize"}
NOISE = 0.02
"""Nats/token, several standard errors of a rise in the synthetic ledger."""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return gather(synthetic_ledger(tmp_path_factory.mktemp("ledger")))


@pytest.fixture
def blocks(tmp_path):
    """Two blocks rounded alone at two widths on two checkpoints; rises are block + 1 times 0.1, 0.4 at 3 bits."""
    ledger, names = Ledger(tmp_path, create=True), [f"doc{i}:0" for i in range(8)]
    changes = [{"kind": "none"}] + [
        {"kind": "quantize", "bits": bits, "tensors": f"model.layers.{block}.*"} for block in (0, 1) for bits in (3, 4)
    ]
    for tokens in (1_000_000, 2_000_000):
        for change in changes:
            block = int(change["tensors"].split(".")[2]) if "tensors" in change else 0
            rise = {None: 0.0, 3: 0.4, 4: 0.1}[change.get("bits")] * (block + 1) * tokens / 2e6
            form = json.dumps(change, sort_keys=True)
            values = np.linspace(2, 3, 8) + rise
            ledger.write(
                [
                    Record(
                        study="s", checkpoint=f"m@{tokens}", weights=f"{tokens}{form}", base_weights=str(tokens), params=100, tokens=tokens,
                        change_kind=change["kind"], change_json=form, measure="generic", measure_json='{"kind":"loss"}', metric="loss",
                        value=float(values.mean()), stderr=0.1, n=8, unit="nats/token", seed=0, data="d", cell=f"{tokens}{form}",
                        key=f"{tokens}{form}", sample_ids=names, sample_values=values.tolist(), sample_weights=[1.0] * 8,
                    )
                ]
            )  # fmt: skip
    return gather(ledger)


def figures(section):
    return [figure for part in section.parts if isinstance(part, Gallery) for figure in part.figures]


def test_the_map_holds_every_width_and_budget_with_its_rise(results):
    (figure,) = figures(bits_by_tokens(results))
    cells = {(cell["row"], cell["column"]): cell for cell in figure.spec["data"]["values"]}
    assert len(cells) == len(ROUNDED) * len(TOKENS)
    for bits, means in ROUNDED.items():
        for tokens, loss, base in zip(["500k", "1M", "2M", "4M", "8M", "16M"], means, BASE, strict=True):
            assert cells[str(bits), tokens]["value"] == pytest.approx(loss - base, abs=NOISE)


def test_one_cell_of_each_width_is_framed_where_the_rounded_loss_is_lowest(results):
    (figure,) = figures(bits_by_tokens(results))
    framed = {cell["row"]: cell["column"] for cell in figure.spec["data"]["values"] if cell["best"]}
    assert sum(cell["best"] for cell in figure.spec["data"]["values"]) == 4
    assert framed["6"] == framed["5"] == "16M"
    assert framed["4"] == "8M"
    assert framed["3"] in ("500k", "1M", "2M")


def test_predictions_are_the_least_squares_line_in_logarithms(results):
    section = predicted_and_measured(results)
    (figure,) = figures(section)
    points = figure.spec["data"]["values"]
    predicted, measured = (np.log([point[name] for point in points]) for name in ("x", "y"))
    assert np.mean(measured - predicted) == pytest.approx(0, abs=1e-9)  # least squares with a constant
    assert np.dot(measured - predicted, predicted) == pytest.approx(0, abs=1e-6)
    (table,) = [part for part in section.parts if isinstance(part, TablePart)]
    assert float(table.rows[0][4]) == pytest.approx(1 - np.var(measured - predicted) / np.var(measured), abs=6e-4)
    assert [row[1] for row in table.rows] == ["all", "3", "4", "5", "6"]
    assert sum(int(row[5]) for row in table.rows[1:]) == int(table.rows[0][5]) == len(points)


def test_points_too_few_for_a_fit_leave_its_r2_blank(tmp_path):
    section = predicted_and_measured(gather(synthetic_ledger(tmp_path, tokens=TOKENS[3:], seeds=(0,), samples=16)))
    (table,) = [part for part in section.parts if isinstance(part, TablePart)]
    assert table.rows[0][4]
    assert [row[4] for row in table.rows[1:]] == [""] * 4


def test_blocks_are_compared_on_the_last_checkpoint(blocks):
    (figure,) = figures(by_block(blocks))
    bars = {(bar["name"], bar["x"]): bar["y"] for bar in figure.spec["data"]["values"]}
    assert bars == pytest.approx({("4 bits", 0): 0.1, ("4 bits", 1): 0.2, ("3 bits", 0): 0.4, ("3 bits", 1): 0.8})


def test_rounding_of_one_block_is_no_row_of_the_map(blocks):
    assert bits_by_tokens(blocks) is None
    assert predicted_and_measured(blocks) is None


def test_without_such_data_there_is_no_section(results, tmp_path):
    assert by_block(results) is None
    one_checkpoint = gather(synthetic_ledger(tmp_path, tokens=TOKENS[:1], seeds=(0,)))
    assert [make(one_checkpoint) for make in (bits_by_tokens, predicted_and_measured, by_block)] == [None] * 3


def test_every_picture_can_be_drawn_and_read_out(results, blocks):
    drawn = [*figures(bits_by_tokens(results)), *figures(predicted_and_measured(results)), *figures(by_block(blocks))]
    for figure in drawn:
        assert figure.drawing.startswith("<svg")
        assert figure.description
    assert {bits_by_tokens, predicted_and_measured, by_block} <= set(SECTIONS)
