"""Numbers as people write them: one reading for a column, and an error where two are left."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pliant.errors import PliantError
from pliant.laws import LAWS
from pliant.laws.tables.numerals import Writing, decimal_sign, number
from pliant.laws.tables.table import RunTable, read_runs

PLAIN, EUROPEAN, SEMICOLONS, POINTS = Writing(), Writing(",", semicolons=True), Writing(None, semicolons=True), Writing(".")


def read(cells: list[str], counts: bool, file: Writing) -> list[float | None]:
    sign = decimal_sign("x", cells, counts, file)
    return [number(cell, sign, counts) for cell in cells]


@pytest.mark.parametrize(
    ("cells", "counts", "file", "values"),
    [
        # decimals with a comma, said by the column, by the file, or by the semicolons
        (["5,06", "3", "12,5"], False, PLAIN, [5.06, 3, 12.5]),
        (["5,497", "3,21"], False, PLAIN, [5.497, 3.21]),
        (["5,497", "4,301"], False, EUROPEAN, [5.497, 4.301]),
        (["5,497", "4,301"], False, SEMICOLONS, [5.497, 4.301]),
        (["0,497", "0,301"], False, PLAIN, [0.497, 0.301]),
        (["5,497e-1"], False, PLAIN, [0.5497]),
        (["1.234,5", "2.345,678"], False, PLAIN, [1234.5, 2345.678]),
        (["-1,5", "\u22122,5"], False, PLAIN, [-1.5, -2.5]),
        # thousands
        (["1,000,000", "70,000"], True, PLAIN, [1_000_000, 70_000]),
        (["1,000,000", "70,000"], False, PLAIN, [1_000_000, 70_000]),
        (["1,234.5", "2,345"], False, PLAIN, [1234.5, 2345]),
        (["70,000", "500,000"], True, PLAIN, [70_000, 500_000]),
        (["70,000", "1.5M"], True, PLAIN, [70_000, 1.5e6]),
        (["1,000,000"], True, EUROPEAN, [1_000_000]),
        (["1.000.000", "70.000"], True, PLAIN, [1_000_000, 70_000]),
        (["1.234", "5.678"], True, EUROPEAN, [1234, 5678]),
        (["1 000 000", "70\u00a0000", "5\u202f000,5"], False, PLAIN, [1_000_000, 70_000, 5000.5]),
        (["1'000'000", "70\u2019000"], True, PLAIN, [1_000_000, 70_000]),
        # decimals with a point, as machines write them
        (["1.234", "2.5"], False, EUROPEAN, [1.234, 2.5]),
        (["1.234", "5.678"], False, PLAIN, [1.234, 5.678]),
        (["1.234", "5.678"], False, SEMICOLONS, [1.234, 5.678]),
        (["1.234", "5.678"], True, POINTS, [1.234, 5.678]),
        (["1.234B", "70M", "1e9", "1 B"], True, EUROPEAN, [1.234e9, 7e7, 1e9, 1e9]),
    ],
)
def test_a_column_has_one_reading(cells: list[str], counts: bool, file: Writing, values: list[float]) -> None:
    assert read(cells, counts, file) == pytest.approx(values, rel=1e-15)


@pytest.mark.parametrize(
    ("cells", "counts", "file"),
    [
        (["5,497", "4,301"], False, PLAIN),
        (["5,497", "4,301"], False, POINTS),
        (["5,497", "4.5"], False, PLAIN),
        (["70,000", "500,000"], True, EUROPEAN),
        (["70,000", "500,000"], True, SEMICOLONS),
        (["1.234", "5.678"], False, EUROPEAN),
        (["1.234", "5.678"], True, SEMICOLONS),
        (["5,06", "1.234"], False, PLAIN),
        (["5,497", "1.234"], False, EUROPEAN),
    ],
)
def test_what_stays_open_is_asked_with_both_readings(cells: list[str], counts: bool, file: Writing) -> None:
    with pytest.raises(
        PliantError, match=r"column x: row \d holds '\d+[,.]\d{3}', which can be \d+ or \d+\.\d{3}.*write decimals with a point"
    ):
        decimal_sign("x", cells, counts, file)


def test_two_writings_in_one_column_are_named_by_their_rows() -> None:
    with pytest.raises(PliantError, match=r"row 2 holds '5,06', with a decimal comma, and row 3 '2\.5', with a point"):
        decimal_sign("x", [None, "5,06", "2.5"], False, PLAIN)


@pytest.mark.parametrize(
    "cell", ["12,34,567", "1,2,3", "1.2.3", "5,06,", ",", "", "12%", "1 23", "4b", "1,400,00", "01,400,000", "--1", "9" * 500 + "x"]
)
def test_what_is_no_number_is_none(cell: str) -> None:
    assert number(cell, ".", False) is None
    assert number(cell, ",", False) is None


def table(tmp_path: Path, text: str, name: str = "runs.csv") -> RunTable:
    (tmp_path / name).write_text(text, encoding="utf-8")
    return read_runs(LAWS["chinchilla"], tmp_path / name)


ROWS = [(1e7, 2e8, 5.497), (1e8, 2e9, 4.301), (1e9, 2e10, 3.998), (1e10, 2e11, 2.75)]


def test_a_european_file_gives_the_same_runs(tmp_path: Path) -> None:
    """The loss column alone would be read as 5497: every cell but one has three digits after its comma."""
    lines = [f"{N:.0f};{D:.0f};{str(loss).replace('.', ',')}" for N, D, loss in ROWS]
    runs = table(tmp_path, "N;D;loss\n" + "\n".join(lines))
    np.testing.assert_array_equal(runs.target, [loss for _, _, loss in ROWS])
    short = table(tmp_path, "N;D;loss\n" + "\n".join(lines[:3]))
    np.testing.assert_array_equal(short.target, [loss for _, _, loss in ROWS[:3]])


def test_dots_in_the_counts_of_a_european_file_are_thousands(tmp_path: Path) -> None:
    runs = table(tmp_path, "N;D;loss\n1.234;5.678;3,21\n2.345;6.789;3,1\n")
    np.testing.assert_array_equal(runs.columns["N"], [1234, 2345])
    np.testing.assert_array_equal(runs.columns["D"], [5678, 6789])
    np.testing.assert_array_equal(runs.target, [3.21, 3.1])
    long = table(tmp_path, "N;D;loss\n1.234.567;5.678.000.000;3,215\n987.654;6.789;3,123\n")
    np.testing.assert_array_equal(long.columns["N"], [1_234_567, 987_654])
    np.testing.assert_array_equal(long.target, [3.215, 3.123])


def test_quoted_thousands_and_quoted_decimals_with_commas(tmp_path: Path) -> None:
    runs = table(tmp_path, 'N,D,loss\n"10,000,000","200,000",5.497\n"20,000,000","300,000",4.3\n')
    np.testing.assert_array_equal(runs.columns["D"], [200_000, 300_000])
    with pytest.raises(PliantError, match=r"column loss: row 1 holds '5,497', which can be 5497 or 5\.497"):
        table(tmp_path, 'N,D,loss\n1e7,2e8,"5,497"\n1e8,2e9,"4,301"\n')


def test_machines_that_like_semicolons_are_read_as_they_write(tmp_path: Path) -> None:
    runs = table(tmp_path, "N;D;loss\n10000000;2e8;5.497\n100000000;2e9;4.301\n")
    np.testing.assert_array_equal(runs.target, [5.497, 4.301])


def test_percentages_are_refused_with_what_to_write() -> None:
    with pytest.raises(PliantError, match=r"row 1 holds '12%', which is no number; give shares instead of percentages: 0\.12"):
        read_runs(LAWS["error"], {"L": [3.0, 2.0], "error": ["12%", "10%"]})
