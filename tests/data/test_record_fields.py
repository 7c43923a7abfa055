"""Missing, null and empty are one thing; templates; what is no text is refused."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow
import pytest
from pyarrow import parquet

from pliant.data import ByteTokenizer, Corpus, fields, packed
from pliant.errors import PliantError

RECORDS: list[dict[str, Any]] = [
    {"instruction": "Name a bird.", "input": "a small one", "output": "wren"},
    {"instruction": "Name a fish.", "input": None, "output": "cod"},
    {"instruction": "Name a tree.", "input": 'a tall, "old" one\nby a lake', "output": "fir"},
]
EXPECTED = ["Name a bird.\na small one\nwren", "Name a fish.\ncod", 'Name a tree.\na tall, "old" one\nby a lake\nfir']
TEMPLATE = "{instruction}|{input}|{output}"
FILLED = ["Name a bird.|a small one|wren", "Name a fish.||cod", 'Name a tree.|a tall, "old" one\nby a lake|fir']


def filled(value: str | None, leave_out: bool = False) -> list[dict[str, Any]]:
    """The records with another form of the absent input."""
    found = [{name: value if text is None else text for name, text in record.items()} for record in RECORDS]
    return [{name: text for name, text in record.items() if not (leave_out and text is None)} for record in found]


def write_csv(path: Path, delimiter: str = ",", **options: Any) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, ["instruction", "input", "output"], delimiter=delimiter, **options)
        writer.writeheader()
        writer.writerows(filled(""))


def lines(records: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


FORMS = {
    "null.jsonl": lambda path: path.write_text(lines(RECORDS)),
    "empty.jsonl": lambda path: path.write_text(lines(filled(""))),
    "missing.jsonl": lambda path: path.write_text(lines(filled(None, leave_out=True))),
    "missing_first.jsonl": lambda path: path.write_text(lines(filled(None, leave_out=True)[1:2] + RECORDS)),
    "null.json": lambda path: path.write_text(json.dumps(RECORDS)),
    "missing.json": lambda path: path.write_text(json.dumps(filled(None, leave_out=True), indent=1)),
    "null.parquet": lambda path: parquet.write_table(pyarrow.Table.from_pylist(RECORDS), path),
    "empty.parquet": lambda path: parquet.write_table(pyarrow.Table.from_pylist(filled("")), path),
    "empty.csv": write_csv,
    "semicolons.csv": lambda path: write_csv(path, ";"),
    "quoted.csv": lambda path: write_csv(path, quoting=csv.QUOTE_ALL, lineterminator="\r\n"),
    "tabs.tsv": lambda path: write_csv(path, "\t"),
}


def texts(path: Path, field: str | None = None) -> list[str]:
    return [document.text for document in Corpus(source=str(path), field=field).documents("all")]


@pytest.mark.parametrize("form", FORMS)
def test_null_missing_and_empty_are_one_thing_in_every_format(tmp_path: Path, form: str) -> None:
    FORMS[form](tmp_path / form)
    found, templated = texts(tmp_path / form), texts(tmp_path / form, TEMPLATE)
    assert sorted(found) == sorted(EXPECTED)
    assert sorted(templated) == sorted(FILLED)
    assert texts(tmp_path / form, "input") == ["a small one", 'a tall, "old" one\nby a lake']


def test_a_table_without_the_column_is_like_one_that_is_empty(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.Table.from_pylist([{"instruction": "a", "output": "b"}]), tmp_path / "a.parquet")
    parquet.write_table(pyarrow.Table.from_pylist(RECORDS[:1]), tmp_path / "b.parquet")
    assert texts(tmp_path, TEMPLATE) == ["a||b", FILLED[0]]
    assert texts(tmp_path) == ["a\nb", EXPECTED[0]]
    with pytest.raises(PliantError, match=r"no field 'inputs' in any of 2 records; did you mean 'input'"):
        texts(tmp_path, "{instruction}{inputs}")


def test_published_records_without_input(shared_data: Path) -> None:
    folder = shared_data / "faults" / "null-input"
    found = {packed(Corpus(source=str(path)), ByteTokenizer(), "all").fingerprint for path in folder.glob("alpaca_*")}
    assert len(found) == 1


def test_records_without_text_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n{"text": null}\n{}\n{"id": 7}\n{"text": ""}\n{"text": "b"}\n')
    assert texts(tmp_path / "a.jsonl") == texts(tmp_path / "a.jsonl", "text") == ["a", "b"]
    parquet.write_table(pyarrow.table({"text": ["a", None, "b"]}), tmp_path / "a.parquet")
    assert texts(tmp_path / "a.parquet") == ["a", "b"]


def test_records_of_several_kinds_are_each_read_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(
        '{"text": "t"}\n{"question": "q", "answer": 1}\n{"prompt": "p", "completion": "c"}\n{"prompt": "p", "response": "r"}\n'
    )
    assert texts(tmp_path / "a.jsonl") == ["t", "q\n1", "p\nc", "p\nr"]


def test_braces(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": "1", "b": "2"}\n')
    assert texts(tmp_path / "a.jsonl", "{{{a}}} {b}{{}}") == ["{1} 2{}"]


@pytest.mark.parametrize("field", ["{a", "a}{b}", "{}", "{a}{", "{{a}}", "{a{b}}", "{ {a} }", "}{", "{" * 100_000])
def test_a_template_with_braces_that_belong_to_no_field(field: str) -> None:
    with pytest.raises(PliantError, match=r"the template .*field") as caught:
        Corpus.parse({"source": "a.jsonl", "field": field})
    assert len(str(caught.value)) < 300


def test_an_empty_field_is_none() -> None:
    with pytest.raises(PliantError, match="must not be empty"):
        Corpus.parse({"source": "a.jsonl", "field": ""})


def test_a_name_that_no_record_has_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fields, "PATIENCE", 10)
    (tmp_path / "a.jsonl").write_text('{"text": "a"}\n' * 50)
    with pytest.raises(PliantError, match=r"a.jsonl line 10: no field 'txt' in any of 10 records; did you mean 'text'"):
        texts(tmp_path / "a.jsonl", "{txt}")


NO_TEXT: dict[str, tuple[Any, str | None, str]] = {  # value of the field `text`, field, complaint
    "whole number": (3, None, "holds a number, not text; name another, or write '{text}'"),
    "number": (2.5, "text", "holds a number, not text"),
    "truth": (True, None, "holds true or false, not text"),
    "mapping": ({"en": "a"}, None, "holds a mapping, not text"),
    "list": (["a"], None, "holds a list, not text"),
    "chat": ([{"role": "user", "content": "a"}], None, "holds a chat .*apply_chat_template"),
    "chat in a template": ([{"role": "user", "content": "a"}], "{text}", "holds a chat"),
}


@pytest.mark.parametrize("kind", ["a.jsonl", "a.parquet"])
@pytest.mark.parametrize("case", NO_TEXT)
def test_what_is_no_text(tmp_path: Path, kind: str, case: str) -> None:
    value, field, message = NO_TEXT[case]
    if kind == "a.jsonl":
        (tmp_path / kind).write_text(json.dumps({"text": value, "id": 1}))
    else:
        parquet.write_table(pyarrow.Table.from_pylist([{"text": value, "id": 1}]), tmp_path / kind)
    with pytest.raises(PliantError, match=f"(line|row) 1: field 'text' {message}") as caught:
        texts(tmp_path / kind, field)
    assert len(str(caught.value).splitlines()) == 1


def test_digits_are_text_where_they_are_asked_for(tmp_path: Path) -> None:
    parquet.write_table(pyarrow.table({"n": [12, None], "x": [0.5, float("nan")]}), tmp_path / "a.parquet")
    assert texts(tmp_path / "a.parquet", "{n} {x}") == ["12 0.5"]


@pytest.mark.parametrize("name", ["messages", "conversations"])
def test_chats_say_what_they_are(tmp_path: Path, name: str) -> None:
    record = {"id": 1, name: [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}
    (tmp_path / "a.jsonl").write_text(json.dumps(record))
    parquet.write_table(pyarrow.Table.from_pylist([record]), tmp_path / "a.parquet")
    for path in tmp_path.iterdir():
        with pytest.raises(PliantError, match=f"1: field '{name}' holds a chat .*store it as"):
            texts(path)


def test_published_chats(shared_data: Path) -> None:
    for path in sorted((shared_data / "faults" / "chat-messages").glob("*.*")):
        with pytest.raises(PliantError, match="holds a chat"):
            texts(path)


TABLES: dict[str, tuple[str, str | None, str]] = {  # content, field, complaint
    "no usual column": ("title,abstract\na,b\n", None, "which field is the text. There are title, abstract; say field"),
    "only column": ("Once upon a time\nthere was\n", None, "whose only column is called 'Once upon a time'; say field"),
    "unknown column": ("text,id\na,1\n", "txt", "no field 'txt'; did you mean 'text'"),
    "twice": ("text,text\na,b\n", None, "2 columns are called 'text'"),
    "too many cells": ("text,id\na,1\nb, c,2\n", None, "line 3: has 3 cells where the first row has 2"),
    "too few cells": ("text,id\na\n", None, "line 2: has 1 cells"),
    "open quote": ('text,id\n"a,1\nb,2\n', None, "is no such table .*a quote may be open"),
    "encoding": ("text,id\ncaf\udce9,1\n", None, "line 2: is not UTF-8 text .byte 0xe9.*Latin-1.*'é'"),
    "nothing": ("text,id\n", None, "the corpus is empty"),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_table_of_text_is_never_read_as_plain_text(tmp_path: Path, case: str) -> None:
    content, field, message = TABLES[case]
    (tmp_path / "a.csv").write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises(PliantError, match=message) as caught:
        texts(tmp_path / "a.csv", field)
    assert len(str(caught.value).splitlines()) == 1


def test_columns_of_tables_of_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'\xef\xbb\xbfid,story\r\n1,"a, ""b""\r\nc"\r\n\r\n2,d\r\n')
    assert texts(tmp_path / "a.csv", "story") == ['a, "b"\nc', "d"]
    assert texts(tmp_path / "a.csv", "{id}: {story}") == ['1: a, "b"\nc', "2: d"]
    (tmp_path / "b.csv").write_text("text\na\nb\n")
    assert texts(tmp_path / "b.csv") == ["a", "b"]
    (tmp_path / "c.csv").write_text(f"text,id\n{'x' * 200_000},1\n")
    assert "".join(texts(tmp_path / "c.csv")) == "x" * 200_000 or len(texts(tmp_path / "c.csv")) == 2  # pieces that repeat are read once
