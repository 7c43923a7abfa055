"""Two answers of which one is preferred, in every form that such tables have."""

import gzip
import json
import re
from collections import Counter
from itertools import pairwise

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pliant.data import load_tokenizer
from pliant.data.dialogues import Turn
from pliant.data.formats import format_of
from pliant.data.preferences import PREFERENCES, Preferences, preference
from pliant.data.table import Table
from pliant.errors import PliantError

ASKED, GOOD, BAD = Turn("user", "How many?"), Turn("assistant", "Two."), Turn("assistant", "Many.")


def message(turn):
    return {"role": turn.role, "content": turn.text}


RECORDS = {
    "implicit messages": ("whole", {"chosen": [message(ASKED), message(GOOD)], "rejected": [message(ASKED), message(BAD)]}),
    "transcripts": (
        "whole",
        {"chosen": "\n\nHuman: How many?\n\nAssistant: Two.", "rejected": "\n\nHuman: How many?\n\nAssistant: Many."},
    ),
    "explicit text": ("prompt", {"prompt": "How many?", "chosen": "Two.", "rejected": "Many."}),
    "explicit messages": ("prompt", {"prompt": [message(ASKED)], "chosen": [message(GOOD)], "rejected": [message(BAD)]}),
    "a prompt said twice": (
        "prompt",
        {"prompt": "How many?", "chosen": [message(ASKED), message(GOOD)], "rejected": [message(ASKED), message(BAD)]},
    ),
    "a transcript apart": ("prompt", {"prompt": "\n\nHuman: How many?\n\nAssistant:", "chosen": " Two.", "rejected": " Many."}),
    "ShareGPT": (
        "conversations",
        {
            "conversations": [{"from": "human", "value": "How many?"}],
            "chosen": {"from": "gpt", "value": "Two."},
            "rejected": {"from": "gpt", "value": "Many."},
        },
    ),
    "Alpaca": ("instruction", {"instruction": "How many?", "input": None, "chosen": "Two.", "rejected": "Many."}),
    "a question": ("question", {"question": "How many?", "system": "", "chosen": "Two.", "rejected": "Many."}),
}


@pytest.mark.parametrize("name", RECORDS)
def test_every_form_is_the_same_preference(name):
    form, record = RECORDS[name]
    assert format_of(record, PREFERENCES, "answers").name == form
    found = preference(record, PREFERENCES[form])
    assert (found.chosen, found.rejected, found.shared) == ((ASKED, GOOD), (ASKED, BAD), 1)


def test_only_what_follows_the_turns_in_common_is_learned(tmp_path, cache):
    talk = "\n\nHuman: One?\n\nAssistant: Yes.\n\nHuman: Two?\n\nAssistant: "
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"chosen": talk + "No.", "rejected": talk + "Yes, two."}))
    tokenizer = load_tokenizer("ascii")
    sequences = Preferences(source=str(path)).sequences(tokenizer, "all", 200)
    texts = [(tokenizer.decode(ids), tokenizer.decode(ids[learned])) for ids, learned in sequences.example(0)]
    before = "User: One?\nAssistant: Yes.\nUser: Two?\nAssistant: "
    assert texts == [(before + "No.", "No."), (before + "Yes, two.", "Yes, two.")]


def test_one_answer_that_begins_the_other_is_still_an_answer():
    first, again = {"role": "user", "content": "More?"}, {"role": "assistant", "content": "More."}
    record = {"chosen": [message(ASKED), message(GOOD), first, again], "rejected": [message(ASKED), message(GOOD)]}
    assert preference(record, PREFERENCES["whole"]).shared == 1


