"""What a study says of its checkpoints can be put right without measuring anything again."""

import shutil

import pytest

from pliant import decide
from pliant.errors import PliantError
from pliant.models.checkpoint import FACTS_FILE
from pliant.study import Ledger, Study, plan, run


@pytest.fixture
def steps(folders, form, tmp_path):
    """The study over `checkpoint-1` and `checkpoint-2`, which do not tell their tokens."""
    for step in (1, 2):
        shutil.copytree(folders / f"step{step}-tokens{step}M", tmp_path / "run" / f"checkpoint-{step}")
        (tmp_path / "run" / f"checkpoint-{step}" / FACTS_FILE).unlink()

    def stated(**fields):
        return form | {"checkpoints": {"folders": str(tmp_path / "run" / "checkpoint-*"), **fields}, "seeds": [0]}

    return stated


def measured(runs):
    """The records but for what they say of their checkpoints."""
    facts = ("checkpoint", "tokens", "position", "final_lr")
    return sorted(({k: v for k, v in row.items() if k not in facts} for row in runs.records()), key=lambda row: (row["key"], row["draw"]))


def test_corrected_tokens_reach_the_records_that_are_there(steps, tmp_path):
    place = tmp_path / "ledger"
    before = run(steps(batch_tokens="1M"), place, workers=0, quiet=True)
    old = measured(before)
    assert {row["tokens"] for row in before.records()} == {1_000_000, 2_000_000}
    after = run(steps(batch_tokens="3M"), place, workers=0, quiet=True)
    assert {row["checkpoint"][-1]: row["tokens"] for row in after.records()} == {"1": 3_000_000, "2": 6_000_000}
    assert measured(after) == old  # seconds included: nothing was measured again
    assert {entry.position for found in decide.checkpoint(after) for entry in found.evidence.curve} == {3_000_000, 6_000_000}
    samples = after.ledger.sql("select distinct tokens from samples order by tokens").to_pylist()
    assert [row["tokens"] for row in samples] == [3_000_000, 6_000_000]


def test_records_that_are_right_are_left_alone(steps, tmp_path):
    place, form = tmp_path / "ledger", steps(batch_tokens="1M")
    run(form, place, workers=0, quiet=True)
    files = {path: path.stat().st_mtime_ns for path in Ledger(place).shards()}
    run(form, place, workers=0, quiet=True)
    assert {path: path.stat().st_mtime_ns for path in Ledger(place).shards()} == files


def test_a_moved_checkpoint_takes_its_records_along(steps, tmp_path):
    place = tmp_path / "ledger"
    old = measured(run(steps(batch_tokens="1M"), place, workers=0, quiet=True))
    (tmp_path / "run").rename(tmp_path / "moved")
    form = steps(batch_tokens="1M")
    form["checkpoints"]["folders"] = str(tmp_path / "moved" / "checkpoint-*")
    after = run(form, place, workers=0, quiet=True)
    assert {row["checkpoint"] for row in after.records()} == {str(tmp_path / "moved" / f"checkpoint-{step}") for step in (1, 2)}
    assert measured(after) == old


def test_unknown_tokens_are_named_and_can_be_given_later(steps, tmp_path):
    runs = run(steps(), tmp_path / "ledger", workers=0, quiet=True)
    with pytest.raises(PliantError, match="tokens of 2 checkpoints are not known: give `batch_tokens`"):
        decide.checkpoint(runs)
    runs = run(steps(tokens={"checkpoint-1": "1M", "checkpoint-2": "5M"}), tmp_path / "ledger", workers=0, quiet=True)
    assert {found.evidence.curve[-1].position for found in decide.checkpoint(runs)} == {5_000_000}


def test_a_plan_says_beforehand_that_its_question_cannot_be_answered(steps):
    asked = {"questions": ["checkpoint"]}
    (line,) = plan(Study.parse(steps() | asked)).remarks
    assert "tokens of 2 checkpoints are unknown" in line
    assert plan(Study.parse(steps(batch_tokens="1M") | asked)).remarks == []
    assert plan(Study.parse(steps())).remarks == []
    (line,) = plan(Study.parse(steps(tokens={"checkpoint-1": "1M", "checkpoint-2": "1M"}) | asked)).remarks
    assert "two or more with different tokens" in line


def test_the_run_says_so_unless_it_is_to_be_quiet(steps, tmp_path, capsys):
    form = steps() | {"questions": ["checkpoint"], "changes": []}
    run(form, tmp_path / "ledger", workers=0)
    assert "note: tokens of 2 checkpoints are unknown" in capsys.readouterr().err
    run(form, tmp_path / "ledger", workers=0, quiet=True)
    assert capsys.readouterr().err == ""
