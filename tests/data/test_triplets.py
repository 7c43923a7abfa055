"""Texts that belong together, and hard negatives, in every form that such tables have."""

import json

import pytest
from transformers import BertTokenizerFast

from pliant.data import load_tokenizer
from pliant.data.formats import format_of
from pliant.data.pretrained import PretrainedTokenizer
from pliant.data.table import Table
from pliant.data.triplets import TRIPLETS, Triplets, framing, triplet
from pliant.errors import PliantError

RECORDS = {
    "query": ({"query": "a", "positive": "b", "negatives": ["c", "d"]}, ["a", "b", "c", "d"]),
    "anchor": ({"anchor": "a", "positive": "b", "negative": "c"}, ["a", "b", "c"]),
    "question": ({"question": "a", "positive": "b", "hard_negative_1": "c", "hard_negative_2": None}, ["a", "b", "c"]),
    "sentences": ({"sentence1": "a", "sentence2": "b", "negative": ""}, ["a", "b"]),
}


@pytest.mark.parametrize("name", RECORDS)
def test_columns_say_what_belongs_together(name):
    record, texts = RECORDS[name]
    assert format_of(record, TRIPLETS, "texts").name == name
    assert triplet(record, TRIPLETS[name]) == texts


def test_sentences_that_a_label_compares_are_not_all_alike():
    assert Triplets.has({"sentence1", "sentence2"})
    assert not Triplets.has({"sentence1", "sentence2", "label"})
    assert not Triplets.has({"sentence1", "sentence2", "score"})
    assert not Table.has({"query", "positive"})
    assert Triplets(source="a.jsonl", format="sentences").format == "sentences"


@pytest.mark.parametrize(
    ("record", "wrong"),
    [
        ({"query": "", "positive": "b"}, "query is empty"),
        ({"query": "a", "positive": None}, "positive is empty"),
        ({"query": "a"}, "no field 'positive'"),
        ({"query": "a", "positive": "b", "negative": "b"}, "a text in negative is the positive itself"),
        ({"query": "a", "positive": "b", "negatives": ["c", "a"]}, "a text in negatives is the query itself"),
        ({"query": "a", "positive": ["b"]}, "field 'positive' holds list, not text"),
        ({"query": "a", "positive": "b", "negatives": [["c"]]}, "field 'negatives' holds list, not text"),
    ],
)
def test_what_belongs_to_nothing_is_one_line_or_a_counted_skip(record, wrong, tmp_path, cache):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(json.dumps(one) for one in ({"query": "q", "positive": "y"}, record)))
    with pytest.raises(PliantError, match=rf"a\.jsonl line 2: .*{wrong}"):
        Triplets(source=str(path)).sequences(load_tokenizer("ascii"), "all", 64)
    counts = Triplets(source=str(path), skip_bad=True).sequences(load_tokenizer("ascii"), "all", 64).counts
    assert (counts["examples"], counts["skipped"]) == (1, 1)


@pytest.fixture
def bert(tmp_path):
    (tmp_path / "vocab.txt").write_text("\n".join(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]))
    BertTokenizerFast(str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "bert")
    return PretrainedTokenizer.load(tmp_path / "bert")


def test_every_text_is_framed_as_its_tokenizer_frames_it_also_where_it_is_cut(bert, tmp_path, cache):
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps({"query": "a b", "positive": "b c d e f g", "negative": "h"}))
    assert framing(bert) == ([2], [3])
    sequences = Triplets(source=str(path)).sequences(bert, "all", 5)  # six tokens
    texts = [bert.decode(ids) for ids, _ in sequences.example(0)]
    assert texts == ["[CLS] a b [SEP]", "[CLS] b c d e [SEP]", "[CLS] h [SEP]"]
    for text, (ids, _) in zip(("a b", "b c d e f g", "h"), sequences.example(0), strict=True):
        assert ids.tolist() == bert.tokenizer(text, truncation=True, max_length=6)["input_ids"]
    assert sequences.counts["truncated"] == 1


def test_a_negative_that_is_the_positive_once_cut_is_left_out(tmp_path, cache):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, ({"query": "q", "positive": "aaab", "negative": "aaac"}, {"query": "q", "positive": "b"}))))
    counts = Triplets(source=str(path)).sequences(load_tokenizer("ascii"), "all", 2).counts
    assert (counts["examples"], counts["left_out"], counts["truncated"]) == (1, 1, 1)


def test_the_number_of_negatives_is_each_examples_own(tmp_path, cache):
    path = tmp_path / "a.jsonl"
    records = [{"query": f"q{n}", "positive": f"p{n}", "negatives": [f"n{n}{k}" for k in range(n)]} for n in range(4)]
    path.write_text("\n".join(map(json.dumps, records)))
    tokenizer = load_tokenizer("ascii")
    sequences = Triplets(source=str(path)).sequences(tokenizer, "all", 9)
    assert [len(sequences.example(n)) for n in range(4)] == [2, 3, 4, 5]
    assert [tokenizer.decode(ids) for ids, _ in sequences.example(2)] == ["q2", "p2", "n20", "n21"]
    assert sequences.counts["examples"] == 4
