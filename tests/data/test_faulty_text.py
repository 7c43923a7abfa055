"""Whatever a file holds: the right text or one line, never a traceback, an endless wait or memory without bound."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import json
import lzma
import os
import random
from pathlib import Path

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from pliant.data import ByteTokenizer, Corpus, decoding, packed, records
from pliant.errors import PliantError

GOOD = b'{"text": "a"}\n'
LATIN = "Zoë was naïve.\n".encode("latin-1")

CASES: dict[str, tuple[str, bytes, str]] = {  # file, content, complaint
    "latin-1": ("a.txt", b"ok\n" + LATIN, r"a.txt line 2: is not UTF-8 text \(byte 0xeb: invalid continuation byte\). If it is Latin-1"),
    "latin-1 lines": (
        "a.jsonl",
        GOOD + b'{"text": "' + LATIN[:-1] + b'"}\n',
        r"a.jsonl line 2: is not UTF-8 .*'ë', convert it: iconv",
    ),
    "latin-1 list": ("a.json", b'[{"text": "a"},\n{"text": "' + LATIN[:-1] + b'"}]', "a.json line 2: is not UTF-8"),
    "utf-16": ("a.txt", "text".encode("utf-16"), "is UTF-16 text; convert it: iconv -f UTF-16 -t UTF-8 a.txt"),
    "utf-16 big": ("a.jsonl", b"\xfe\xff" + GOOD.decode().encode("utf-16-be"), "is UTF-16 text"),
    "utf-16 without mark": ("a.txt", "text".encode("utf-16-le"), "line 1: holds a NUL byte"),
    "utf-16 csv": ("a.csv", "text,id\na,1\n".encode("utf-16"), "is UTF-16 text"),
    "nul": ("a.txt", b"one\ntwo\0\n", "line 2: holds a NUL byte"),
    "nul lines": ("a.jsonl", GOOD + b'{"text": "\0"}\n', "line 2: holds a NUL byte"),
    "gzip by another name": ("a.txt", gzip.compress(b"text"), "is gzip data; let its name end in .gz"),
    "xz by another name": ("a.jsonl", lzma.compress(GOOD), "is xz data"),
    "bzip2": ("a.txt.bz2", bz2.compress(b"text"), "is bzip2 data; unpack it"),
    "zip": ("a.zip", b"PK\x03\x04 and more", "is a zip archive; unpack it"),
    "pdf": ("a.pdf", b"%PDF-1.4\n", "is a PDF document"),
    "table by another name": ("a.txt", b"PAR1 and more", "is a Parquet table"),
    "depth": ("a.jsonl", GOOD + b"[" * 10_000 + b"\n", "line 2: is not valid JSON .*nested too deeply"),
    "depth of mappings": ("a.jsonl", b'{"text":' * 10_000, "nested too deeply"),
    "depth of a list": ("a.json", b"[" * 100_000 + b"]" * 100_000, "nested too deeply"),
    "huge whole number": ("a.jsonl", b'{"text": ' + b"9" * 400 + b"}\n", "line 1: is not valid JSON .*beyond what a whole number can be"),
    "huge number": ("a.jsonl", b'{"text": "a", "n": 1e999}\n', "beyond what a number can be"),
    "nan": ("a.jsonl", b'{"text": NaN}\n', "NaN is not a number"),
    "string in a list": ("a.json", b'["a", 3]', "line 2: a record must be a mapping of fields, not a number"),
    "null record": ("a.jsonl", b"null\n", "line 1: a record must be a mapping of fields, not null"),
    "empty gz": ("a.txt.gz", gzip.compress(b""), "the corpus is empty"),
    "empty list": ("a.json", b"[]", "the corpus is empty"),
    "empty xz": ("a.jsonl.xz", lzma.compress(b""), "the corpus is empty"),
    "nothing": ("a.parquet", b"", "the corpus is empty"),
}


def texts(path: Path, field: str | None = None) -> list[str]:
    return [document.text for document in Corpus(source=str(path), field=field).documents("all")]


@pytest.mark.parametrize("case", CASES)
def test_one_clear_line(tmp_path: Path, case: str) -> None:
    name, content, message = CASES[case]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(PliantError, match=message) as caught:
        texts(tmp_path / name)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("name", ["a.jsonl", "a.txt", "a.csv", "a.json", "a.jsonl.gz", "a.txt.xz"])
def test_a_line_without_end_is_bounded_whatever_it_is_packed_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(decoding, "LONGEST_LINE", 3 << 20)
    monkeypatch.setattr(records, "LONGEST_LINE", 3 << 20)
    monkeypatch.setattr(records, "LARGEST_LIST", 3 << 20)
    content = (b"[1,\n" if name == "a.json" else b"text\n" if name == "a.csv" else b"") + b" x" * (3 << 20)
    packers = {".gz": gzip.compress, ".xz": lzma.compress}
    (tmp_path / name).write_bytes(packers.get(Path(name).suffix, bytes)(content))
    with pytest.raises(PliantError, match=r"is longer than a line can be|is larger than a list can be"):
        texts(tmp_path / name)


def test_empty_lines_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoding, "EMPTY_LINES", 1000)
    (tmp_path / "a.jsonl").write_bytes(GOOD + b"\n" * 1000 + b'{"text": "b"}')
    assert texts(tmp_path / "a.jsonl") == ["a", "b"]
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(GOOD + b"\n" * 1002))
    with pytest.raises(PliantError, match="line 1002: a million empty lines in a row"):
        texts(tmp_path / "b.jsonl.gz")


def test_a_large_document_is_cut_into_pieces(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    text = generator.integers(97, 123, 20_000_000, np.uint8).tobytes().decode()
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": text}))
    assert "".join(texts(tmp_path / "a.jsonl")) == text


def test_a_list_after_empty_lines_and_records_over_lines(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf\n\n [\n" + GOOD + b",\n" + GOOD.replace(b"a", b"b") + b"]\n")
    assert texts(tmp_path / "a.json") == ["a", "b"]
    (tmp_path / "a.json").write_bytes(b"\n\n[\n" + GOOD + b",\nx]")
    with pytest.raises(PliantError, match="line 6 column 1"):
        texts(tmp_path / "a.json")


def test_surrogates_are_replaced_in_every_format_that_can_spell_them(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "\\ud800 \\udc00\\ud83d\\ude42"}\n')
    (tmp_path / "a.json").write_text('["\\ud800 \\udc00\\ud83d\\ude42"]')
    for name in ("a.jsonl", "a.json"):
        corpus = Corpus(source=str(tmp_path / name))
        assert texts(tmp_path / name) == ["\ufffd \ufffd🙂"]
        assert bytes(packed(corpus, ByteTokenizer(), "all").tokens).decode() == "\ufffd \ufffd🙂"


def test_text_in_a_table_that_is_no_utf_8(tmp_path: Path) -> None:
    column = pyarrow.array([b"fine", b"\xff\xfe"], pyarrow.binary()).view(pyarrow.string())
    parquet.write_table(pyarrow.table({"text": column}), tmp_path / "a.parquet")
    table = pyarrow.table({"text": column})
    with pyarrow.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    for name in ("a.parquet", "a.arrow"):
        with pytest.raises(PliantError, match=f"{name}: is damaged or no .* file .*UTF8"):
            texts(tmp_path / name)


def test_two_columns_of_one_name(tmp_path: Path) -> None:
    table = pyarrow.Table.from_arrays([pyarrow.array(["a"]), pyarrow.array(["b"])], names=["text", "text"])
    parquet.write_table(table, tmp_path / "a.parquet")
    with pytest.raises(PliantError, match="2 columns are called 'text'"):
        texts(tmp_path / "a.parquet")


def whole(kind: str) -> bytes:
    texts = [f"text number {number} " * 20 for number in range(300)]
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts).encode()
    if kind == "parquet":
        sink = pyarrow.BufferOutputStream()
        parquet.write_table(pyarrow.table({"text": texts}), sink, row_group_size=50, write_page_checksum=True)
        return sink.getvalue().to_pybytes()
    if kind == "arrow":
        sink = pyarrow.BufferOutputStream()
        with pyarrow.ipc.new_stream(sink, pyarrow.schema({"text": "string"})) as writer:
            writer.write_table(pyarrow.table({"text": texts}), max_chunksize=50)
        return sink.getvalue().to_pybytes()
    return {"jsonl.gz": gzip.compress, "jsonl.xz": lzma.compress, "jsonl.zst": zstd}[kind](lines)


def zstd(content: bytes) -> bytes:
    return pyarrow.compress(content, codec="zstd", asbytes=True)


@pytest.mark.parametrize("kind", ["jsonl.gz", "jsonl.xz", "jsonl.zst", "parquet", "arrow"])
def test_damage_anywhere_gives_one_line_or_text(tmp_path: Path, kind: str) -> None:
    """Cut short at many places, and with bytes changed: never a traceback; and never quietly other text where a checksum is kept."""
    content, generator = whole(kind), random.Random(0)
    path = tmp_path / f"a.{kind}"
    path.write_bytes(content)
    expected = texts(path)
    for _ in range(25):
        path.write_bytes(content[: generator.randrange(1, len(content) - 20)])
        with pytest.raises(PliantError) as caught:
            texts(path)
        assert len(str(caught.value).splitlines()) == 1
    for _ in range(25):
        place = generator.randrange(len(content))
        path.write_bytes(content[:place] + bytes([content[place] ^ 1 << generator.randrange(8)]) + content[place + 1 :])
        with contextlib.suppress(PliantError):
            found = texts(path)
            assert found == expected or kind in ("arrow", "jsonl.zst")  # which keep no checksum


def test_a_file_that_claims_to_be_empty_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "a.txt").touch()
    os.truncate(tmp_path / "a.txt", 0)
    with pytest.raises(PliantError, match="the corpus is empty"):
        texts(tmp_path / "a.txt")


@pytest.mark.parametrize("name", ["a.txt", "a.jsonl", "a.csv", "a.json", "a.parquet", "a.txt.gz", "a.jsonl.xz", "a.jsonl.zst", "a.bin"])
def test_a_terabyte_of_nothing_is_refused_at_a_glance(tmp_path: Path, name: str) -> None:
    with (tmp_path / name).open("wb") as stream:
        stream.truncate(1 << 40)
    with pytest.raises(PliantError, match=f"{name}.*(NUL byte|is damaged)") as caught:
        texts(tmp_path / name)
    assert len(str(caught.value).splitlines()) == 1


def test_relative_paths_and_absolute_ones_are_the_same_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.jsonl").write_bytes(GOOD)
    monkeypatch.chdir(tmp_path)
    assert texts(Path("a.jsonl")) == texts(Path("./../") / tmp_path.name / "a.jsonl") == texts(tmp_path / "a.jsonl") == ["a"]
