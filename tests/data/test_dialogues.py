"""Fine-tuning data in every form it has, told apart by its columns."""

import csv
import json
from collections import Counter

import pytest

from pliant.data.dialogues import FORMATS, Turn, dialogue
from pliant.data.formats import format_of
from pliant.data.table import Table
from pliant.errors import PliantError

CHAT = [Turn("user", "How many?"), Turn("assistant", "Two.")]
RECORDS = {
    "messages": {"messages": [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": "Two."}]},
    "conversations": {"conversations": [{"from": "human", "value": "How many?"}, {"from": "gpt", "value": "Two."}]},
    "completion": {"prompt": "How many?", "completion": "Two."},
    "response": {"prompt": [{"role": "user", "content": "How many?"}], "response": "Two."},
    "alpaca": {"instruction": "How many?", "input": None, "output": "Two."},
    "question": {"question": "How many?", "answer": "Two.", "source": "me"},
}


@pytest.mark.parametrize("name", RECORDS)
def test_every_form_is_the_same_dialogue(name):
    record = RECORDS[name]
    assert format_of(list(record), FORMATS, "questions and answers").name == name
    assert dialogue(record, FORMATS[name]) == CHAT


@pytest.mark.parametrize(
    "record", [{"instruction": "a", "input": "b", "output": "c"}, {"instruction": "a\n\nb", "input": "", "output": "c"}]
)
def test_instruction_and_input_stand_apart(record):
    assert dialogue(record, FORMATS["alpaca"])[0] == Turn("user", "a\n\nb")


@pytest.mark.parametrize("nothing", [{}, {"input": None}, {"input": ""}, {"input": float("nan")}])
def test_null_missing_and_empty_are_one_thing(nothing):
    assert dialogue({"instruction": "a", "output": "b", **nothing}, FORMATS["alpaca"]) == [Turn("user", "a"), Turn("assistant", "b")]


BAD = [
    ({"question": "a", "answer": ""}, "answer in turn 2 is empty"),
    ({"question": "a", "answer": None}, "answer in turn 2 is empty"),
    ({"messages": [{"role": "user", "content": "a"}]}, "nobody answers"),
    ({"messages": None}, "nobody answers"),
    ({"messages": "hello"}, "not a list of turns"),
    ({"messages": ["hello"]}, "not a mapping with role and content"),
    ({"messages": [{"content": "a"}]}, "turn 1: has no role"),
    ({"messages": [{"role": "asistant", "content": "a"}]}, "did you mean 'assistant'"),
    ({"messages": [{"role": "assistant", "content": [{"type": "image"}]}]}, "not text"),
    ({"question": ["a"], "answer": {"b": 1}}, "not a mapping"),
]


ORDERS = [
    ("a", "nobody asks before the answer in turn 1"),
    ("sa", "nobody asks before the answer in turn 2"),
    ("aua", "nobody asks before the answer in turn 1"),
    ("uua", "turns 1 and 2 are both the user's"),
    ("uaa", "turns 2 and 3 are both the assistant's"),
    ("uasua", "turn 3 is the system's, which speaks first"),
    ("usa", "turn 2 is the system's, which speaks first"),
    ("ssua", "turn 2 is the system's, which speaks first"),
]


def spoken(order, key="role", value="content"):
    names = {"s": "system", "u": "user", "a": "assistant"}
    return [{key: names[letter], value: f"words {number}"} for number, letter in enumerate(order)]


@pytest.mark.parametrize(("order", "message"), ORDERS)
def test_turns_in_the_wrong_order_are_one_line_or_a_counted_skip(order, message, tmp_path, cache):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps({"conversations": spoken(turns, "from", "value")}) for turns in ("ua", order, "suaua")))
    with pytest.raises(PliantError, match=rf"a\.jsonl line 2: {message}"):
        list(Table(source=str(path)).dialogues("all"))
    counts = Counter()
    assert len(list(Table(source=str(path), skip_bad=True).dialogues("all", counts))) == 2
    assert counts == {"skipped": 1}


def test_turns_without_words_are_none_of_the_order():
    record = {"messages": [*spoken("u"), {"role": "user", "content": ""}, *spoken("a")]}
    assert [turn.role for turn in dialogue(record, FORMATS["messages"])] == ["user", "assistant"]


@pytest.mark.parametrize(("record", "message"), BAD)
def test_what_cannot_be_learned_from_is_said_in_one_line(record, message):
    with pytest.raises(PliantError, match=message):
        dialogue(record, format_of(list(record), FORMATS, "questions and answers"))


def test_columns_that_say_nothing_are_named():
    with pytest.raises(PliantError, match=r"There are colour, size; known are messages"):
        format_of(["size", "colour"], FORMATS, "questions and answers")


def written(folder, records):
    paths = [folder / name for name in ("a.jsonl", "a.json", "a.csv", "a.parquet")]
    paths[0].write_text("\n".join(map(json.dumps, records)))
    paths[1].write_text(json.dumps(records))
    with paths[2].open("w", newline="") as stream:
        table = csv.DictWriter(stream, ["question", "answer"])
        table.writeheader()
        table.writerows(records)
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist(records), paths[3])
    return paths


def test_every_kind_of_file_holds_the_same_dialogues(tmp_path, cache):
    records = [{"question": f"What is {n}?", "answer": f"A number, {n}"} for n in range(40)]
    found = [list(Table(source=str(path)).dialogues("all")) for path in written(tmp_path, [*records, records[0]])]
    assert len(found[0]) == 40, "what is repeated is read once"
    counts = Counter()
    list(Table(source=str(tmp_path / "a.jsonl")).dialogues("all", counts))
    assert counts == {"repeated": 1}
    assert found[0] == found[1] == found[2] == found[3]
    sides = [dict(Table(source=str(tmp_path / "a.jsonl")).dialogues(part)) for part in ("train", "heldout")]
    assert not sides[0].keys() & sides[1].keys()
    assert {**sides[0], **sides[1]} == dict(found[0])


def test_the_line_at_fault_is_named(tmp_path, cache):
    path = tmp_path / "a.jsonl"
    path.write_text('{"question": "a", "answer": "b"}\n{"question": "a", "answer": " "}\n')
    with pytest.raises(PliantError, match=r"a\.jsonl line 2: the answer in turn 2 is empty"):
        list(Table(source=str(path)).dialogues("all"))
    counts = Counter()
    assert len(list(Table(source=str(path), skip_bad=True).dialogues("all", counts))) == 1
    assert counts == {"skipped": 1}
    path.write_text('{"question": "a", "answer": "b"}\n{"prompt": "a"}\n')
    with pytest.raises(PliantError, match=r"a\.jsonl line 2: no field 'question'"):
        list(Table(source=str(path)).dialogues("all"))
