from __future__ import annotations

import gzip
import hashlib
import json
import lzma
import os
import random
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyarrow import feather, parquet

from pliant.data import Corpus
from pliant.data import corpus as corpus_module
from pliant.data.readers import PIECE, pieces
from pliant.errors import PliantError
from pliant.spec import Spec

TEXTS = [f"Document number {number}: “naïve” 中 🙂\nand a second line\n" for number in range(40)]
LINES = "".join(json.dumps({"text": text, "source": "x"}) + "\n" for text in TEXTS).encode()
TABLE = pyarrow.table({"source": ["x"] * len(TEXTS), "text": TEXTS})


def compressed(content: bytes) -> bytes:
    return pyarrow.compress(content, codec="zstd", asbytes=True)


def write_stream(path: Path) -> None:
    with pyarrow.OSFile(str(path), "wb") as sink, pyarrow.ipc.new_stream(sink, TABLE.schema) as writer:
        writer.write_table(TABLE, max_chunksize=7)


WRITERS: dict[str, Callable[[Path], Any]] = {
    "a.jsonl": lambda path: path.write_bytes(LINES),
    "a.ndjson": lambda path: path.write_bytes(b"\xef\xbb\xbf" + LINES.replace(b"\n", b"\r\n\n")),
    "a.jsonl.gz": lambda path: path.write_bytes(gzip.compress(LINES[:1000]) + gzip.compress(LINES[1000:])),
    "a.jsonl.xz": lambda path: path.write_bytes(lzma.compress(LINES)),
    "a.jsonl.zst": lambda path: path.write_bytes(compressed(LINES[:1000]) + compressed(LINES[1000:])),
    "a.json": lambda path: path.write_text(json.dumps([{"text": text} for text in TEXTS], indent=2)),
    "strings.json": lambda path: path.write_text(json.dumps(TEXTS, ensure_ascii=False), encoding="utf-8"),
    "lines.json": lambda path: path.write_bytes(LINES),
    "a.parquet": lambda path: parquet.write_table(TABLE, path, row_group_size=11),
    "a.feather": lambda path: feather.write_feather(TABLE, str(path)),
    "a.arrow": write_stream,
}


def parse(source: object, **fields: str) -> Corpus:
    return Corpus.parse({"source": str(source), **fields} if fields else str(source))


def all_texts(source: object, **fields: str) -> list[str]:
    return [document.text for document in parse(source, **fields).documents("all")]


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_documents(tmp_path: Path, name: str) -> None:
    WRITERS[name](tmp_path / name)
    documents = list(parse(tmp_path / name).documents("all"))
    assert [document.text for document in documents] == TEXTS
    assert [document.id for document in documents] == [hashlib.sha256(text.encode()).hexdigest()[:16] for text in TEXTS]


def test_a_folder_a_glob_and_a_file_of_the_same_text_share_a_fingerprint(tmp_path: Path) -> None:
    (tmp_path / "one" / "deep").mkdir(parents=True)
    (tmp_path / "one" / "README.md").write_text("not part of it")
    (tmp_path / "one" / ".hidden.jsonl").write_text("{")
    lines = LINES.splitlines(keepends=True)
    (tmp_path / "one" / "a.jsonl").write_bytes(b"".join(lines[:10]))
    (tmp_path / "one" / "deep" / "b.jsonl.xz").write_bytes(lzma.compress(b"".join(lines[10:])))
    (tmp_path / "all.jsonl").write_bytes(LINES)
    fingerprints = {parse(tmp_path / place).fingerprint() for place in ("one", "one/**/*.jsonl*", "all.jsonl")}
    assert len(fingerprints) == 1
    (tmp_path / "all.jsonl").write_bytes(LINES + b'{"text": "more"}\n')
    assert parse(tmp_path / "all.jsonl").fingerprint() not in fingerprints


def test_a_folder_of_text_files_is_a_document_each(tmp_path: Path) -> None:
    (tmp_path / "b.md").write_bytes(b"\xef\xbb\xbfsecond\r\nline")
    (tmp_path / "a.txt.gz").write_bytes(gzip.compress(b"first"))
    (tmp_path / "c").write_text(" \n ")
    (tmp_path / "d.txt").touch()
    assert all_texts(tmp_path) == ["first", "second\nline"]


