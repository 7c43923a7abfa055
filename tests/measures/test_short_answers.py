"""Short answers: normalisation and F1 as the field has them, aliases, and the sets as they come."""

import json
import random
import unicodedata

import pytest

from pliant.data import load_tokenizer
from pliant.data.problems import ProblemSet
from pliant.errors import PliantError
from pliant.measures import Generate
from pliant.measures.short_answers import exact_match, normalised, token_f1
from pliant.models import build
from pliant.models.generation import Said


@pytest.mark.parametrize(
    ("said", "right", "exact", "f1"),
    [
        ("The  Beatles!", ["beatles"], 1, 1.0),
        ("U.S.A.", ["usa"], 1, 1.0),
        ("14 December 1972", ["14 December 1972 UTC", "December 1972"], 0, 6 / 7),  # 3 of 3 and of 4; of the other 2 of 3 and of 2
        ("Bob", ["Bobby Scott", "Bob Russell"], 0, 2 / 3),
        ("the", ["The"], 1, 1.0),
        ("the", ["one"], 0, 0.0),
        ("", ["one"], 0, 0.0),
        ("one one two", ["one two two"], 0, 2 / 3),
    ],
)
def test_by_hand(said, right, exact, f1):
    assert exact_match(said, right) == exact
    assert token_f1(said, right) == pytest.approx(f1)


def test_accents_are_one_thing_however_they_are_written():
    for word in ("Beyonc\u00e9", "a\u00e7\u00e3o", "\u00e0 la carte"):
        assert normalised(unicodedata.normalize("NFD", word)) == normalised(word) == word.lower()


def test_it_is_the_harness_s_own(shared_data):
    metrics = pytest.importorskip("lm_eval.tasks.qasper.metrics", reason="extra tasks")
    lines = (shared_data / "qa" / "nq_open" / "NQ-open.dev.jsonl").read_text().splitlines()[:400]
    right = [json.loads(line)["answer"] for line in lines]
    rng = random.Random(0)
    for answers in right:
        other = rng.choice(rng.choice(right))
        for said in (other, f"The {answers[0]}, {other}", answers[-1].upper()):
            assert normalised(said) == metrics.normalize_answer(said)
            assert exact_match(said, answers) == any(metrics.normalize_answer(said) == metrics.normalize_answer(one) for one in answers)
            if not normalised(said):  # the harness gives 0 where nothing is left of either, SQuAD's second version 1
                continue
            assert token_f1(said, answers) == pytest.approx(max(metrics.f1_abstractive([said], [one]) for one in answers))


def test_any_of_the_answers_is_right(tmp_path, monkeypatch):
    path = tmp_path / "set.jsonl"
    records = [{"question": "who wrote it", "answer": ["Bobby Scott", "Bob Russell"]}, {"question": "when", "answer": ["2017"]}]
    path.write_text("\n".join(map(json.dumps, records)))
    asked = {}

    def said(model, prompts, **settings):
        asked.update(settings, prompts=prompts)
        return [Said(" The Bob Russell.", True), Said(" In 2017", False)]

    monkeypatch.setattr("pliant.measures.generate.generate", said)
    model = build("llama-16x2", load_tokenizer("ascii"), 0)
    measure = Generate(data=str(path), answers="short", shots=str(path), shown=1)
    found = {reading.metric: reading for reading in measure.readings(model)}
    assert {metric: reading.values.tolist() for metric, reading in found.items()} == {
        "exact_match": [1, 0],
        "f1": [1, pytest.approx(2 / 3)],
        "ended": [1, 0],
    }
    assert asked["stop"][0] == "\n"
    assert asked["prompts"][1] == "Question: who wrote it\nAnswer: Bobby Scott\n\nQuestion: when\nAnswer:"
    with pytest.raises(PliantError, match=r"lists short answers.*answers: short"):
        Generate(data=str(path)).readings(model)
    assert "answers" not in Generate(data=str(path)).canonical()
    assert set(Generate(data=str(path)).canonical()["data"]) == {"source"}


def test_the_sets_are_read_as_they_come(shared_data):
    qa = shared_data / "qa"
    nq = list(ProblemSet(source=str(qa / "nq_open" / "NQ-open.dev.jsonl")).problems())
    assert (len(nq), nq[0].answers) == (3610, ("14 December 1972 UTC", "December 1972"))
    web = list(ProblemSet(source=str(qa / "webquestions" / "test.json")).problems())
    assert (len(web), web[1].question, web[1].answers) == (2032, "what did james k polk do before he was president?", ("Lawyer",))
    facts = str(qa / "pararel_trex" / "data" / "trex_lms_vocab" / "P19.jsonl.gz")
    born = next(ProblemSet(source=facts, question="Where was {sub_label} born?", answer="obj_label").problems())
    assert (born.question, born.answers) == ("Where was Allan Peiper born?", ("Alexandra",))


@pytest.mark.parametrize(
    ("fields", "record", "message"),
    [
        ({}, {"question": "a", "answer": []}, "question or answer is empty"),
        ({}, {"question": "a", "answer": ["b", None]}, "question or answer is empty"),
        ({}, {"question": "a", "answer": {"b": 1}}, "an answer is dict"),
        ({}, {"question": None, "answer": "b"}, "question or answer is empty"),
        ({}, {"qestion": "a", "answer": "b"}, "no field 'question'; did you mean 'qestion'"),
        ({"question": "Where is {sub}?"}, {"subj": "a", "answer": "b"}, "no field 'sub'; did you mean 'subj'"),
        ({"answer": "obj"}, {"question": "a", "answer": "b"}, "no field 'obj'"),
        ({"question": "{"}, {"question": "a", "answer": "b"}, "brace"),
    ],
)
def test_what_asks_nothing_is_one_line(fields, record, message, tmp_path):
    path = tmp_path / "set.jsonl"
    path.write_text(json.dumps(record))
    with pytest.raises(PliantError, match=message):
        list(ProblemSet(source=str(path), **fields).problems())
