"""Questions to a ledger: one answer, whoever asks."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pliant import PliantError, decide
from pliant.ledger import Ledger
from pliant.study import QUESTIONS, Runs
from pliant.study.answered import answer_each
from synthetic_ledger import synthetic_ledger


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    return synthetic_ledger(tmp_path_factory.mktemp("ledger"), samples=16)


def told(answers):
    return [found.json() for found in answers]


def test_every_way_to_ask_is_the_same_call(ledger):
    expected = told(decide.checkpoint(ledger))
    runs = Runs(SimpleNamespace(name="demo", questions=(decide.BestCheckpoint(),)), ledger)
    for form in ("checkpoint", {"checkpoint": {}}, decide.BestCheckpoint()):
        assert told(decide.ask(form, ledger)) == told(decide.ask(form, ledger.folder)) == told(decide.ask(form, runs)) == expected
    (answered,) = runs.answers()
    assert answered.json() == {"question": "checkpoint", "answers": expected, "undecided": None}


def test_nothing_found_is_said_in_a_line(ledger, monkeypatch):
    monkeypatch.setattr(decide.BestCheckpoint, "answer", lambda self, ledger: [])
    with pytest.raises(PliantError, match="nothing was found to answer 'checkpoint' from"):
        decide.ask("checkpoint", ledger)


def test_fewer_bits_are_hurt_earlier(ledger):
    """The tables behind the ledger: at 3 bits the loss is lowest at 1M or 2M tokens, at 4 bits at 8M; at 5 and 6 it falls to the end."""
    answers = {found.bits: found for found in decide.ask("bits", ledger)}
    assert sorted(answers) == [3, 4, 5, 6]
    assert answers[3].json()["critical_tokens"] in (500_000, 1_000_000, 2_000_000)
    assert answers[4].json()["critical_tokens"] in (4_000_000, 8_000_000)
    assert [answers[bits].json()["critical_tokens"] for bits in (5, 6)] == [None, None]
    assert all(
        set(found.json()) == {"question", "bits", "change", "metric", "verdict", "critical_tokens", "low", "high", "rise"}
        for found in answers.values()
    )
    assert "more tokens hurt beyond" in answers[3].sentence()


def test_one_measure_alone(ledger):
    for kind in ("checkpoint", "bits"):
        assert {found.json()["metric"] for found in decide.ask({kind: {"measure": "generic"}}, ledger)} == {"generic"}
    with pytest.raises(PliantError, match="'tsk'; did you mean 'task'"):
        decide.ask({"checkpoint": {"measure": "tsk"}}, ledger)
    with pytest.raises(PliantError, match="no change of bits"):  # the task was read after fine-tuning only
        decide.ask({"bits": {"measure": "task"}}, ledger)


def test_a_question_that_is_none_is_named():
    with pytest.raises(PliantError, match="unknown question 'chekpoint'; did you mean 'checkpoint'"):
        decide.ask("chekpoint", "nowhere")


def test_each_study_of_a_ledger_is_answered_by_its_own_records(tmp_path):
    synthetic_ledger(tmp_path, seeds=[0], samples=8, study="it's one", tokens=[1_000_000, 2_000_000])
    both = synthetic_ledger(tmp_path, seeds=[0], samples=8, study="two", tokens=[4_000_000, 8_000_000], failed={4_000_000: "NaN"})
    rows = both.records()
    for name in ("it's one", "two"):
        seen = both.of(name)
        assert seen.records() == [row for row in rows if row["study"] == name]
        assert set(seen.rises()["study"].to_pylist()) == set(seen.differences()["study"].to_pylist()) == {name}
        assert set(seen.sql("select study from samples")["study"].to_pylist()) == {name}
        assert [study["name"] for study in seen.studies()] == [name]
        assert {found.evidence.study for found in decide.checkpoint(seen)} == {name}
    assert [row["study"] for row in both.of("two").records("status = 'failed'")] == ["two", "two"]  # by both measures
    assert both.of("it's one").records("status = 'failed'") == both.of("three").records() == []
    assert both.records() == rows
    assert {found.evidence.study for found in decide.checkpoint(both)} == {"it's one", "two"}


def test_what_has_no_answer_says_so_in_one_line_and_the_others_answer(tmp_path, monkeypatch):
    empty = Ledger(tmp_path / "empty", create=True)

    class Broken(decide.Question):
        """A question with a mistake."""

        def answer(self, ledger):
            raise ValueError("several\nlines")

    class Silent(decide.Question):
        """A question that finds nothing."""

        def answer(self, ledger):
            return []

    for kind in (Broken, Silent):
        monkeypatch.setitem(QUESTIONS.specs(), kind.kind, kind)
    found = answer_each(["checkpoint", "broken", "silent", {"of_another_package": {"x": 1}}], empty)
    assert [len(one.answers) for one in found] == [0, 0, 0, 0]
    assert [len(str(one).splitlines()) for one in found] == [1, 1, 1, 1]
    words = ["at least two", "ValueError: several lines", "nothing was found", "unknown question 'of_another_package'"]
    assert all(word in one.undecided for word, one in zip(words, found, strict=True))
    assert found[3].json()["question"] == {"of_another_package": {"x": 1}}


def test_groups_of_ladders_are_compared_at_a_larger_budget(tmp_path):
    """Two schedules with the same table behind them: as good as each other; one alone is no choice."""
    question = {"between": {"by": "schedule", "compute": 6 * 8784 * 64e6, "measure": "generic"}}
    once = synthetic_ledger(tmp_path, samples=16)
    with pytest.raises(PliantError, match="one group only"):
        decide.ask(question, once)
    both = synthetic_ledger(tmp_path, samples=16, schedule="constant", study="other", name="llama-16x2-b")
    (found,) = decide.ask(question, both)
    assert (found.verdict, set(found.ties)) == ("undetermined", {"cosine", "constant"})
    assert found.evidence.common_scales == 6
    assert found.evidence.seed_sd is not None  # three seeds at every budget
    assert {one.question for one in decide.ask({"between": {"by": "schedule", "compute": 1e12}}, both)} == {
        "which schedule is best at compute 1e+12"
    }
    with pytest.raises(PliantError, match="no unchanged checkpoints"):
        decide.ask({"between": {"by": "schedule", "compute": 1e12, "measure": "none"}}, both)