def test_repeats_and_white_space_are_dropped(jsonl: Callable[..., str]) -> None:
    assert all_texts(jsonl(["a", " ", "b", "a", "", "c", "b"])) == ["a", "b", "c"]


def test_parts(jsonl: Callable[..., str]) -> None:
    corpus = parse(jsonl(TEXTS))
    train, held, everything = ({document.id for document in corpus.documents(part)} for part in ("train", "heldout", "all"))
    assert train | held == everything
    assert not train & held
    assert held == {name for name in everything if int(name, 16) < 0.1 * 2**64} or len(held) == 1


@given(st.lists(st.text("ab\n", max_size=3000), max_size=8), st.sampled_from([0, 5000, 10**9]))
def test_pieces_are_the_whole_text_and_short(blocks: list[str], longest: int) -> None:
    cut = list(pieces(blocks, longest))
    text = "".join(blocks)
    assert "".join(cut) == text
    if len(text) <= longest:
        assert cut == [text]
    else:
        assert all(len(piece) <= PIECE for piece in cut)
        assert all(len(piece) > PIECE // 2 for piece in cut[:-1])
    assert cut == list(pieces([text], longest))  # however it arrives


def test_a_single_text_file_and_a_very_long_document_are_cut(tmp_path: Path, jsonl: Callable[..., str]) -> None:
    generator = random.Random(0)
    text = "".join(generator.choice("abcdefgh \n") for _ in range(70_000))
    (tmp_path / "book.txt").write_text(text)
    book = all_texts(tmp_path / "book.txt")
    assert "".join(book) == text
    assert max(map(len, book)) <= 4096
    assert list(parse(tmp_path / "book.txt").documents("heldout"))
    assert all_texts(jsonl([text, "short"])) == [*book, "short"]
    assert all_texts(jsonl([text[:65_536], "short"], "shorter.jsonl")) == [text[:65_536], "short"]


def test_fields(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "1+1?", "answer": 2}\n{"question": "2+2?", "answer": 4}\n')
    assert all_texts(path) == ["1+1?\n2", "2+2?\n4"]
    assert all_texts(path, field="question") == ["1+1?", "2+2?"]
    assert all_texts(path, field="{question}\n{answer}") == ["1+1?\n2", "2+2?\n4"]
    assert all_texts(path, field=r"Q: {question}\nA: {answer}") == ["Q: 1+1?\nA: 2", "Q: 2+2?\nA: 4"]
    parquet.write_table(pyarrow.table({"question": ["a"], "answer": ["b"], "other": [[1]]}), tmp_path / "a.parquet")
    assert all_texts(tmp_path / "a.parquet", field="{question} {answer}") == ["a b"]
    parquet.write_table(pyarrow.table({"story": ["a", "b"]}), tmp_path / "one.parquet")
    assert all_texts(tmp_path / "one.parquet") == ["a", "b"]


def test_a_lone_surrogate_becomes_a_replacement_character(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a\\ud800b 🙂"}\n', encoding="utf-8")
    assert all_texts(tmp_path / "a.jsonl") == ["a\ufffdb 🙂"]


QUESTION = '{"question": "a", "answer": "b"}\n'
GOOD = '{"text": "a"}\n'

BAD_FILES: dict[str, tuple[str, bytes | str, str | None, str]] = {  # file, content, field, complaint
    "empty": ("a.txt", "", None, "the corpus is empty"),
    "blank": ("a.jsonl", '{"text": " "}\n\n', None, "the corpus is empty"),
    "encoding": ("a.txt", b"ok\nok\n\xff\xfe bad", None, "a.txt line 3: is not UTF-8"),
    "cut character": ("a.txt", b"ok\n\xe2\x80", None, "a.txt line 2: is not UTF-8"),
    "json encoding": ("a.jsonl", GOOD.encode() + b'{"text": "\xff"}\n', None, "a.jsonl line 2: is not UTF-8"),
    "json": ("a.jsonl", GOOD + '{"text": \n' + GOOD, None, r"a.jsonl line 2: is not valid JSON \(Expecting value: column 9"),
    "json list": ("a.json", '[{"text": "a"},\n{"text": "b"}\n', None, r"a.json: is not valid JSON \(.* line 3 "),
    "json object": ("a.json", '{\n "text": "a"\n}\n', None, "a.json line 1: is not valid JSON .* one record a line, or one list"),
    "json number": ("a.jsonl", GOOD + "17\n", None, "line 2: a record must be a mapping of fields, not a number"),
    "json depth": ("a.jsonl", "[" * 200_000, None, "a.jsonl line 1: is not valid JSON .*nested too deeply"),
    "list": ("a.jsonl", '{"text": ["a"]}\n', None, "line 1: field 'text' holds a list, not text"),
    "no usual field": ("a.jsonl", '{"title": "a", "abstract": "b"}\n', None, "There are title, abstract; say field"),
    "field": ("a.jsonl", QUESTION, "qestion", "no field 'qestion' in any of 1 records; did you mean 'question'"),
    "template": ("a.jsonl", QUESTION, "{question}{anser}", "no field 'anser' in any of 1 records; did you mean 'answer'"),
    "text field": ("a.txt", "a", "text", "is plain text, which has no fields"),
    "gz": ("a.txt.gz", gzip.compress(b"abc" * 1000)[:-12], None, "a.txt.gz: is damaged or was cut short"),
    "gz garbage": ("a.txt.gz", b"not gzip", None, "a.txt.gz: is damaged"),
    "gz bits": ("a.txt.gz", gzip.compress(random.Random(0).randbytes(1000))[:500] + b"x" * 500, None, "a.txt.gz"),
    "xz": ("a.jsonl.xz", lzma.compress(LINES)[:-40], None, "a.jsonl.xz: is damaged"),
    "xz garbage": ("a.jsonl.xz", b"garbage", None, "a.jsonl.xz: is damaged"),
    "zst": ("a.jsonl.zst", compressed(LINES)[:-40], None, "a.jsonl.zst: is damaged"),
    "zst garbage": ("a.jsonl.zst", b"garbage garbage", None, "a.jsonl.zst: is damaged"),
    "parquet": ("a.parquet", b"PAR1 no", None, "a.parquet: is damaged or no parquet file"),
    "arrow": ("a.arrow", b"no arrow here", None, "a.arrow: is damaged or no arrow file"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_gives_one_clear_line(tmp_path: Path, case: str) -> None:
    name, content, field, message = BAD_FILES[case]
    (tmp_path / name).write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(PliantError, match=message) as caught:
        list(Corpus(source=str(tmp_path / name), field=field).documents("train"))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("corpse.txt", "corpse.txt: no such file or folder; did you mean 'corpus.txt'"),
        ("no/where.txt", "no such file or folder$"),
        ("*.md", "no file has such a name"),
        ("folder", "folder: the folder holds no text"),
    ],
)
def test_a_source_that_is_not_there_gives_one_clear_line(tmp_path: Path, source: str, message: str) -> None:
    (tmp_path / "corpus.txt").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(PliantError, match=message):
        all_texts(tmp_path / source)


def test_names_that_are_none() -> None:
    with pytest.raises(PliantError, match="unknown corpus builtin:prosa; did you mean 'prose'"):
        all_texts("builtin:prosa")
    with pytest.raises(PliantError, match="is no address of a data set"):
        all_texts("hub:a b")


def test_a_column_that_is_not_there(tmp_path: Path) -> None:
    parquet.write_table(TABLE, tmp_path / "a.parquet")
    with pytest.raises(PliantError, match=r"a\.parquet: no field 'txt'; did you mean 'text'"):
        all_texts(tmp_path / "a.parquet", field="txt")


def test_a_parquet_file_with_damaged_pages(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": [os.urandom(50).hex() for _ in range(2000)]}), path)
    content = bytearray(path.read_bytes())
    content[100:20_000] = os.urandom(19_900)
    path.write_bytes(bytes(content))
    with pytest.raises(PliantError, match=r"a\.parquet"):
        all_texts(path)


def test_a_hub_data_set_without_the_extra_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(PliantError, match=r"pip install 'pliant\[hub\]'"):
        all_texts("hub:owner/name")


def test_a_hub_data_set_is_read_from_the_files_of_the_library(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked = []

    def load_dataset(name: str, config: str | None, *, revision: str | None, split: str) -> SimpleNamespace:
        asked.append((name, config, revision, split))
        write_stream(tmp_path / "train.arrow")
        return SimpleNamespace(cache_files=[{"filename": str(tmp_path / "train.arrow")}])

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=load_dataset))
    assert all_texts("hub:owner/name:main-config@refs/pr/1[test]") == TEXTS
    assert all_texts("hub:name") == TEXTS
    assert asked == [("owner/name", "main-config", "refs/pr/1", "test"), ("name", None, None, "train")]


def test_a_plain_string_is_a_corpus_in_any_spec() -> None:
    class Holder(Spec):
        data: Corpus

    assert Holder.parse({"data": "text.txt"}).data == Corpus(source="text.txt")
    assert Holder(data=Corpus(source="text.txt")).hash() == Holder.parse({"data": {"source": "text.txt"}}).hash()
    with pytest.raises(PliantError, match="did you mean 'field'"):
        Holder.parse({"data": {"source": "a", "feld": "b"}})
    with pytest.raises(PliantError):
        Holder.parse({"data": ""})


def test_reading_twice_reads_once_until_a_file_changes(jsonl: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    path = jsonl(TEXTS)
    before = parse(path).fingerprint()
    read, count = corpus_module.read, []

    def counted(*arguments: Any) -> Any:
        count.append(1)
        return read(*arguments)

    monkeypatch.setattr(corpus_module, "read", counted)
    assert parse(path).fingerprint() == before
    assert not count
    jsonl([*TEXTS, "one more"])
    assert parse(path).fingerprint() != before
    assert len(count) == 1


def test_a_file_that_grows_while_it_is_read_is_noticed(jsonl: Callable[..., str]) -> None:
    path = jsonl(TEXTS)
    documents = parse(path).documents("all")
    next(documents)
    jsonl([*TEXTS[:-1], "another"])
    with pytest.raises(PliantError, match="changed while it was read"):
        list(documents)


def test_characters(jsonl: Callable[..., str]) -> None:
    corpus = parse(jsonl([*TEXTS, *TEXTS]))
    assert corpus.characters("all") == sum(map(len, TEXTS))
    assert corpus.characters("train") == sum(len(document.text) for document in corpus.documents("train"))


@pytest.mark.parametrize("size", [0, 100, -1])
def test_a_damaged_cache_is_made_anew(jsonl: Callable[..., str], cache: Path, size: int) -> None:
    corpus = parse(jsonl(TEXTS))
    before = corpus.fingerprint()
    (stored,) = (cache / "corpora").glob("*.npz")
    whole = stored.read_bytes()
    middle = len(whole) // 2
    stored.write_bytes(whole[:size] if size >= 0 else whole[:middle] + bytes([whole[middle] ^ 4]) + whole[middle + 1 :])
    for damaged in (cache / "contents").glob("*.json"):
        damaged.write_text("[[" if size else '{"a": 1}')
    assert corpus.fingerprint() == before
    assert stored.read_bytes()[:2] == b"PK"


def test_a_large_file_is_streamed(tmp_path: Path) -> None:
    path = tmp_path / "large.txt.gz"
    with gzip.open(path, "wb", compresslevel=1) as stream:
        for number in range(300):
            stream.write(f"{number:09d} some text\n".encode() * 5000)  # 30 MB in all
    corpus = parse(path)
    tracemalloc.start()
    assert sum(len(document.text) for document in corpus.documents("train")) > 2_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8e6


def test_published_text_with_independent_counts(shared_data: Path) -> None:
    path = shared_data / "text" / "web_tldr.jsonl.xz"
    with lzma.open(path) as stream:
        expected = list(dict.fromkeys(json.loads(line)["text"] for line in stream))
    assert max(map(len, expected)) <= 65_536
    assert all_texts(path) == [text for text in expected if text.strip()]


def test_grade_school_mathematics(shared_data: Path) -> None:
    path = shared_data / "finetune" / "gsm8k" / "train.jsonl"
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    expected = [f"{record['question']}\n{record['answer']}" for record in records]
    assert all_texts(path, field="{question}\n{answer}") == expected
    assert all_texts(path) == expected
    with pytest.raises(PliantError, match="did you mean 'question'"):
        all_texts(path.parent, field="Question")
