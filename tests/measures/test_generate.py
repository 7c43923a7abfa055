"""Numbers taken out of answers, and problems solved."""

import json

import pytest

from pliant.data import load_tokenizer
from pliant.data.problems import ProblemSet
from pliant.errors import PliantError
from pliant.measures.generate import Generate, flexible, same, strict
from pliant.models import build
from pliant.models.generation import Said


@pytest.mark.parametrize(
    ("said", "strictly", "flexibly"),
    [
        ("16 - 7 = 9, so 9 * 2 = 18\n#### 18", "18", "18"),
        ("#### 1,234 and then 5", "1,234", "5"),
        ("It is $1,250.00.", "[invalid]", "$1,250.00."),
        ("#### -3", "-3", "-3"),
        ("no idea", "[invalid]", "[invalid]"),
        ("####18", "[invalid]", "18"),
    ],
)
def test_the_number_of_an_answer(said, strictly, flexibly):
    assert (strict(said), flexible(said)) == (strictly, flexibly)


@pytest.mark.parametrize(
    ("one", "other", "equal"), [("1,234", "She has\n#### 1234", True), ("$18", "#### 18", True), ("18.", "18", True), ("18.0", "18", False)]
)
def test_what_is_ignored(one, other, equal):
    assert same(one, other) == equal


def test_a_model_that_says_the_number_solves_the_problem(tmp_path, monkeypatch):
    path = tmp_path / "problems.jsonl"
    records = [{"question": f"{n} and {n}?", "answer": f"It is {2 * n}.\n#### {2 * n}"} for n in (2, 3, 4)]
    path.write_text("\n".join(map(json.dumps, records)))
    asked = []

    def said(model, prompts, **settings):
        asked.extend(prompts)
        return [Said("So it is\n#### 4", True), Said("6, I think", True), Said("#### 9", False)]

    monkeypatch.setattr("pliant.measures.generate.generate", said)
    model = build("llama-16x2", load_tokenizer("ascii"), 0)
    found = Generate(data=str(path), shots=str(path), shown=1).readings(model)
    assert {reading.metric: reading.values.tolist() for reading in found} == {
        "exact_match_flexible": [1, 1, 0],
        "exact_match_strict": [1, 0, 0],
        "ended": [1, 1, 0],
    }
    assert asked[1] == "Question: 2 and 2?\nAnswer: It is 4.\n#### 4\n\nQuestion: 3 and 3?\nAnswer:"
    assert {reading.better for reading in found} == {"higher"}


def test_svamp_is_read_as_it_comes(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"Body": "Dan had $ 3 left", "Question": "How much?", "Answer": 1.0}]))
    (problem,) = ProblemSet(source=str(path)).problems()
    assert (problem.question, problem.answer) == ("Dan had $ 3 left. How much?", "1")
    path.write_text(json.dumps([{"question": "a", "answer": ""}]))
    with pytest.raises(PliantError, match="question or answer is empty"):
        list(ProblemSet(source=str(path)).problems())
