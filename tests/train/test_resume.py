"""A killed run goes on as if nothing had happened."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.methods import Method
from pliant.models import build
from pliant.train import Recipe, train
from pliant.train.schedules import Constant
from pliant.train.state import STATE_FILE
from small_text import given

RECIPE = Recipe(lr=1e-2, steps=30, batch=4, length=16)


class Stop(Method):
    """Raises after a step, and draws random numbers at every one."""

    at: int = -1

    def after_step(self, run, state):
        drawn = torch.rand(())
        state.tensors["sum"] = state.tensors.get("sum", torch.zeros(())) + drawn
        with torch.no_grad():
            run.network.model.norm.weight += 1e-3 * drawn
        if run.step == self.at:
            raise KeyboardInterrupt

    def canonical(self):
        return {"kind": self.kind}  # the same run, whether it will be interrupted or not

    def finish(self, run, state):
        run.facts["sum"] = float(state.tensors["sum"])


def run(text, folder, at=-1, recipe=RECIPE, seed=2, save_every=0.0):
    model = build("llama-16x2", load_tokenizer("ascii"))
    torch.manual_seed(time.time_ns() % 2**32)  # the caller's random state plays no part
    log = train(model, given(text), recipe, seed=seed, methods=[Stop(at=at)], folder=folder, save_every=save_every, quiet=True)
    return model, log


def test_interrupted_at_any_step_ends_bit_identical(text, tmp_path):
    whole, log = run(text, None)
    for at in (0, 1, 13, 28, 29):
        folder = tmp_path / str(at)
        with pytest.raises(KeyboardInterrupt):
            run(text, folder, at)
        again, resumed = run(text, folder)
        assert again.weights() == whole.weights()
        assert resumed.losses == log.losses
        assert resumed.facts == log.facts


def test_a_finished_run_is_not_made_again(text, tmp_path):
    first, _ = run(text, tmp_path)
    with safe_open(tmp_path / STATE_FILE, "pt") as stored:
        assert len(stored.get_tensor("losses")) == 30
    again, log = run(text, tmp_path, at=0)  # would be interrupted if it made a step
    assert again.weights() == first.weights()
    assert len(log.losses) == 30


def test_nothing_is_saved_before_it_is_due(text, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        run(text, tmp_path, at=20, save_every=60)
    assert not (tmp_path / STATE_FILE).exists()


LONG = RECIPE.model_copy(update={"steps": 300})

SCRIPT = """
import os, random, signal, sys, threading, time
from pathlib import Path
from pliant.data import Packed, load_tokenizer
from pliant.models import build
from pliant.train import Recipe, train
sys.path.insert(0, sys.argv[4])
from small_text import given

text, folder, recipe = Packed(Path(sys.argv[1])), Path(sys.argv[2]), Recipe.parse(eval(sys.argv[3]))

def kill_after_the_next_save():
    state = folder / "state.safetensors"
    last = state.stat().st_mtime_ns if state.exists() else 0
    while not state.exists() or state.stat().st_mtime_ns == last:
        time.sleep(0.001)
    time.sleep(random.uniform(0, 0.05))
    os.kill(os.getpid(), signal.SIGKILL)

