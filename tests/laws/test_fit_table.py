"""Tables: every kind there is, and a clear line for every bad one."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from pliant.errors import PliantError
from pliant.laws import LAWS, fit
from pliant.laws.tables.table import read_runs

LAW = LAWS["chinchilla"]
N = np.array([1e7, 1e8, 1e9, 1e10])
GOOD = {"N": N, "D": 20 * N, "loss": np.array([4.0, 3.0, 2.5, 2.2]), "text": np.array(["a", "b", "a", "b"])}


def written(kind: str, folder: Path) -> Any:
    table = pa.table({name: pa.array(values) for name, values in GOOD.items()})
    if kind == "csv":
        pa.csv.write_csv(table, folder / "runs.csv")
        return folder / "runs.csv"
    if kind == "parquet":
        pa.parquet.write_table(table, folder / "runs.parquet")
        return str(folder / "runs.parquet")
    if kind == "folder":
        pa.parquet.write_table(table.slice(0, 2), folder / "0.parquet")
        pa.parquet.write_table(table.slice(2), folder / "1.parquet")
        return folder
    if kind == "jsonl":
        lines = [str(row).replace("'", '"') for row in table.to_pylist()]
        (folder / "runs.jsonl").write_text("\n".join(lines))
        return folder / "runs.jsonl"
    return {"mapping": GOOD, "lists": {k: v.tolist() for k, v in GOOD.items()}, "rows": table.to_pylist(), "arrow": table}[kind]


@pytest.mark.parametrize("kind", ["csv", "parquet", "folder", "jsonl", "mapping", "lists", "rows", "arrow"])
def test_the_same_runs_from_every_kind_of_table(kind: str, tmp_path: Path) -> None:
    runs = read_runs(LAW, written(kind, tmp_path), texts=["text"])
    for name in ("N", "D"):
        np.testing.assert_array_equal(runs.columns[name], GOOD[name])
    np.testing.assert_array_equal(runs.target, GOOD["loss"])
    assert runs.texts["text"].tolist() == ["a", "b", "a", "b"]
    assert runs.remarks == []


CSV = "N,D,loss\n10_000_000,2e8,4\n1e8,2e9,3\n1e9,2e10,2.5\n1e10,2e11,2.2\n".replace("_", "")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("bom.csv", "\ufeff" + CSV),
        ("windows.csv", CSV.replace("\n", "\r\n")),
        ("semicolons.csv", CSV.replace(",", ";")),
        ("tabs.csv", CSV.replace(",", "\t")),
        ("blank.csv", "\n" + CSV.replace("1e8", "\n\n1e8") + "\n\n"),
        ("spaces.csv", CSV.replace(",", ", ")),
        ("index.csv", "".join(f"{number},{line}\n" if number else f",{line}\n" for number, line in enumerate(CSV.split()))),
        ("thousands.csv", CSV.replace("10000000", '"10,000,000"')),
        ("people.csv", CSV.replace("10000000", "10M").replace("2e11", "0.2T").replace("1e9", "1 B")),
    ],
)
def test_files_as_people_write_them(name: str, content: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content.encode())
    with gzip.open(tmp_path / f"{name}.gz", "wb") as packed:
        packed.write(content.encode())
    for file in (tmp_path / name, tmp_path / f"{name}.gz"):
        runs = read_runs(LAW, file)
        np.testing.assert_array_equal(runs.columns["N"], N)
        np.testing.assert_array_equal(runs.columns["D"], GOOD["D"])
        np.testing.assert_array_equal(runs.target, GOOD["loss"])


def test_a_letter_after_what_is_no_count_stays_text() -> None:
    """4b is four bits, not four billions; 5,06 is no thousands."""
    with pytest.raises(PliantError, match="row 1 holds '4b'"):
        read_runs(LAWS["ptq"], {"N": ["1M"], "D": ["1B"], "Ppost": ["4b"], "rise": [0.1]})
    with pytest.raises(PliantError, match=r"row 1 holds '5,06', with a decimal comma, and row 3 '2.5', with a point"):
        read_runs(LAW, {**GOOD, "loss": ["5,06", "3", "2.5", "2.2"]})


def test_what_is_missing_or_text_can_be_left_out_as_the_error_says(tmp_path: Path) -> None:
    (tmp_path / "gaps.csv").write_text(CSV.replace(",3\n", ",NA\n"))
    with pytest.raises(PliantError, match=r"where 'isfinite\(loss\)'"):
        read_runs(LAW, tmp_path / "gaps.csv")
    assert len(read_runs(LAW, tmp_path / "gaps.csv", where="isfinite(loss)")) == 3
    (tmp_path / "text.csv").write_text(CSV.replace(",3\n", ",diverged\n"))
    with pytest.raises(PliantError, match="row 2 holds 'diverged'"):
        read_runs(LAW, tmp_path / "text.csv")
    assert len(read_runs(LAW, tmp_path / "text.csv", where="try_cast(loss as double) is not null")) == 3


def test_counts_in_billions_are_mentioned() -> None:
    (remark,) = read_runs(LAW, {**GOOD, "N": N / 1e9}).remarks
    assert remark.startswith("column N goes up to 10 only")


def test_anything_that_hands_out_arrow_is_a_table() -> None:
    class Frame:
        def __arrow_c_stream__(self, requested_schema: object = None) -> object:
            return pa.table({name: pa.array(values) for name, values in GOOD.items()}).__arrow_c_stream__(requested_schema)

    assert len(read_runs(LAW, Frame())) == 4


def test_columns_and_where_are_sql() -> None:
    table = {"size in millions": N / 1e6, "D": GOOD["D"], "loss": GOOD["loss"], "text": GOOD["text"]}
    runs = read_runs(LAW, table, columns={"N": '"size in millions" * 1e6'}, where="text = 'b' and loss < 2.9")
    np.testing.assert_allclose(runs.columns["N"], [1e10])
    assert len(read_runs(LAW, table, columns={"N": "size in millions"})) == 4


def test_defaults_fill_columns_that_are_not_there() -> None:
    law = LAWS["training_bits"]
    runs = read_runs(law, {**GOOD, "Pw": [3, 4, 5, 6]})
    default = next(column.default for column in law.columns if column.name == "Pa")
    np.testing.assert_array_equal(runs.columns["Pa"], np.full(4, default))


def test_copies_are_counted_once_and_repeats_are_mentioned() -> None:
    twice = {name: np.concatenate([values, values[:2]]) for name, values in GOOD.items()}
    runs = read_runs(LAW, twice)
    assert len(runs) == 4
    assert "2 rows are exact copies" in runs.remarks[0]
    named = {**twice, "name": np.arange(6)}
    runs = read_runs(LAW, named)
    assert len(runs) == 6
    assert "2 rows repeat" in runs.remarks[0]


BAD: list[tuple[dict[str, Any], dict[str, Any], str]] = [
    ({"N": N, "D": N}, {}, r"no column 'loss', which law chinchilla needs: say which it is \(loss=...\); it has N, D"),
    (GOOD, {"columns": {"N": "params"}}, "the table has no column 'params'"),
    (GOOD, {"columns": {"M": "N"}}, "reads no column 'M'"),
    (GOOD, {"columns": {"loss": "text"}}, "column loss: row 1 holds 'a', which is no number"),
    ({**GOOD, "loss": [4.0, None, 3.0, 2.0]}, {}, r"1 of 4 rows have no finite number \(first: row 2\).*isfinite\(loss\)"),
    ({**GOOD, "loss": [4.0, 3.0, np.nan, np.inf]}, {}, r"2 of 4 rows have no finite number \(first: row 3\)"),
    ({**GOOD, "D": [0.0, 1.0, 2.0, 3.0]}, {}, r"1 of 4 rows are not above zero \(first: row 1, 0\).*D > 0"),
    ({**GOOD, "loss": [4.0, 3.0, -2.0, 2.0]}, {}, r"column loss: 1 of 4 rows are not above zero"),
    ({**GOOD, "loss": [4.0, 3.0]}, {}, "expected length 4 but got length 2"),
    ({"N": N, "D": N, "loss_bits": N}, {"columns": {"loss": "loss_bits"}}, "looks like bits"),
    ({"N": N, "D": N, "bits/byte": N}, {"columns": {"loss": "bits/byte"}}, "looks like bits"),
    (GOOD, {"unit": "hartley"}, "write nats or bits"),
    (GOOD, {"where": "text = 'c'"}, "no row of the table meets"),
    (GOOD, {"where": "colour = 'c'"}, "no column 'colour'; known: D, N, loss, text"),
    ({"n": N, "D": N, "loss": N}, {}, r"say which it is \(N=n\)"),
    (GOOD, {"where": "true) union (select 1"}, "table"),
    (GOOD, {"where": "true); drop table kept; select (1"}, "Parser Error"),
    ({}, {}, "no columns"),
    ({"N": [], "D": [], "loss": []}, {}, "no rows"),
]


@pytest.mark.parametrize(("table", "options", "says"), BAD, ids=[says[:30] for _, _, says in BAD])
def test_bad_tables_say_what_is_wrong(table: dict[str, Any], options: dict[str, Any], says: str) -> None:
    with pytest.raises(PliantError, match=says) as caught:
        read_runs(LAW, table, **options)
    assert len(str(caught.value).splitlines()) == 1


def test_bad_files_say_what_is_wrong(tmp_path: Path) -> None:
    for name, content, says in (
        ("runs.parquet", "no parquet", "runs.parquet"),
        ("runs.pkl", "x", "unknown kind of table"),
        ("runs.csv", "", "no rows"),
        ("ragged.csv", CSV.replace("1e8,", ""), r"not have the same number of fields as the first \(N,D,loss\)"),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(PliantError, match=says):
            read_runs(LAW, tmp_path / name)
    with pytest.raises(PliantError, match="no such file"):
        read_runs(LAW, tmp_path / "nothing.csv")
    with pytest.raises(PliantError, match="no table"):
        read_runs(LAW, 3)


def test_a_query_cannot_read_files(tmp_path: Path) -> None:
    (tmp_path / "secret.csv").write_text("a\n1\n")
    with pytest.raises(PliantError, match="disabled by configuration"):
        read_runs(LAW, GOOD, where=f"(select count(*) from read_csv('{tmp_path / 'secret.csv'}')) > 0")


def test_bits_by_another_name_are_left_alone() -> None:
    runs = read_runs(LAW, {"N": N, "D": N, "orbit_loss": GOOD["loss"]}, columns={"loss": "orbit_loss"})
    np.testing.assert_array_equal(runs.target, GOOD["loss"])
    with_unit = read_runs(LAW, {"N": N, "D": N, "bits": GOOD["loss"]}, columns={"loss": "bits"}, unit="nats")
    np.testing.assert_array_equal(with_unit.target, GOOD["loss"])


def test_three_points_are_too_few() -> None:
    with pytest.raises(PliantError, match="5 free parameters and the table 3 usable rows: at least 6 are needed"):
        fit("chinchilla", {name: values[:3] for name, values in GOOD.items()})
