"""Bands of scores are places in a ranking; what is selected are the documents themselves, byte for byte, and the card counts them."""

from __future__ import annotations

import contextlib
import csv
import gzip
import json
import lzma
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather
import pyarrow.parquet as pq
import pytest

from pliant.data import Corpus
from pliant.errors import PliantError
from pliant.scores import Scores
from pliant.scores.band import Band, ascending, scattered
from pliant.scores.selected import select
from pliant.statistics import Array

GENERATOR = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("count", [1, 7, 100])
@pytest.mark.parametrize("by_tokens", [False, True])
@pytest.mark.parametrize("keep", ["30%", "50%", "1/3"])
def test_bands_next_to_each_other_are_everything_once(count: int, by_tokens: bool, keep: str) -> None:
    values = GENERATOR.integers(0, 5, count) / 4  # with ties
    ids, tokens = GENERATOR.permutation(count).astype(np.uint64), GENERATOR.integers(1, 500, count)
    groups = GENERATOR.integers(0, 3, count)
    rest = str(1 - Fraction(keep.removesuffix("%")) / (100 if "%" in keep else 1))

    def mask(share: str, band: str) -> Any:
        with contextlib.suppress(PliantError):  # of one example, one of the two bands keeps none
            return Band.parse(share, band).kept(values, ids, tokens, groups, by_tokens)
        return np.zeros(count, bool)

    low, high = mask(keep, "low"), mask(rest, "high")
    assert (low ^ high).all()
    assert mask("100%", "medium").all()
    if by_tokens:
        for group in np.unique(groups):
            inside = groups == group
            assert abs(tokens[inside & low].sum() - eval(keep.replace("%", "/100")) * tokens[inside].sum()) <= tokens[inside].max() / 2


def test_a_band_is_a_window_of_the_ranking_whatever_the_scale_and_order() -> None:
    values = GENERATOR.permutation(40).astype(float)
    ids, tokens = np.arange(40, dtype=np.uint64), np.ones(40, np.int64)

    def kept(band: str, keep: str, of: Array = values) -> set[float]:
        return set(values[Band.parse(keep, band).kept(of, ids, tokens)])

    assert kept("high", "25%") == set(range(30, 40))
    assert kept("low", "0.25") == set(range(10))
    assert kept("medium", "50%") == set(range(10, 30))
    assert kept("offset:10%", "25%") == set(range(26, 36))
    assert kept("offset:50%", "50%") == kept("low", "50%")
    assert kept("medium", "50%", np.exp(values / 9)) == kept("medium", "50%")
    order = GENERATOR.permutation(40)
    assert set(values[order][Band.parse("50%", "random").kept(values[order], ids[order], tokens, seed=3)]) == set(
        values[Band.parse("50%", "random").kept(values, ids, tokens, seed=3)]
    )
    assert len(set(scattered(ids, 0)) | set(scattered(ids, 1))) == 80


def test_one_sort_and_a_second_of_ties_is_a_sort_by_both() -> None:
    for values in (GENERATOR.integers(0, 9, 500) / 4, GENERATOR.normal(size=500), np.zeros(5), np.zeros(0)):
        ids = GENERATOR.permutation(len(values)).astype(np.uint64)
        assert (ascending(values, ids) == np.lexsort((ids, values))).all()


def documents() -> list[dict[str, Any]]:
    letters = GENERATOR.integers(97, 123, (30, 40))
    return [{"text": f"é {bytes(row.astype(np.uint8)).decode()}", "domain": "ab"[n % 2], "n": n} for n, row in enumerate(letters)]


def scores_of(path: Path, source: str, field: str | None = None) -> dict[str, float]:
    """A file of scores that rise along the corpus, and the score of each text."""
    corpus = Corpus(source=source, field=field)
    found = list(corpus.documents("all"))
    values = np.arange(len(found)) / 8
    objective = {"kind": "next_token", "data": {"source": source, "field": field}, "part": "all"}
    about: dict[str, Any] = {"score": {"kind": "perplexity"}, "models": ("m",), "data": "d", "unit": "nats/token", "better": "lower"}
    tokens = np.array([len(document.text) for document in found])
    Scores(
        [document.id for document in found], values, tokens, ["s"] * len(found), **about, objective=objective, content=corpus.fingerprint()
    ).save(path)
    return {document.text: float(value) for document, value in zip(found, values, strict=True)}