threading.Thread(target=kill_after_the_next_save, daemon=True).start()
train(build("llama-16x2", load_tokenizer("ascii")), given(text), recipe, folder=folder, save_every=0.02, quiet=True)
"""


@pytest.mark.slow
def test_killed_again_and_again_ends_bit_identical(text, tmp_path):
    progress = [0]
    for _ in range(3):
        command = [
            sys.executable,
            "-c",
            SCRIPT,
            str(text.folder),
            str(tmp_path),
            str(LONG.model_dump(mode="json")),
            str(Path(__file__).parents[1]),
        ]
        process = subprocess.run(command, env=os.environ | {"OMP_NUM_THREADS": "1"}, check=False)
        assert process.returncode == -signal.SIGKILL
        with safe_open(tmp_path / STATE_FILE, "pt") as stored:
            progress.append(len(stored.get_tensor("losses")))
    assert progress == sorted(set(progress)), "each process went on where the one before it was killed"
    assert progress[-1] < 300
    whole, killed = (build("llama-16x2", load_tokenizer("ascii")) for _ in range(2))
    expected = train(whole, given(text), LONG, quiet=True)
    log = train(killed, given(text), LONG, folder=tmp_path, quiet=True)
    assert killed.weights() == whole.weights()
    assert log.losses == expected.losses


@pytest.mark.parametrize("change", [{"seed": 3}, {"recipe": RECIPE.model_copy(update={"lr": 2e-2})}])
def test_another_run_is_not_continued(text, tmp_path, change):
    with pytest.raises(KeyboardInterrupt):
        run(text, tmp_path, at=5)
    with pytest.raises(PliantError, match="of another run"):
        run(text, tmp_path, **change)


def test_a_longer_run_at_a_constant_rate_goes_on_from_a_shorter_one(text, tmp_path):
    def at_constant_rate(steps, folder):
        model = build("llama-16x2", load_tokenizer("ascii"))
        recipe = RECIPE.model_copy(update={"steps": steps, "schedule": Constant(), "warmup": 2})
        return model, train(model, given(text), recipe, folder=folder, quiet=True)

    at_constant_rate(12, tmp_path)
    continued, log = at_constant_rate(30, tmp_path)
    whole, expected = at_constant_rate(30, None)
    assert continued.weights() == whole.weights()
    assert log.losses == expected.losses


def test_a_damaged_state(text, tmp_path):
    run(text, tmp_path)
    stored = tmp_path / STATE_FILE
    stored.write_bytes(stored.read_bytes()[:1000])
    with pytest.raises(PliantError, match="remove it to start the run afresh"):
        run(text, tmp_path)


def test_a_folder_that_cannot_be_written(text, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PliantError, match="cannot write"):
        run(text, tmp_path / "file")


def damaged(path, change):
    """The state with its tensors or its header changed."""
    with safe_open(path, "pt") as stored:
        header, tensors = stored.metadata(), {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118
    change(header, tensors)
    save_file(tensors, path, metadata=header)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda header, tensors: header.pop("seconds"), "parts are missing"),
        (lambda header, tensors: header.update(seconds="long"), "parts are missing"),
        (lambda header, tensors: tensors.pop("losses"), "parts are missing"),
        (lambda header, tensors: tensors.pop("random.cpu"), "parts are missing"),
        (lambda header, tensors: tensors["losses"].fill_(float("nan")), "a loss is not a number"),
        (lambda header, tensors: tensors.update({"losses": torch.ones(31)}), "made 31 steps, more than the 30"),
        (lambda header, tensors: tensors.update({"random.cpu": torch.zeros(3)}), "random state"),
        (lambda header, tensors: tensors.pop("network.model.norm.weight"), "network.model.norm.weight is missing"),
        (lambda header, tensors: tensors.update({"optimizer.exp_avg.model.norm.weight": torch.zeros(3)}), "of another shape"),
        (lambda header, tensors: header.update(run="other"), "is of another run"),
    ],
)
def test_a_state_with_parts_that_are_damaged(text, tmp_path, change, message):
    run(text, tmp_path)
    damaged(tmp_path / STATE_FILE, change)
    with pytest.raises(PliantError, match=rf"{message}.*; remove it to start"):
        run(text, tmp_path)
    (tmp_path / STATE_FILE).unlink()
    run(text, tmp_path)


def test_a_state_that_is_no_file(text, tmp_path):
    os.mkfifo(tmp_path / STATE_FILE)
    with pytest.raises(PliantError, match="is not a file; remove it"):
        run(text, tmp_path)


def test_the_state_of_a_longer_run_is_not_taken_for_a_shorter_one(text, tmp_path):
    model = build("llama-16x2", load_tokenizer("ascii"))
    recipe = RECIPE.model_copy(update={"schedule": Constant(), "warmup": 2})
    train(model, given(text), recipe, folder=tmp_path, quiet=True)
    with pytest.raises(PliantError, match="made 30 steps, more than the 12 of this one"):
        train(
            build("llama-16x2", load_tokenizer("ascii")), given(text), recipe.model_copy(update={"steps": 12}), folder=tmp_path, quiet=True
        )
