"""Table files as they come: what cannot be read says why in one line, and nothing hangs."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from pliant.errors import PliantError
from pliant.laws import LAWS, fit
from pliant.laws.tables.table import MOST_ROWS, read_runs

LAW = LAWS["chinchilla"]
CSV = "N,D,loss\n10000000,2e8,4\n1e8,2e9,3\n1e9,2e10,2.5\n1e10,2e11,2.2\n"

FAULTS: list[tuple[str, bytes, str]] = [
    ("latin.csv", ("name," + CSV.replace("\n1e8", "\ncafé,1e8")).encode("latin-1"), "line 3 is not UTF-8 text .*Latin-1.*iconv -f LATIN1"),
    ("header.csv", CSV.replace("loss", "größe").encode("latin-1"), "line 1 is not UTF-8 text"),
    ("utf16.csv", CSV.encode("utf-16"), "text in UTF-16; save it as CSV UTF-8, or convert it: iconv -f UTF-16"),
    ("bare16.csv", CSV.encode("utf-16-le"), "NUL bytes, so it is no text table, or text in UTF-16"),
    ("nul.csv", CSV.encode().replace(b"2e9", b"2\0e9"), r"column D: row 2 holds '2\\x00e9', which is no number"),
    ("zeros.csv", bytes(5000), "NUL bytes"),
    ("quote.csv", CSV.encode().replace(b"2e9", b'"2e9'), "column D: row 2 holds '\"2e9', which is no number"),
    ("short.csv", CSV.encode().replace(b"1e8,", b""), "do not have the same number of fields"),
    ("more.csv", CSV.encode().replace(b"2e9", b"2e9,7"), "do not have the same number of fields"),
    ("late.csv", b"N,D,loss\n" + b"1,2,3\n" * 30_000 + b"1,2\n", "as many in every line"),
    ("noise.csv", bytes(np.random.default_rng(0).integers(0, 256, 5000, dtype=np.uint8)), "no table of fields|not UTF-8|NUL bytes"),
    ("empty.csv", b"", "no rows"),
    ("names.csv", b"N,D,loss\n", "no rows"),
    ("digits.csv", CSV.encode().replace(b"2e10", b"1" + b"0" * 400), "column D: 1 of 4 rows have no finite number"),
    ("beyond.csv", CSV.encode().replace(b"2e10", b"1e999"), "column D: 1 of 4 rows have no finite number"),
    ("far.csv", CSV.encode().replace(b"2e10", b"1e200"), "column D: 1 of 4 rows have no finite number"),
    ("line.csv", b"N,D,loss\n" + b"1" * 3_000_000 + b",2,3\n", "longer than a line of a table can be"),
    ("wide.csv", b",".join(b"c%d" % n for n in range(3000)) + b"\n" + b",".join([b"1"] * 3000), "has 3000 columns, 2000 at most"),
    ("cell.csv", CSV.encode().replace(b"2e10", b"x" * 100_000), "column D: row 3 holds 'xxxx"),
    ("bad.json", b"{", "bad.json"),
    ("bad.jsonl", b'{"N": 1}\n{', "bad.jsonl"),
    ("deep.json", b"[" * 100_000, "deep.json"),
    ("bad.parquet", b"PAR1", "bad.parquet"),
    ("bad.csv.gz", b"no such thing", "bad.csv.gz"),
]


@pytest.mark.parametrize(("name", "content", "says"), FAULTS, ids=[name for name, _, _ in FAULTS])
def test_a_file_that_cannot_be_read_says_why(name: str, content: bytes, says: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PliantError, match=says) as caught:
        read_runs(LAW, tmp_path / name)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 600 + len(str(tmp_path))


def test_what_is_no_file_is_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.csv")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "folder" / "pipe.parquet")
    (tmp_path / "zeros.csv").symlink_to("/dev/zero")
    for place in ("pipe.csv", "folder", "zeros.csv"):
        with pytest.raises(PliantError, match="a pipe or a device"):
            read_runs(LAW, tmp_path / place)
    (tmp_path / "none").mkdir()
    for place, says in (("none", "holds no Parquet files"), ("a\0b.csv", "no such file"), ("a" * 300 + ".csv", "too long")):
        with pytest.raises(PliantError, match=says):
            read_runs(LAW, tmp_path / place)


def test_a_file_of_many_gigabytes_is_not_begun(tmp_path: Path) -> None:
    with (tmp_path / "huge.csv").open("wb") as stream:
        stream.truncate(2**40)  # takes no space
    with pytest.raises(PliantError, match="GB are more than a table of runs can be"):
        read_runs(LAW, tmp_path / "huge.csv")


def test_a_name_is_no_pattern(tmp_path: Path) -> None:
    """`run[1].csv` as a pattern is `run1.csv`, which is another file."""
    (tmp_path / "run[1].csv").write_text(CSV)
    (tmp_path / "run1.csv").write_text(CSV.replace("2.5", "2.6"))
    assert read_runs(LAW, tmp_path / "run[1].csv").target[2] == 2.5
    (tmp_path / "all*?.csv").write_text(CSV)
    assert read_runs(LAW, tmp_path / "all*?.csv").target[2] == 2.5


def test_latin_1_in_a_packed_file(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "runs.csv.gz", "wb") as packed:
        packed.write(("name," + CSV.replace("\n1e8", "\ncafé,1e8")).encode("latin-1"))
    with pytest.raises(PliantError, match="not UTF-8 text"):
        read_runs(LAW, tmp_path / "runs.csv.gz")


def test_more_rows_than_can_be_fitted_are_refused_with_a_way_to_choose() -> None:
    rows = np.arange(1.0, 3_000_001)
    with pytest.raises(PliantError, match=r"3000000 rows are more than a law is fitted to .* choose some with where") as caught:
        read_runs(LAW, {"N": rows, "D": rows, "loss": rows})
    where = str(caught.value).rsplit("where '", 1)[1].rstrip("'")
    assert MOST_ROWS / 2 < len(read_runs(LAW, {"N": rows, "D": rows, "loss": rows}, where=where)) <= MOST_ROWS


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"where": "1; drop table runs"}, "syntax error"),
        ({"where": "N > 'x'"}, "Could not convert"),
        ({"where": "error('one\ntwo')"}, "one"),
        ({"where": "x" * 100_000}, "no column 'xxx"),
        ({"columns": {"N": "unnest([1, 2])"}}, "gives 16 values for 8 rows"),
        ({"columns": {"N": "N * 1e300"}}, "no finite number"),
        ({"columns": {"N": "[1, 2]"}}, "is no number"),
        ({"fix": {"alpha": float("nan")}}, "cannot fix alpha"),
        ({"bounds": {"alpha": (float("nan"), 1.0)}}, "an end is no number"),
        ({"priors": {"alpha": (0.3, 1e-320)}}, "prior on alpha"),
        ({"priors": {"alpha": (float("inf"), 1.0)}}, "prior on alpha"),
        ({"bootstrap": 10**9}, "bootstrap"),
        ({"bootstrap": 10**8}, "bootstrap samples of 8 rows are more than can be fitted; ask for 2500000 at most"),
        ({"restarts": 10**9}, "restarts of 8 rows are more than can be fitted"),
        ({"seed": 2**64}, "seed"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_options_that_cannot_be_are_one_line(options: dict[str, object], says: str) -> None:
    columns = {"N": np.geomspace(1e7, 1e10, 8), "D": np.geomspace(1e9, 1e11, 8) * np.tile([1, 3], 4)}
    table = {**columns, "loss": LAW(columns, LAW.printed["2404.10102"])}
    with pytest.raises(PliantError, match=says) as caught:
        fit(LAW, table, **options)  # pyright: ignore[reportArgumentType]
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 600


def test_parameters_by_too_many_groups_are_refused() -> None:
    rows = np.arange(300)
    columns = {"N": np.geomspace(1e7, 1e10, 300), "D": np.geomspace(1e9, 1e11, 300)}
    table = {**columns, "loss": LAW(columns, LAW.printed["2404.10102"]), "group": (rows // 2).astype(str)}
    with pytest.raises(PliantError, match="154 free parameters are more than one fit can have"):
        fit(LAW, table, by={"E": "group"})