def written(path: Path, rows: list[dict[str, Any]]) -> None:
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    match path.suffixes:
        case [".jsonl"]:
            path.write_bytes(lines)
        case [".jsonl", ".gz"]:
            path.write_bytes(gzip.compress(lines))
        case [".jsonl", ".xz"]:
            path.write_bytes(lzma.compress(lines))
        case [".json"]:
            path.write_text(json.dumps(rows))
        case [".tsv" | ".csv"]:
            with path.open("w", newline="") as stream:
                writer = csv.DictWriter(stream, list(rows[0]), delimiter="\t" if path.suffix == ".tsv" else ",")
                writer.writeheader()
                writer.writerows(rows)
        case [".parquet"]:
            pq.write_table(pa.Table.from_pylist(rows, metadata={"k": "v"}), path, row_group_size=7)
        case [".arrow"]:
            with pa.ipc.new_stream(str(path), (table := pa.Table.from_pylist(rows)).schema) as stream:
                stream.write_table(table)
        case _:
            pyarrow.feather.write_feather(pa.Table.from_pylist(rows), path)


def read(path: Path) -> list[dict[str, Any]]:
    match path.suffixes:
        case [".json"]:
            return json.loads(path.read_bytes())
        case [".tsv" | ".csv"]:
            with path.open(newline="") as stream:
                return [dict(row, n=int(row["n"])) for row in csv.DictReader(stream, delimiter="\t" if path.suffix == ".tsv" else ",")]
        case [".parquet"]:
            return pq.read_table(path).to_pylist()
        case [".arrow"]:
            return pa.ipc.open_stream(path.read_bytes()).read_all().to_pylist()
        case [".feather"]:
            return pyarrow.feather.read_table(path).to_pylist()
        case _:
            content = path.read_bytes()
            unpacked = {".gz": gzip.decompress, ".xz": lzma.decompress}.get(path.suffix, bytes)(content)
            return [json.loads(line) for line in unpacked.splitlines()]


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz", "jsonl.xz", "json", "csv", "tsv", "parquet", "arrow", "feather"])
def test_documents_come_out_as_they_went_in(tmp_path: Path, ending: str) -> None:
    rows, source = documents(), tmp_path / f"some.{ending}"
    rows = [*rows, rows[0]]  # a repeat is read once
    written(source, rows)
    scores_of(tmp_path / "scores.parquet", str(source))
    told = select(tmp_path / "scores.parquet", Band.parse("50%", "high"), tmp_path / "kept")
    assert read(tmp_path / "kept" / "data" / source.name) == rows[15:30]
    assert (told["kept"], told["of"], told["without_score"]) == (15, 30, 0)
    assert {document.text for document in Corpus(source=str(tmp_path / "kept")).documents("all")} == {row["text"] for row in rows[15:30]}
    if ending == "jsonl":
        assert (tmp_path / "kept" / "data" / source.name).read_bytes() == b"".join(source.read_bytes().splitlines(True)[15:30])
    if ending == "parquet":
        assert pq.read_schema(tmp_path / "kept" / "data" / source.name).equals(pq.read_schema(source), check_metadata=True)


def test_a_folder_keeps_its_names_and_plain_files_are_copied(tmp_path: Path) -> None:
    texts = {"a.txt": "first\r\nfile", "deep/b.txt": "second", "deep/c.md": "third"}
    for name, text in texts.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_bytes(text.encode())
    scores_of(tmp_path / "s.parquet", str(tmp_path / "in"))
    told = select(tmp_path / "s.parquet", Band.parse("60%", "low"), tmp_path / "kept")
    assert {path.name for path in (tmp_path / "kept").rglob("*") if path.is_file()} == {
        "a.txt", "b.txt", "README.md", "selection.json", "scores.svg",
    }  # fmt: skip
    assert (tmp_path / "kept" / "data" / "a.txt").read_bytes() == b"first\r\nfile"
    assert {name: row["kept"] for name, row in told["by_source"].items()} == {"a.txt": 1, "deep/b.txt": 1, "deep/c.md": 0}


def test_of_a_long_document_the_kept_pieces_are_its_text(tmp_path: Path) -> None:
    long = "".join(f"line {n}\n" for n in range(12_000))
    source = tmp_path / "long.jsonl"
    source.write_text("".join(json.dumps({"text": text, "n": n}) + "\n" for n, text in enumerate(["short", long, "other"])))
    values = scores_of(tmp_path / "s.parquet", str(source))
    select(tmp_path / "s.parquet", Band.parse("30%", "low"), tmp_path / "kept")
    first, second = read(tmp_path / "kept" / "data" / "long.jsonl")
    pieces = [text for text in values if text not in ("short", "other")]
    assert first == {"text": "short", "n": 0}
    kept = round(0.3 * len(values)) - 1
    assert second == {"text": "".join(pieces[:kept]), "n": 1}


