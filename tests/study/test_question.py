"""The questions of a study: their forms, and what is said of them before anything is measured."""

import json

import pytest

from pliant import PliantError
from pliant.models import Checkpoint
from pliant.study import QUESTIONS, Question, Study, plan


def asked(form, *questions):
    return Study.parse(form | {"questions": list(questions)})


def test_the_forms_of_questions(form):
    study = asked(form, "checkpoint", {"bits": {"measure": "generic"}}, {"checkpoint": {}}, {"kind": "bits"})
    told = study.canonical()["questions"]
    assert told == ["checkpoint", {"kind": "bits", "measure": "generic"}, "checkpoint", "bits"]
    assert Study.parse({key: value for key, value in study.canonical().items() if key != "kind"}) == study


def test_a_list_in_a_field_is_a_sweep(form):
    form["measures"]["task"] = form["measures"]["generic"]
    study = asked(form, {"bits": {"measure": ["generic", "task"]}})
    assert [question.measure for question in study.questions] == ["generic", "task"]


def test_a_study_that_asks_what_it_always_asked_has_the_form_it_always_had(form):
    assert json.loads(asked(form, "checkpoint").canonical_json())["questions"] == ["checkpoint"]
    assert json.loads(asked(form).canonical_json())["questions"] == []


NEEDED = {"arms": {"against": "x"}, "between": {"by": "schedule", "compute": 1e18}}
"""What a kind cannot do without."""


@pytest.mark.parametrize("kind", sorted(QUESTIONS.specs()))
def test_the_measure_that_a_question_names_is_one_of_the_study(form, kind):
    with pytest.raises(PliantError, match=f"questions: {kind}: no measure is called 'gneric'; did you mean 'generic'"):
        asked(form, {kind: NEEDED.get(kind, {}) | {QUESTIONS[kind].named[-1]: "gneric"}})


AXES = [
    ("tokens", [1e6, None, None], "tokens of 2 checkpoints are unknown, so which is best cannot be said: give `batch_tokens` or `tokens`"),
    ("tokens", [1e6, 1e6], "two or more with different tokens"),
    ("steps", [None, 5], "steps of 1 checkpoints are unknown"),
    ("steps", [5, 5], "two or more with different steps"),
    ("params", [None, None], None),
    ("tokens", [1e6, 2e6], None),
    ("steps", [5, 6], None),
]


@pytest.mark.parametrize(("axis", "places", "told"), AXES)
@pytest.mark.parametrize("kind", ["bits", "checkpoint"])
def test_what_keeps_a_curve_from_being_judged_is_said_beforehand(kind, axis, places, told):
    checkpoints = [Checkpoint(name=str(number), **{axis: place}) for number, place in enumerate(places)]
    line = QUESTIONS.parse(kind).obstacle(checkpoints, axis)
    assert line is None if told is None else told in str(line)


def test_a_plan_asks_every_question_and_says_each_line_once(form, monkeypatch):
    class Never(Question):
        """Never to be answered."""

        def obstacle(self, checkpoints, axis):
            return f"never, of {len(checkpoints)} along {axis}"

    monkeypatch.setitem(QUESTIONS.specs(), "never", Never)
    assert plan(asked(form, "never", "checkpoint", "never")).remarks == ["never, of 2 along tokens"]
    assert plan(asked(form)).remarks == []