@pytest.mark.parametrize(
    ("record", "wrong"),
    [
        ({"prompt": "a", "chosen": "b", "rejected": "b"}, "chosen and rejected are the same"),
        ({"prompt": "a", "chosen": "b", "rejected": ""}, "the answer in rejected is empty"),
        ({"prompt": "a", "chosen": None, "rejected": "b"}, "the answer in chosen is empty"),
        ({"prompt": "a", "chosen": [], "rejected": "b"}, "the answer in chosen is empty"),
        ({"prompt": "a", "chosen": [message(ASKED)], "rejected": "b"}, "chosen ends with a turn of the user"),
        ({"prompt": "a", "chosen": "\n\nHuman: a\n\nAssistant: ", "rejected": "b"}, "the answer in chosen is empty"),
        ({"prompt": "a", "chosen": {"role": "narrator", "content": "b"}, "rejected": "c"}, "unknown role 'narrator'"),
        ({"prompt": {"a": 1}, "chosen": "b", "rejected": "c"}, "has no role"),
        ({"prompt": "a", "chosen": ["b"], "rejected": "c"}, "not a mapping with role and content"),
    ],
)
def test_what_prefers_nothing_is_one_line_or_a_counted_skip(record, wrong, tmp_path, cache):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(one) for one in ({"prompt": "q", "chosen": "y", "rejected": "n"}, record)))
    with pytest.raises(PliantError, match=rf"a\.jsonl line 2: .*{wrong}"):
        Preferences(source=str(path)).sequences(load_tokenizer("ascii"), "all", 64)
    counts = Preferences(source=str(path), skip_bad=True).sequences(load_tokenizer("ascii"), "all", 64).counts
    assert (counts["examples"], counts["skipped"]) == (1, 1)


def test_a_difference_that_is_cut_away_is_counted(tmp_path, cache):
    records = [
        {"prompt": "q", "chosen": "same" * 5 + "yes", "rejected": "same" * 5 + "no"},  # alike for 20 characters
        {"prompt": "q" * 30, "chosen": "yes", "rejected": "no"},  # nothing is left of either
        {"prompt": "q", "chosen": "yes" * 20, "rejected": "no"},
        {"prompt": "q", "chosen": "yes", "rejected": "no"},
    ]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    counts = Preferences(source=str(path)).sequences(load_tokenizer("ascii"), "all", 15).counts
    answers = (14 + 2) + (3 + 2)  # 16 tokens are left, of which "q\n" are two
    assert counts == {"records": 4, "truncated": 3, "left_out": 2, "examples": 2, "answer_tokens": answers, "tokens": answers + 4 * 2}


def test_every_kind_of_file_holds_the_same_pairs(tmp_path, cache):
    records = [{"prompt": f"{n}?", "chosen": f"yes {n}", "rejected": f"no {n}"} for n in range(30)]
    (tmp_path / "a.json").write_text(json.dumps([*records, records[0]]))
    (tmp_path / "a.csv").write_text("prompt,chosen,rejected\n" + "".join(f"{n}?,yes {n},no {n}\n" for n in range(30)))
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "a.parquet")
    found = [list(Preferences(source=str(tmp_path / name)).examined("all", Counter())) for name in ("a.json", "a.csv", "a.parquet")]
    assert len(found[0]) == 30
    assert found[0] == found[1] == found[2]


def test_preferences_are_no_table_of_answers():
    columns = {"prompt", "messages", "chosen", "rejected"}
    assert Preferences.has(columns)
    assert not Table.has(columns)
    assert Table.has(columns - {"chosen"})
    with pytest.raises(PliantError, match="did you mean 'prompt'"):
        Preferences(source="a.jsonl", format="prmpt")


def test_real_pairs(shared_data, cache):
    """HH-RLHF: 2,312 pairs of transcripts, four with an empty answer and nine in which the assistant speaks twice (counted with grep)."""
    source = shared_data / "preference" / "hh_rlhf_harmless_test" / "test.jsonl.gz"
    table = Preferences(source=str(source), skip_bad=True)
    skipped = Counter()
    found = [pair for _, pair, _ in table.examined("all", skipped)]
    with gzip.open(source, "rt") as lines:
        records = [json.loads(line) for line in lines]
    spoken = [[re.findall(r"\n\n(Human|Assistant):", record[name]) for name in ("chosen", "rejected")] for record in records]
    twice = sum(any(pair == ("Assistant", "Assistant") for side in both for pair in pairwise(side)) for both in spoken)
    assert (len(found), skipped["skipped"]) == (2312 - 4 - 9, 4 + 9)
    assert (len(records), twice) == (2312, 9)
    assert all(pair.chosen[: pair.shared] == pair.rejected[: pair.shared] for pair in found)
    assert sum(len(pair.chosen) == len(pair.rejected) == pair.shared + 1 for pair in found) > 2200
