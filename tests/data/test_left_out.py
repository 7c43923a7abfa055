"""What is no document: refused with its place, or left out, counted and listed; the same text comes out of what is left, either way."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pliant.data import Corpus, load_tokenizer
from pliant.data.contexts import Contexts
from pliant.data.excerpt import said_of_documents, write_excerpt
from pliant.data.preferences import Preferences
from pliant.data.table import Table
from pliant.errors import PliantError


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))


def line(text: Any, **more: Any) -> bytes:
    return json.dumps({"text": text, **more}).encode() + b"\n"


GOOD = ["first of them", "second of them", "third of them"]
FILES = {
    "a.jsonl": b"".join(
        [line(GOOD[0], n=1), b'{"text": "bro\n', line(7), line(GOOD[1], n=2), b'{"text": "caf\xe9"}\n', line(" "), line(GOOD[2], n=3)]
    ),
    "a.json": json.dumps([{"text": GOOD[0]}, {"text": [1]}, *({"text": text} for text in GOOD[1:])]).encode(),
    "a.csv": "text,n\n{},1\nwith,a,comma\n{},2\n{},3\n".format(*GOOD).encode() + b"caf\xe9,4\nbehind it,5\n",
    "a.txt": b"\xe9 no text",
}  # fmt: skip
UNREADABLE = {"a.jsonl": ["line 2", "line 3", "line 5"], "a.json": ["line 2"], "a.csv": ["line 3", "line 6"], "a.txt": ["line 1"]}


@pytest.mark.parametrize("name", FILES)
def test_bad_records_are_refused_or_left_out_and_the_others_are_as_they_were(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name])
    with pytest.raises(PliantError, match=rf"{name} {UNREADABLE[name][0]}: "):
        list(Corpus.parse(str(path)).documents("all"))
    corpus = Corpus(source=str(path), field=None, skip_bad=True)
    if name == "a.txt":
        with pytest.raises(PliantError, match="the corpus is empty"):
            list(corpus.documents("all"))
        return
    assert [document.text for document in corpus.documents("all")] == GOOD
    found = corpus.left_out("all")
    bad = [told.partition(": ")[2] for told in found.listed if told.startswith("unreadable: ")]
    assert [told.removeprefix(f"{path} ").partition(":")[0] for told in bad] == UNREADABLE[name]
    assert found.counts["unreadable"] == len(UNREADABLE[name])
    assert found.counts["empty"] == (name == "a.jsonl")
    (tmp_path / "out").mkdir()
    write_excerpt(corpus, np.array([True, False, True]), tmp_path / "out")
    assert [document.text for document in Corpus.parse(str(tmp_path / "out")).documents("all")] == [GOOD[0], GOOD[2]]
    if name != "a.json":
        assert list(said_of_documents(corpus, "n")) == ["1", "2", "3"]


def test_shards_that_are_cut_short_give_what_comes_before(tmp_path: Path) -> None:
    whole = [f"text {number} of a shard, {number * 7919}" for number in range(3000)]
    (tmp_path / "s").mkdir()
    packed = gzip.compress(b"".join(map(line, whole)))
    (tmp_path / "s" / "a.jsonl.gz").write_bytes(packed[: len(packed) // 2])
    (tmp_path / "s" / "b.jsonl").write_bytes(b"")
    (tmp_path / "s" / "c.jsonl").write_bytes(line("last"))
    with pytest.raises(PliantError, match=r"a\.jsonl\.gz: is damaged or was cut short"):
        Corpus.parse(str(tmp_path / "s")).left_out()
    corpus = Corpus(source=str(tmp_path / "s"), field=None, skip_bad=True)
    texts = [document.text for document in corpus.documents("all")]
    assert 100 < len(texts) < len(whole)
    assert texts[-1] == "last"
    assert texts[:-1] == whole[: len(texts) - 1]
    found = corpus.left_out()
    assert (found.counts["unreadable"], found.counts["empty"]) == (1, 1)
    assert "left out from there to the end of the file" in found.listed[0]
    assert found.listed[1].startswith(f"empty: {tmp_path}")
    (tmp_path / "out").mkdir()
    write_excerpt(corpus, np.ones(len(texts), bool), tmp_path / "out")
    assert [document.text for document in Corpus.parse(str(tmp_path / "out")).documents("all")] == texts
    pq.write_table(pa.table({"text": whole}), tmp_path / "p.parquet")
    (tmp_path / "p.parquet").write_bytes((tmp_path / "p.parquet").read_bytes()[:-100])
    (tmp_path / "q.parquet").write_bytes(b"")
    pq.write_table(pa.table({"text": GOOD}), tmp_path / "r.parquet")
    tables = Corpus(source=str(tmp_path / "[pr].parquet"), field=None, skip_bad=True)
    assert [document.text for document in tables.documents("all")] == GOOD
    assert "p.parquet: is damaged" in tables.left_out().listed[0]


def test_repeats_long_documents_and_the_other_part_are_counted(tmp_path: Path) -> None:
    long = "".join(f"line {number}\n" for number in range(12_000))
    (tmp_path / "a.jsonl").write_bytes(b"".join(map(line, ["one", "two", "one", long, "two", "one"])))
    corpus = Corpus.parse(str(tmp_path / "a.jsonl"))
    found = corpus.left_out("all")
    pieces = len(list(corpus.documents("all"))) - 2
    assert (found.counts["repeated"], found.counts["cut"], found.counts["not_asked"]) == (3, 1, 0)
    one, two = (next(document.id for document in corpus.documents("all") if document.text == text) for text in ("one", "two"))
    assert found.listed == [
        f"cut: {tmp_path}/a.jsonl line 4: is long, and is read in {pieces} pieces",
        f"repeated: document 3 is document 1 again, with the id {one}",
        f"repeated: document {pieces + 4} is document 2 again, with the id {two}",
        f"repeated: document {pieces + 5} is document 1 again, with the id {one}",
    ]
    parts = [corpus.left_out(part).counts for part in ("train", "heldout")]
    assert sum(part["not_asked"] for part in parts) == pieces + 2
    assert sum(part["repeated"] for part in parts) == 3


def test_whether_bad_ones_are_left_out_is_in_the_form_only_where_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b"".join(map(line, GOOD)))
    strict = Corpus.parse(str(tmp_path / "a.jsonl"))
    lenient = strict.model_copy(update={"skip_bad": True})
    assert strict.canonical() == {"kind": "corpus", "source": strict.source, "field": None}
    assert Corpus.parse({name: value for name, value in lenient.canonical().items() if name != "kind"}) == lenient
    assert strict.fingerprint() == lenient.fingerprint()  # the same text


def test_tables_list_lines_that_are_no_json_as_well(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    rows = [{"instruction": f"do {n}", "input": "this", "output": "done"} for n in (1, 2, 1)]
    path.write_text('{"instr\n' + "\n".join(map(json.dumps, rows)) + '\n[1]\n{"instruction": "do", "input": "", "output": ""}\n')
    with pytest.raises(PliantError, match=r"t\.jsonl line 1: "):
        Contexts(source=str(path)).left_out()
    found = Contexts(source=str(path), skip_bad=True).left_out()
    assert (found.counts["unreadable"], found.counts["repeated"]) == (3, 1)
    assert [told.split(f"{path} ")[1][:6] for told in found.listed] == ["line 1", "line 4", "line 5", "line 6"]


class Other(Preferences):
    """Another kind of table with the same fields."""


def test_one_file_as_several_kinds_of_table_has_sequences_of_each(tmp_path: Path) -> None:
    rows = [{"prompt": f"say {n}", "completion": f"word {n}", "chosen": f"yes {n}", "rejected": "no"} for n in range(20)]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = load_tokenizer("ascii")
    dialogues, pairs, others = (kind(source=str(tmp_path / "t.jsonl")) for kind in (Table, Preferences, Other))
    assert len({dialogues.fingerprint(), pairs.fingerprint(), others.fingerprint()}) == 3
    assert len(dialogues.sequences(words, "all", 32)) == 20
    assert len(pairs.sequences(words, "all", 32)) == 40
