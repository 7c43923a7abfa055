"""`pliant predict`: one row, many rows, the law's own, and what it refuses."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pliant.laws import LAWS, extrapolate, fit, grid, simulate

Command = Callable[..., tuple[int, str, str]]
TRUTH = {"E": 1.82, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
COLUMNS = grid(N=(1e7, 3e7, 1e8, 3e8, 1e9), D=(3e8, 1e9, 3e9, 1e10, 3e10))
RUNS = simulate(LAWS["chinchilla"], COLUMNS, TRUTH, 0.003, 0)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("fit") / "fit.json"
    fit("chinchilla", RUNS, bootstrap=50).save(path)
    return path


def test_one_row_is_what_extrapolate_says(saved: Path, pliant: Command) -> None:
    told = json.loads(pliant("predict", "--fit", saved, "--at", "N=7B,D=140B", "--json")[1])
    (expected,) = extrapolate(RUNS, {"N": 7e9, "D": 140e9}).rows()
    assert list(told) == ["value", "low", "high", "parts", "beyond"]
    assert set(told["parts"]) == {"noise", "parameters", "form"}
    assert told["value"] == pytest.approx(expected["value"])
    assert told["high"] == pytest.approx(expected["high"])
    assert told["beyond"] == pytest.approx(7e9 * 140e9 / 3e19)


def test_a_table_gives_a_row_each_and_people_the_answer_first(saved: Path, tmp_path: Path, pliant: Command) -> None:
    rows = tmp_path / "rows.csv"
    rows.write_text("N,D\n7B,140B\n1e9,3e10\n")
    told = json.loads(pliant("predict", "--fit", saved, "--table", rows, "--json")[1])
    assert [row["beyond"] for row in told] == pytest.approx([7e9 * 140e9 / 3e19, 1.0])
    code, shown, notes = pliant("predict", "--fit", saved, "--at", "N=1B,D=30B")
    assert code == 0
    assert shown.splitlines()[0].startswith(f"loss {told[1]['value']:.4f} nats/token, 90% [")
    assert "inside the range of the fitted runs" in shown
    assert "the extrapolating form" in notes
    assert json.loads(pliant("predict", "--fit", saved, "--at", "N=1B,D=30B", "--as-fitted", "--json")[1])["parts"]["form"] == 0


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "say which runs"),
        (["--at", "N=7B"], "give D (tokens) too"),
        (["--at", "N=7B,D=0"], "above zero"),
        (["--at", "N=7B,D=140B,Q=3"], "reads no such column"),
        (["--at", "N=7B,D=x"], "x"),
        (["--table", "none.csv"], "no such file"),
    ],
)
def test_what_it_refuses(saved: Path, arguments: list[str], says: str, pliant: Command) -> None:
    code, _, said = pliant("predict", "--fit", saved, *arguments)
    assert code == 2
    assert says in said


def test_a_run_that_is_no_larger_may_still_be_outside(saved: Path, pliant: Command) -> None:
    shown = pliant("predict", "--fit", saved, "--at", "N=1M,D=1B")[1]
    assert "no larger than the fitted runs, but N 1M is outside their range, 10M to 1B" in shown
