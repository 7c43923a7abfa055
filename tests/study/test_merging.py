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
    runs = run(steps(axis="tokens"), tmp_path / "ledger", workers=0, quiet=True)
    with pytest.raises(PliantError, match="tokens of 2 checkpoints are not known: give `batch_tokens`"):
        decide.checkpoint(runs)
    runs = run(steps(tokens={"checkpoint-1": "1M", "checkpoint-2": "5M"}), tmp_path / "ledger", workers=0, quiet=True)
    assert {found.evidence.curve[-1].position for found in decide.checkpoint(runs)} == {5_000_000}


def test_a_plan_says_beforehand_that_its_question_cannot_be_answered(steps):
    asked = {"questions": ["checkpoint"]}
    (line,) = plan(Study.parse(steps(axis="tokens") | asked)).remarks
    assert "tokens of 2 checkpoints are unknown" in line
    assert plan(Study.parse(steps(batch_tokens="1M") | asked)).remarks == []
    for axis in ("tokens", "density"):
        assert plan(Study.parse(steps(axis=axis))).remarks == []
    same = {"tokens": {"checkpoint-1": "1M", "checkpoint-2": "1M"}}
    (line,) = plan(Study.parse(steps(axis="tokens", **same) | asked)).remarks
    assert "two or more with different tokens" in line
    (line,) = plan(Study.parse(steps(axis="density") | asked)).remarks
    assert "density of 2 checkpoints are unknown" in line
    assert plan(Study.parse(steps(**same) | asked)).axis == "steps"


def places(ledger):
    return {row["checkpoint"][-1]: (row["axis"], row["position"], row["tokens"]) for row in ledger.records()}


def test_a_run_that_knows_its_steps_alone_is_decided_along_them(steps, tmp_path):
    planned = plan(Study.parse(steps() | {"questions": ["checkpoint"]}))
    assert planned.axis == "steps"
    assert planned.remarks == ["tokens unknown: ordered by steps; give batch_tokens for tokens"]
    place = tmp_path / "ledger"
    runs = run(steps(), place, workers=0, quiet=True)
    assert places(runs.ledger) == {"1": ("steps", 1, None), "2": ("steps", 2, None)}
    found = decide.checkpoint(runs)
    assert {point.position for one in found for point in one.evidence.curve} == {1, 2}
    assert all("steps" in one.sentence() and "tokens" not in one.sentence() for one in found)
    assert {one.json()["evidence"]["axis"] for one in found} == {"steps"}
    old = [(row["key"], row["draw"], row["seconds"]) for row in runs.records()]

    def again(expected, first, second, **fields):
        """The same records, none of them measured again, on another axis."""
        after = run(steps(**fields), place, workers=0, quiet=True)
        assert [(row["key"], row["draw"], row["seconds"]) for row in after.records()] == old
        assert {name: found[:2] for name, found in places(after.ledger).items()} == {"1": (expected, first), "2": (expected, second)}
        return after

    again("tokens", 1_000_000, 2_000_000, batch_tokens="1M")
    again("steps", 1, 2)
    (size,) = {row["params"] for row in runs.records()}
    sizes = again("params", size, size, axis="params")
    with pytest.raises(PliantError, match="two checkpoints of different parameters"):
        decide.checkpoint(sizes)
    assert again("tokens", 3_000_000, 6_000_000, batch_tokens="3M").ledger.shards()


def test_a_place_that_is_not_known_is_never_taken_from_another_axis(steps, tmp_path):
    place = tmp_path / "ledger"
    run(steps(), place, workers=0, quiet=True)
    after = run(steps(axis="tokens", tokens={"checkpoint-2": "5M"}), place, workers=0, quiet=True)
    assert places(after.ledger) == {"1": ("steps", 1, None), "2": ("tokens", 5_000_000, 5_000_000)}


def test_the_run_says_so_unless_it_is_to_be_quiet(steps, tmp_path, capsys):
    form = steps() | {"questions": ["checkpoint"], "changes": []}
    run(form, tmp_path / "ledger", workers=0)
    assert "note: tokens unknown: ordered by steps" in capsys.readouterr().err
    run(form, tmp_path / "ledger", workers=0, quiet=True)
    assert capsys.readouterr().err == ""