def test_within_each_value_of_a_field(tmp_path: Path) -> None:
    rows = documents()
    written(tmp_path / "d.jsonl", rows)
    scores_of(tmp_path / "s.parquet", str(tmp_path / "d.jsonl"))
    told = select(tmp_path / "s.parquet", Band.parse("20%", "high"), tmp_path / "kept", by="domain")
    assert read(tmp_path / "kept" / "data" / "d.jsonl") == rows[24:]
    assert {name: (row["kept"], row["of"]) for name, row in told["by_source"].items()} == {"a": (3, 15), "b": (3, 15)}
    half = select(tmp_path / "s.parquet", Band.parse("50%", "low"), tmp_path / "tokens", tokens=True)
    assert abs(half["tokens_kept"] - half["tokens_of"] / 2) <= max(len(row["text"]) for row in rows) / 2
    form = json.loads((tmp_path / "kept" / "selection.json").read_text())
    for part in ("by_source", "by_length", "by_tokens"):
        for name in ("kept", "of", "tokens_kept", "tokens_of"):
            assert sum(row[name] for row in form[part].values()) == told[name]
    assert "| a | 3 | 15 | 20.0% |" in (tmp_path / "kept" / "README.md").read_text()


def test_what_does_not_fit_is_one_line(tmp_path: Path) -> None:
    rows, source, scores = documents(), tmp_path / "d.jsonl", tmp_path / "s.parquet"
    written(source, rows)
    scores_of(scores, str(source))
    half = Band.parse("50%", "low")
    for keep, band, said in (
        ("0", "low", "a share is above 0"),
        ("1.5", "low", "a share is above 0"),
        ("many", "low", "is no share"),
        ("50%", "lowest", "there are high, medium, low"),
        ("50%", "offset:60%", "fewer than --keep"),
    ):
        with pytest.raises(PliantError, match=said):
            Band.parse(keep, band)
    for arguments, said in (
        ({"band": Band.parse("1%", "low")}, "keeps none of 30"),
        ({"band": half, "by": "nothing"}, "no field 'nothing'"),
        ({"band": half, "by": "n"}, "has 30 values in 30 documents"),
        ({"band": half, "out": tmp_path}, "exists already"),
        ({"band": half, "scores": source}, "no file of scores"),
    ):
        with pytest.raises(PliantError, match=said) as caught:
            select(**{"scores": scores, "out": tmp_path / "kept"} | arguments)
        assert len(str(caught.value).splitlines()) == 1
        assert not (tmp_path / "kept").exists()
    moved = tmp_path / "moved.jsonl"
    source.rename(moved)
    with pytest.raises(PliantError, match=r"d\.jsonl: no such file"):
        select(scores, half, tmp_path / "kept")
    assert select(scores, half, tmp_path / "kept", data=Corpus(source=str(moved)))["kept"] == 15
    written(source, rows[1:])
    with pytest.raises(PliantError, match="of other data than"):
        select(scores, half, tmp_path / "again")


def test_scores_of_what_is_no_corpus_and_of_earlier_versions_say_what_to_do(tmp_path: Path) -> None:
    written(tmp_path / "d.jsonl", documents())
    scores_of(tmp_path / "s.parquet", str(tmp_path / "d.jsonl"))
    found = Scores.read(tmp_path / "s.parquet")
    half = Band.parse("50%", "low")
    for objective, said in ((None, "say it with --data"), ({"kind": "label"}, "select: {scores")):
        Scores(**{**vars(found), "objective": objective, "content": None}).save(tmp_path / "old.parquet")
        with pytest.raises(PliantError, match=said):
            select(tmp_path / "old.parquet", half, tmp_path / "kept")
    written(tmp_path / "less.jsonl", documents())
    with pytest.raises(PliantError, match="of 30 scored documents are not in"):
        select(tmp_path / "old.parquet", half, tmp_path / "kept", data=Corpus(source=str(tmp_path / "less.jsonl")))
    assert select(tmp_path / "old.parquet", half, tmp_path / "kept", data=Corpus(source=str(tmp_path / "d.jsonl")))["kept"] == 15
