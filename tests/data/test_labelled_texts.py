"""Texts with labels: columns, classes, pairs, soft labels, numbers, and what is wrong with a table."""

import json
from collections import Counter

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from transformers import BertTokenizer

from pliant.data import load_tokenizer
from pliant.data.label_noise import LabelNoise
from pliant.data.label_values import class_label, classes_of, number_label
from pliant.data.labelled_texts import LabelledTexts, NumberedTexts
from pliant.data.pretrained import PretrainedTokenizer
from pliant.data.row_encoding import encoded_rows
from pliant.errors import PliantError


@pytest.fixture
def table(tmp_path, monkeypatch):
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))

    def write(records, kind=LabelledTexts, **fields):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl"
        path.write_text("\n".join(map(json.dumps, records)))
        return kind(source=str(path), **fields)

    return write


WORDS = load_tokenizer("ascii")


def read(data, part="all", length=100, tokenizer=WORDS):
    rows = data.rows(tokenizer, part, length)
    texts = [tokenizer.decode(rows.row(number)[0]) for number in range(len(rows))]
    return dict(zip(texts, rows.labels.tolist(), strict=True))


@pytest.mark.parametrize(
    ("records", "classes", "expected"),
    [
        ([{"text": "a", "label": "pos"}, {"text": "b", "label": "neg"}], ("neg", "pos"), {"a": [1], "b": [0]}),
        ([{"sentence": "a", "label": 10}, {"sentence": "b", "label": 9}], ("9", "10"), {"a": [1], "b": [0]}),
        ([{"text": "a", "label": "10"}, {"text": "b", "label": " 9 "}], ("9", "10"), {"a": [1], "b": [0]}),
        ([{"text": "a", "label": 1.0}, {"text": "b", "label": 0}], ("0", "1"), {"a": [1], "b": [0]}),
        (
            [{"question": "a", "passage": "c", "answer": True}, {"question": "b", "passage": "c", "answer": False}],
            ("false", "true"),
            {"a\nc": [1], "b\nc": [0]},
        ),
        (
            [{"text": "a", "label": [0.25, 0.75]}, {"text": "b", "label": "1"}],
            ("0", "1"),
            {"a": [0.25, 0.75], "b": [0, 1]},
        ),
        ([{"text": 5, "label": "x"}, {"text": "b", "label": "y"}], ("x", "y"), {"5": [0], "b": [1]}),
    ],
)
def test_labels_in_every_form(table, records, classes, expected):
    data = table(records)
    assert data.classes() == classes
    assert read(data) == expected


def test_columns_may_be_named(table):
    data = table(
        [{"a": "x", "b": "y", "text": "z", "verdict": "no"}, {"a": "u", "b": "v", "text": "z", "verdict": "yes"}],
        text_column="a",
        pair_column="b",
        label_column="verdict",
    )
    assert read(data) == {"x\ny": [0], "u\nv": [1]}


def test_a_schema_names_its_classes(tmp_path, monkeypatch):
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    features = {"info": {"features": {"label": {"names": ["neg", "pos", "other"], "_type": "ClassLabel"}}}}
    found = pa.table({"text": ["a", "b"], "label": [1, 1]}).replace_schema_metadata({"huggingface": json.dumps(features)})
    pq.write_table(found, tmp_path / "data.parquet")
    data = LabelledTexts(source=str(tmp_path / "data.parquet"))
    assert data.classes() == ("neg", "pos", "other")
    assert read(data) == {"a": [1], "b": [1]}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"text": "c", "label": None}, r"line 3: has no label; `skip_bad"),
        ({"text": "c", "label": "NaN"}, "has no label"),
        ({"text": "c", "label": ""}, "has no label"),
        ({"text": "c", "label": 0.5}, "has the label '0.5', which is no class"),
        ({"text": "c", "label": {"x": 1}}, "which is no class"),
        ({"text": "c", "label": [0.5, 0.6]}, "do not sum to 1"),
        ({"text": "c", "label": [1.5, -0.5]}, "are negative"),
        ({"text": "", "label": "x"}, "field 'text' is empty"),
        ({"text": None, "label": "x"}, "field 'text' is empty"),
        ({"text": ["c"], "label": "x"}, "field 'text' holds list, not text"),
        ({"label": "x"}, "no field 'text'"),
        ({"text": "c"}, "no field 'label'"),
    ],
)
def test_what_is_wrong_names_its_line_or_is_counted(table, bad, message):
    records = [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}, bad]
    with pytest.raises(PliantError, match=message):
        table(records).classes()
    data = table(records, skip_bad=True)
    assert read(data) == {"a": [0], "b": [1]}
    assert data.rows(WORDS, "all", 50).counts == {"records": 2, "truncated": 0, "left_out": 0, "skipped": 1, "examples": 2, "tokens": 2}


@pytest.mark.parametrize(
    ("records", "message"),
    [
        ([{"text": "a", "label": "x"}], "all are of the class 'x'; there is nothing to tell apart"),
        ([{"text": "a", "label": "x"}, {"text": "b", "label": 1}], r"some labels are numbers and some are names \(1, x\)"),
        ([{"text": "a", "label": [0.5, 0.5]}, {"text": "b", "label": [1, 0, 0]}], "probabilities of 2 classes and some of 3"),
        ([{"text": "a", "label": [0.5, 0.5]}, {"text": "b", "label": "no"}], "label 'no' stands beside probabilities"),
        ([{"text": "a", "mark": "x"}], "which column holds labels"),
        ([{"prose": "a", "label": "x"}], "which columns hold texts"),
        ([], "the table is empty"),
    ],
)
def test_what_is_wrong_with_a_table_is_one_line(table, records, message):
    with pytest.raises(PliantError, match=message):
        table(records).classes()


