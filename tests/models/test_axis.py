"""What checkpoints run over, and what every ladder promises."""

import json
import shutil
from types import SimpleNamespace
from typing import get_args

import pytest

from pliant.axes import AXES, AxisName
from pliant.errors import PliantError
from pliant.models import Checkpoint, FolderLadder
from pliant.models.ladder import axis_of

SMALL, LARGE = {"params": 1000}, {"params": 9000}


def test_every_axis_may_be_named():
    assert get_args(AxisName) == tuple(AXES)
    with pytest.raises(PliantError, match="axis"):
        FolderLadder(folders=["a"], axis="token")


@pytest.mark.parametrize(
    ("facts", "axis"),
    [
        ([{"tokens": 1}, {"tokens": 2}], "tokens"),
        ([{"tokens": 1, "steps": 5}, {"tokens": 2, "steps": 6}], "tokens"),
        ([{"steps": 1}, {"steps": 2}], "steps"),
        ([{"tokens": 1, "steps": 1}, {"steps": 2}], "steps"),  # tokens are not known of all
        ([{"tokens": 7, "steps": 1}, {"tokens": 7, "steps": 2}], "steps"),  # tuned from one base
        ([{"tokens": 7, "density": 1.0}, {"tokens": 7, "density": 0.5}], "density"),
        ([{"tasks": 1}, {"tasks": 8}], "tasks"),
        ([SMALL, LARGE], "params"),
        ([SMALL | {"tokens": 5}, LARGE | {"tokens": 5}], "params"),
        ([SMALL | {"tokens": 5000, "steps": 4}, LARGE | {"tokens": 5008, "steps": 2}], "params"),  # one budget, rounded to whole steps
        ([SMALL | {"tokens": 5}, SMALL | {"tokens": 6}, LARGE | {"tokens": 5}], "tokens"),  # ladders beside each other
        ([SMALL | {"steps": 5}, SMALL | {"steps": 6}, LARGE | {"steps": 5}], "steps"),
        ([{"tokens": 5}, LARGE | {"tokens": 6}], "tokens"),  # weights that cannot be read have no size
        ([{"tokens": 5}], "tokens"),
        ([{}, {"steps": 3}], "tokens"),
        ([], "tokens"),
    ],
)
def test_the_axis_is_the_first_fact_known_of_all_in_which_some_of_one_size_differ(facts, axis):
    assert axis_of([Checkpoint(name="c", **known) for known in facts]) == axis


@pytest.fixture
def series(saved, tmp_path):
    """Makes folders of a Trainer's run."""

    def made(**states):
        for name, state in states.items():
            folder = tmp_path / name.replace("_", "-")
            shutil.copytree(saved, folder)
            (folder / "pliant.json").unlink()
            if state is not None:
                (folder / "trainer_state.json").write_text(json.dumps({"log_history": [], **state}))
        return str(tmp_path)

    return made


def known(ladder):
    return [(rung.path.rsplit("/", 1)[-1], rung.checkpoint.steps, rung.checkpoint.tokens) for rung in ladder.rungs()]


def test_steps_come_from_the_trainers_file_and_else_from_the_name(series):
    place = series(late={"global_step": 40}, early={"global_step": 4}, checkpoint_9=None, checkpoint_100={"global_step": 30})
    assert known(FolderLadder(folders=[place])) == [
        ("early", 4, None),
        ("checkpoint-9", 9, None),
        ("checkpoint-100", 30, None),
        ("late", 40, None),
    ]
    ladder = FolderLadder(folders=[place])
    facts = [rung.checkpoint for rung in ladder.rungs()]
    assert ladder.remarks(facts) == ["tokens unknown: ordered by steps; give batch_tokens for tokens"]
    assert FolderLadder(folders=[place], axis="steps").remarks(facts) == []


def test_the_axis_that_is_said_orders_the_rungs(series):
    place = series(a={"global_step": 1, "num_input_tokens_seen": 90}, b={"global_step": 2, "num_input_tokens_seen": 50})
    assert known(FolderLadder(folders=[place])) == [("b", 2, 50), ("a", 1, 90)]
    assert known(FolderLadder(folders=[place], axis="steps")) == [("a", 1, 90), ("b", 2, 50)]


def test_steps_of_a_later_stage_are_no_place_among_those_of_the_first(series):
    place = series(**{"stage2-ingredient1-step5-tokens1B": None, "stage1-step9-tokens4B": None})
    ladder = FolderLadder(folders=[place])
    assert {rung.path.rsplit("/", 1)[-1][:6]: rung.checkpoint.steps for rung in ladder.rungs()} == {"stage1": 9, "stage2": None}


def test_an_axis_that_is_not_said_is_no_part_of_the_form():
    assert "axis" not in FolderLadder.parse("a/*").canonical()
    said = FolderLadder.parse({"folders": "a/*", "axis": "steps"})
    assert said.canonical()["axis"] == "steps"
    assert FolderLadder.parse(said.form()) == said
    assert said.hash() != FolderLadder.parse("a/*").hash()
    # the hash of a study file's folders before there were axes
    fields = '"batch_tokens":null,"dtype":null,"folders":["a/*"],"kind":"folder_ladder","tokenizer":null,"tokens":null'
    assert FolderLadder.parse("a/*").canonical_json() == "{" + fields + ',"trust_remote_code":false}'


def test_places_that_are_unknown_come_last():
    ladder = FolderLadder(folders=["a"], axis="density")
    facts = [SimpleNamespace(density=density, params=1) for density in (None, 0.0, 0.5)]
    assert sorted(range(3), key=ladder.place(facts).__getitem__) == [2, 1, 0]  # from dense to sparse
