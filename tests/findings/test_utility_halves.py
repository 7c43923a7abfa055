"""The procedure of `utility_halves` on tables whose half-life is known, and on tables that cannot tell."""

from __future__ import annotations

import csv

import pytest

from pliant.errors import PliantError
from pliant.findings.utility_halves import UtilityHalves, simulated

NAMES = {"n": "tokens", "S": "unique_tokens", "params": "params", "error": "val_loss"}


def written(path, half_life, passes=(0.0, 1e9)):
    table = simulated(half_life)
    rows = [dict(zip(NAMES.values(), row, strict=True)) for row in zip(*(table[name] for name in NAMES), strict=True)]
    chosen = [row for row in rows if passes[0] <= row["tokens"] / row["unique_tokens"] <= passes[1]]
    diverged = {"params": 3e9, "unique_tokens": 1e9, "tokens": 2e9, "val_loss": 7.0}
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, NAMES.values())
        writer.writeheader()
        writer.writerows([*chosen, diverged, diverged | {"tokens": 1e11, "val_loss": 1.0}])
    return UtilityHalves(table=str(path))


@pytest.mark.parametrize(("half_life", "holds"), [(4.0, True), (1e6, False)])
def test_a_half_life_is_found_where_there_is_one(half_life, holds, tmp_path):
    """Runs that diverged, and those of more passes than are looked at, change nothing."""
    outcome = written(tmp_path / "runs.csv", half_life).test(tmp_path)
    assert outcome.verdict == ("reproduced" if holds else "not at this scale"), outcome.checks
    ((value, low, high),) = outcome.figures["half-life, few passes"].values()
    assert low <= value <= high
    if holds:
        assert low < half_life < high < 2 * half_life
    else:
        assert low > 20
    assert len(outcome.figures["error of many passes"]) == 12  # six pools at 16 and at 40 passes


@pytest.mark.parametrize(
    ("passes", "told"),
    [((2, 60), "runs of a single pass"), ((0, 8), "fewer than two runs of 8 to 60 passes"), ((0, 0), "no row of the table")],
)
def test_a_table_that_cannot_tell_is_refused(passes, told, tmp_path):
    with pytest.raises(PliantError, match=told):
        written(tmp_path / "runs.csv", 4.0, passes).test(tmp_path)


def test_a_table_without_a_column_is_refused(tmp_path):
    (tmp_path / "runs.csv").write_text("params,tokens,unique_tokens\n1,2,3\n")
    with pytest.raises(PliantError, match="val_loss"):
        UtilityHalves(table=str(tmp_path / "runs.csv")).test(tmp_path)