def test_parts_divide_the_examples_and_repeats_count_once(table):
    records = [{"text": f"text {n}", "label": n % 2} for n in range(200)]
    data = table([*records, *records[:50]])
    parts = {part: set(data.rows(WORDS, part, 50).ids) for part in ("train", "heldout", "all")}
    assert len(parts["all"]) == 200
    assert parts["train"] | parts["heldout"] == parts["all"]
    assert not parts["train"] & parts["heldout"]
    assert 5 < len(parts["heldout"]) < 45


def test_what_is_too_long_is_cut_and_counted(table):
    data = table([{"text": "a" * 9, "label": 0}, {"text": "b", "label": 1}])
    assert read(data, length=4) == {"aaaa": [0], "b": [1]}
    assert data.rows(WORDS, "all", 4).counts["truncated"] == 1


def test_numbers(table):
    records = [{"sentence1": "a", "sentence2": "b", "score": "1.5"}, {"sentence1": "c", "sentence2": "d", "score": -2}]
    data = table(records, NumberedTexts)
    assert (data.classes(), read(data)) == (("score",), {"a\nb": [1.5], "c\nd": [-2]})
    vectors = table([{"text": "a", "label": [1, 2]}, {"text": "b", "label": [3, 4.5]}], NumberedTexts)
    assert (vectors.classes(), read(vectors)) == (("label_0", "label_1"), {"a": [1, 2], "b": [3, 4.5]})
    with pytest.raises(PliantError, match="line 2: has no number for a label"):
        table([records[0], {**records[1], "score": None}], NumberedTexts).classes()
    with pytest.raises(PliantError, match="'inf', which is not a finite number"):
        table([records[0], {**records[1], "score": "inf"}], NumberedTexts).classes()
    with pytest.raises(PliantError, match="some labels are 1 numbers and some 2"):
        table([{"text": "a", "label": 1}, {"text": "b", "label": [3, 4.5]}], NumberedTexts).classes()


def bert_words(tmp_path):
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
    tokenizer = BertTokenizer(vocab={name: number for number, name in enumerate(names)})
    tokenizer.save_pretrained(tmp_path / "words")
    return PretrainedTokenizer.load(tmp_path / "words"), tokenizer


def test_pairs_are_those_of_the_tokenizer(tmp_path):
    words, theirs = bert_words(tmp_path)
    assert (words.frame, words.mask_id, words.padding_id) == (((2,), (3,)), 4, 0)
    texts = [("a b c", "d e"), ("a", "b c d e f g h")]
    expected = theirs([a for a, _ in texts], [b for _, b in texts], truncation=True, max_length=7, return_token_type_ids=True)
    found = encoded_rows(words, texts, 7)
    assert [ids for ids, _, _ in found] == expected["input_ids"]
    assert [marks for _, marks, _ in found] == expected["token_type_ids"]
    assert [cut for _, _, cut in found] == [True, True]
    assert encoded_rows(words, [("a b",)], 7) == [([2, 5, 6, 3], [0] * 4, False)]
    with pytest.raises(PliantError, match="leaves no room"):
        encoded_rows(words, texts, 3)
    assert words.encode(["a b"])[0].tolist() == [5, 6]  # and is itself as before


def test_two_texts_that_nothing_would_separate_are_two_lines(tmp_path):
    from transformers import PreTrainedTokenizerFast

    load_tokenizer("bytes").save(tmp_path / "words")
    PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "words" / "tokenizer.json"), eos_token="</s>").save_pretrained(tmp_path / "fast")
    words = PretrainedTokenizer.load(tmp_path / "fast")
    ((ids, marks, _),) = encoded_rows(words, [("one", "two")], 50)
    assert (words.decode(ids), set(marks)) == ("one\ntwo", {0})


def test_noise_is_a_fixed_set_and_grows():
    ids, labels = [f"{n:016x}" for n in range(3000)], np.arange(3000) % 4
    found = {fraction: LabelNoise(fraction=fraction)(ids, labels, 4) for fraction in (0.1, 0.3)}
    wrong = {fraction: found[fraction] != labels for fraction in found}
    assert {fraction: int(marks.sum()) for fraction, marks in wrong.items()} == {0.1: 300, 0.3: 900}
    assert (wrong[0.1] <= wrong[0.3]).all()
    assert (found[0.1][wrong[0.1]] == found[0.3][wrong[0.1]]).all()
    shifts = Counter(((found[0.3] - labels)[wrong[0.3]] % 4).tolist())
    assert set(shifts) == {1, 2, 3}
    assert max(abs(count - 300) for count in shifts.values()) < 4 * (900 * 2 / 9) ** 0.5
    order = np.random.default_rng(0).permutation(3000)
    again = LabelNoise(fraction=0.3)([ids[n] for n in order], labels[order], 4)
    assert (again == found[0.3][order]).all()
    assert (LabelNoise(fraction=0.3, seed=1)(ids, labels, 4) != labels).sum() == 900
    assert ((LabelNoise(fraction=0.3, seed=1)(ids, labels, 4) != labels) != wrong[0.3]).any()
    cyclic = LabelNoise(fraction=1, flips="asymmetric")(ids, labels, 4)
    assert (cyclic == (labels + 1) % 4).all()
    assert (LabelNoise(fraction=1)(ids, labels % 2, 2) == 1 - labels % 2).all()


def test_label_values():
    assert [class_label(value) for value in (True, 3, 3.0, " x ", [1, 0])] == ["true", "3", "3", "x", (1.0, 0.0)]
    assert number_label([1, "2"]) == (1.0, 2.0)
    assert classes_of(["-1", "1"], [], "x") == ("-1", "1")
    with pytest.raises(PliantError, match="has no label"):
        class_label(float("nan"))
    with pytest.raises(PliantError, match="True"):
        number_label(True)
