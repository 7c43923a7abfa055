"""pass@k against all draws there are; what is told of several answers to a problem."""

import json
from itertools import combinations

import numpy as np
import pytest

from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.measures.generate import Generate
from pliant.measures.several_answers import distinct, pass_at
from pliant.models import build
from pliant.models.generation import Said


@pytest.mark.parametrize("right", range(6))
@pytest.mark.parametrize("k", range(1, 6))
def test_pass_at_k_is_the_share_of_draws_with_a_right_answer(right, k):
    answers = [True] * right + [False] * (5 - right)
    draws = list(combinations(answers, k))
    assert pass_at(k, right, 5) == pytest.approx(sum(map(any, draws)) / len(draws), abs=1e-12)


def test_pass_at_k_is_right_on_average_and_what_is_plugged_in_is_not():
    p, n, k = 0.1, 10, 5
    counts = np.random.default_rng(0).binomial(n, p, 20_000)
    truth = 1 - (1 - p) ** k
    error = 0.5 / np.sqrt(len(counts))  # a value between 0 and 1 has a deviation of a half at most
    assert abs(np.mean([pass_at(k, int(c), n) for c in counts]) - truth) < 3 * error
    assert np.mean(1 - (1 - counts / n) ** k) < truth - 3 * error
    assert pass_at(100, 1, 10_000) == pytest.approx(0.01)  # far beyond what a float holds of C(n, k)


def test_different_answers_are_counted_apart():
    found = distinct(["4", "4", "2 + 2 = 4", "5", "6", "5"], [True, True, True, False, False, False])
    assert found == {"distinct": 4, "distinct_right": 2, "distinct_wrong": 2}


@pytest.fixture
def problems(tmp_path):
    path = tmp_path / "problems.jsonl"
    path.write_text("\n".join(json.dumps({"question": f"{n} and {n}?", "answer": f"#### {2 * n}"}) for n in (2, 3)))
    return str(path)


def test_each_problem_has_its_own_answers(problems, monkeypatch):
    said = ["#### 4", "no", "It is 4", "6", "#### 4", "no", "5", "no"]  # of the first and the second problem in turns
    monkeypatch.setattr("pliant.measures.generate.generate", lambda *_, **__: [Said(text, text != "no") for text in said])
    measure = Generate(data=problems, times=4, temperature=0.8, pass_at=(1, 2))
    found = {reading.metric: reading.values.tolist() for reading in measure.readings(build("llama-16x2", load_tokenizer("ascii"), 0))}
    assert found == {
        "exact_match_flexible": [3 / 4, 1 / 4],
        "exact_match_strict": [2 / 4, 0],
        "ended": [1, 1 / 4],
        "exact_match_flexible_pass_at_1": [pytest.approx(3 / 4), pytest.approx(1 / 4)],  # pass@1 is the mean
        "exact_match_flexible_pass_at_2": [1, pytest.approx(1 / 2)],  # one wrong of four; three wrong of four: C(3,2)/C(4,2)
        "exact_match_strict_pass_at_1": [pytest.approx(2 / 4), 0],
        "exact_match_strict_pass_at_2": [pytest.approx(5 / 6), 0],
        "distinct": [3, 2],
        "distinct_right": [2, 1],
        "distinct_wrong": [1, 1],
    }


def test_a_model_answers_each_time_anew_and_alike_for_one_seed(problems):
    model = build("llama-16x2", load_tokenizer("ascii"), 0)
    several = Generate(data=problems, times=3, temperature=1.0, most=8)
    asked = several.problems()
    said = several.said(model, asked)
    assert len(said) == 6
    assert len({one.text for one in said[::2]}) == len({one.text for one in said[1::2]}) == 3
    assert said == several.said(model, asked) != several.model_copy(update={"seed": 1}).said(model, asked)
    assert said[:2] == Generate(data=problems, temperature=1.0, most=8).said(model, asked)  # the first time is the only one
    narrow = several.model_copy(update={"top_p": 1e-6}).said(model, asked)  # the likeliest token alone
    assert narrow == 3 * Generate(data=problems, most=8).said(model, asked)


def test_what_makes_no_sense_is_refused_and_old_keys_stay(problems):
    with pytest.raises(PliantError, match="without a temperature, all answers are the same"):
        Generate.parse({"data": problems, "times": 4})
    with pytest.raises(PliantError, match="pass@8 needs 8 answers at least, and each problem has 4"):
        Generate.parse({"data": problems, "times": 4, "temperature": 1, "pass_at": [1, 8]})
    assert not {"times", "top_p", "pass_at"} & set(Generate(data=problems).canonical())
    assert Generate.parse({"data": problems, "times": 2, "temperature": 1}).canonical()["times"] == 2
