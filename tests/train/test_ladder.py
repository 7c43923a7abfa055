import json
import os
import pickle
import re
from dataclasses import replace
from pathlib import Path
from statistics import mean

import pytest
import torch

from pliant.data import Corpus, Packed, packed
from pliant.errors import PliantError
from pliant.methods import QuantizeAware
from pliant.models import load
from pliant.objectives import NextToken
from pliant.spec import digest
from pliant.train import Diverged, TrainedLadder, TrainedRung
from pliant.train.ladder import NewModel
from pliant.train.rung import LOG_FILE
from pliant.train.state import STATE_FILE


@pytest.fixture
def fields(text_file, cache):
    """A ladder of three budgets: 8, 16 and 32 steps."""
    model = {"preset": "llama-16x2", "tokenizer": "ascii", "context": 16}
    return {"model": model, "corpus": str(text_file), "tokens": [512, 1024, 2048], "batch": 4}


def ladder(fields, **changes):
    return TrainedLadder(**{**fields, **changes})


def test_forms(fields):
    spec = ladder(fields)
    assert TrainedLadder.parse({key: value for key, value in spec.canonical().items() if key != "kind"}) == spec
    assert ladder(fields, tokens="2k").tokens == (2000,)
    assert ladder(fields, tokens=["2k", 1000, 2000]).tokens == (1000, 2000)
    assert ladder(fields, model="llama-9k").model == (NewModel(preset="llama-16x2"),)
    assert len(ladder(fields, model=["llama-16x2", {"preset": "llama-32x1"}]).model) == 2
    assert ladder(fields, methods=[{"qat": {"weights": 4}}]).methods == (QuantizeAware(weights=4),)
    assert ladder(fields).hash() != ladder(fields, methods=[{"qat": {"weights": 4}}]).hash()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tokens": [0, 5]}, "trains nothing"),
        ({"tokens": []}, "at least one"),
        ({"tokens": "many"}, "is not a count"),
        ({"model": {"preset": "lama-16x2"}}, "unknown preset"),
        ({"model": []}, "at least one"),
        ({"methods": [{"qtq": {}}]}, "unknown method"),
        ({"learning_rate": 1}, "unknown field"),
    ],
)
def test_wrong_fields(fields, changes, message):
    with pytest.raises(PliantError, match=message):
        ladder(fields, **changes)


def test_what_is_known_beforehand_is_true_afterwards(fields, tmp_path):
    rungs = ladder(fields).rungs(seed=3, folder=tmp_path / "trained")
    assert [rung.tokens for rung in rungs] == [512, 1024, 2048]
    assert not (tmp_path / "trained").exists()
    rung = rungs[1]
    before = rung.checkpoint
    assert rung.cost == 6 * 8784 * 1024
    with rung.open() as model:
        assert model.checkpoint == before
        assert model.checkpoint.params == sum(p.numel() for p in model.network.parameters()) == 8784
        assert not model.network.training
    assert before.address == "llama-16x2@1.02k-seed3"
    assert (before.tokens, before.unique_tokens, before.seed) == (1024, 1024, 3)
    assert (before.peak_lr, before.final_lr, before.schedule) == (1e-2, 0, "cosine")
    assert rung.cost == 0
    log = json.loads((rung.train() / LOG_FILE).read_text())
    assert len(log["losses"]) == log["steps"] == 16
    assert log["losses"][-1] < log["losses"][0]


def test_a_rung_is_trained_once(fields, tmp_path):
    rung = ladder(fields).rungs(folder=tmp_path)[0]
    folder = rung.train()
    written = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    again = ladder(fields).rungs(folder=tmp_path)[0]
    assert again.train() == folder
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == written
    assert {path.name for path in tmp_path.iterdir() if path.is_dir()} == {rung.identity}, "no unfinished run is left"


def test_same_seed_same_weights_other_seed_other_weights(fields, tmp_path):
    def weights(place, seed):
        return load(ladder(fields).rungs(seed, tmp_path / place)[0].train()).weights()

    assert weights("a", 0) == weights("b", 0) != weights("a", 1)


def test_the_identity_names_everything_that_matters_and_nothing_else(fields, text_file, tmp_path):
    def identity(seed=0, **changes):
        return ladder(fields, **changes).rungs(seed, tmp_path)[0].identity

    base = identity()
    copy = tmp_path / "renamed.jsonl"
    copy.write_bytes(text_file.read_bytes())
    assert identity(corpus=str(copy)) == base, "the same text under another name"
    assert identity(tokens=[520]) == base, "the same number of steps"
    assert identity(lr=1e-2) == base, "the preset's own learning rate, spelled out"
    assert identity(tokens=[512]) == base, "other budgets of the ladder"
    shorter = tmp_path / "shorter.jsonl"
    shorter.write_text("\n".join(text_file.read_text().split("\n")[:-5]))
    changes = [
        {"seed": 1},
        {"tokens": [1024]},
        {"lr": 2e-2},
        {"batch": 2},
        {"schedule": "wsd"},
        {"weight_decay": 0},
        {"corpus": str(shorter)},
        {"methods": [{"qat": {"weights": 4}}]},
        {"model": {**fields["model"], "preset": "llama-32x2"}, "lr": 1e-2},
        {"model": {**fields["model"], "tokenizer": "bytes"}},
    ]
    assert len({base, *(identity(**change) for change in changes)}) == len(changes) + 1


def test_the_identity_is_what_it_was_before_objectives_had_a_name(fields, text_file, tmp_path):
    """Of model, recipe, methods, seed and tokens: checkpoints trained by earlier versions are found again."""
    rung = ladder(fields).rungs(seed=3, folder=tmp_path)[0]
    words = rung.model.words()
    recipe = {
        **{"batch": 4, "accumulate": 1, "length": None, "schedule": "cosine", "decay": 0.2, "final": 0.0, "warmup": None},
        **{"weight_decay": 0.1, "betas": [0.9, 0.95], "epsilon": 1e-8, "clip": 1.0, "precision": "fp32", "lr": 1e-2, "steps": 8},
    }
    model = {"kind": "new_model", "preset": "llama-16x2", "tokenizer": words.fingerprint, "context": 16}
    text = packed(Corpus(source=str(text_file)), words, "train").fingerprint
    assert rung.identity == digest(json.dumps([1, model, recipe, [], 3, text], sort_keys=True))


class Backwards(NextToken):
    """Another objective on the same text."""


def test_another_objective_is_another_run(fields, tmp_path):
    rung = ladder(fields).rungs(folder=tmp_path)[0]
    text = rung.objective.data
    others = [replace(rung, objective=objective) for objective in (NextToken(data=text, part="all"), Backwards(data=text, part="all"))]
    assert len({rung.identity, *(other.identity for other in others)}) == 3
    assert others[0].checkpoint.unique_tokens >= rung.checkpoint.unique_tokens
    with others[0].open() as model:
        assert (model.checkpoint.steps, model.checkpoint.tokens) == (8, 512)


def test_sizes_are_ordered_by_tokens_and_have_their_own_learning_rate(fields, tmp_path):
    model = fields["model"]
    rungs = ladder(fields, model=[model, {**model, "preset": "llama-32x2"}]).rungs(folder=tmp_path)
    assert [(rung.model.preset, rung.tokens) for rung in rungs] == [
        (preset, tokens) for tokens in (512, 1024, 2048) for preset in ("llama-16x2", "llama-32x2")
    ]
    assert rungs[0].recipe.lr > rungs[1].recipe.lr


def test_a_rung_travels_to_another_process(fields, tmp_path):
    rung = ladder(fields).rungs(folder=tmp_path)[0]
    identity = rung.identity
    sent = pickle.loads(pickle.dumps(rung))
    assert isinstance(sent, TrainedRung)
    assert sent.identity == identity
    with sent.open() as model:
        assert model.checkpoint.address == rung.checkpoint.address


def test_a_trajectory_at_a_constant_rate_equals_independent_runs(fields, tmp_path):
    along = ladder(fields, schedule="constant").rungs(folder=tmp_path / "along")
    assert [rung.previous is None for rung in along] == [True, False, False]
    assert [rung.cost for rung in along] == [6 * 8784 * tokens for tokens in (512, 512, 1024)]
    along[2].train()
    assert sorted(path.name for path in (tmp_path / "along").iterdir() if path.is_dir()) == sorted(rung.identity for rung in along)
    for rung in along:
        alone = ladder(fields, schedule="constant", tokens=rung.recipe.tokens, warmup=rung.recipe.warmup).rungs(folder=tmp_path / "alone")[
            0
        ]
        assert alone.previous is None
        assert alone.identity == rung.identity
        assert load(alone.train()).weights() == load(rung.train()).weights()
        assert rung.checkpoint.final_lr == 1e-2
        assert rung.checkpoint.name == "llama-16x2-constant"
    losses = [json.loads((rung.train() / LOG_FILE).read_text())["losses"] for rung in along]
    assert losses[2][:16] == losses[1]
    assert losses[1][:8] == losses[0]


def test_annealed_runs_and_runs_with_methods_are_independent(fields, tmp_path):
    for changes in ({"schedule": "wsd"}, {"schedule": "constant", "methods": [{"qat": {"weights": 4}}]}):
        assert all(rung.previous is None for rung in ladder(fields, **changes).rungs(folder=tmp_path))


def test_methods_take_part_and_tell_their_facts(fields, tmp_path):
    rung = ladder(fields, methods=[{"qat": {"weights": 4}}]).rungs(folder=tmp_path)[0]
    with rung.open() as model:
        assert model.checkpoint.training_bits == 4
        assert model.checkpoint.name == "llama-16x2-qat(weights=4)"
    plain = ladder(fields).rungs(folder=tmp_path)[0]
    assert load(plain.train()).weights() != load(rung.train()).weights()


def test_a_run_that_diverges_is_not_tried_again(fields, tmp_path, monkeypatch):
    rung = ladder(fields, lr=1e6, clip=0, schedule="constant", warmup=0, tokens=8192).rungs(folder=tmp_path)[0]
    with pytest.raises(Diverged) as first:
        rung.train()
    monkeypatch.setattr("pliant.train.rung.train", None)  # a second run would fail in another way
    with pytest.raises(Diverged) as second:
        rung.train()
    assert str(second.value) == str(first.value)
    assert (second.value.step, second.value.lr) == (first.value.step, 1e6)
    assert not any(path.is_dir() for path in tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["", "{", "[" * 5000, "[1]", '{"step": 3}', '{"message": "a", "loss": Infinity}', '{"message": 1}'])
def test_a_damaged_record_of_a_run_that_diverged(fields, tmp_path, damage, capsys):
    rung = ladder(fields, lr=1e6, clip=0, schedule="constant", warmup=0, tokens=8192).rungs(folder=tmp_path)[0]
    with pytest.raises(Diverged) as first:
        rung.train()
    (record,) = tmp_path.glob("*.diverged.json")
    whole = record.read_text()
    record.write_text(damage)
    with pytest.raises(Diverged, match=re.escape(str(first.value))):
        rung.train()
    assert "the run is made again" in capsys.readouterr().err
    assert record.read_text() == whole


@pytest.mark.parametrize("damage", [None, 0, 1000])
def test_a_trajectory_whose_state_is_lost_starts_over(fields, tmp_path, damage, capsys):
    short, long = ladder(fields, schedule="constant", tokens=[512, 1024]).rungs(folder=tmp_path / "a")
    expected = load(ladder(fields, schedule="constant", tokens=[512, 1024]).rungs(folder=tmp_path / "b")[1].train()).weights()
    state = short.train() / STATE_FILE
    if damage is None:
        state.unlink()
    else:
        os.truncate(state, damage)
    assert load(long.train()).weights() == expected
    assert "trained from its first step" in capsys.readouterr().err


def test_a_rung_that_was_killed_goes_on(fields, tmp_path, monkeypatch):
    """What a kill leaves behind: a state, a stale partial folder, a lock without an owner."""

    class Killed(BaseException):
        pass

    expected = load(ladder(fields).rungs(folder=tmp_path / "whole")[2].train()).weights()
    rung = ladder(fields).rungs(folder=tmp_path / "killed")[2]
    monkeypatch.setattr("pliant.train.state.State.due", lambda state: True)
    steps = []

    def kill(packed, step, *rest, positions=Packed.positions):
        steps.append(step)
        if len(steps) == 12:
            raise Killed
        return positions(packed, step, *rest)

    monkeypatch.setattr(Packed, "positions", kill)
    with pytest.raises(Killed):
        rung.train()
    assert not (rung.folder / rung.identity).exists()
    (rung.folder / f"{rung.identity}.partial").mkdir()
    ((rung.folder / f"{rung.identity}.partial") / "half").write_text("")
    assert load(rung.train()).weights() == expected
    assert steps == [*range(12), *range(11, 32)], "it went on from the last state"


def test_no_training_text(fields, tmp_path):
    rung = ladder(fields, corpus=str(tmp_path / "missing.txt")).rungs(folder=tmp_path)[0]
    with pytest.raises(PliantError, match=r"missing\.txt"):
        _ = rung.identity
    small = tmp_path / "small.txt"
    small.write_text("a line\n" * 3)
    with pytest.raises(PliantError, match="small"):
        ladder(fields, corpus=str(small)).rungs(folder=tmp_path)[0].train()


@pytest.mark.skipif(os.geteuid() == 0, reason="the administrator may write anywhere")
def test_a_folder_that_cannot_be_written(fields, tmp_path):
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    with pytest.raises(PliantError, match="cannot write"):
        ladder(fields).rungs(folder=locked / "trained")[0].train()


def test_by_default_checkpoints_are_kept_in_the_cache(fields, cache):
    rung = ladder(fields).rungs()[0]
    assert Path(rung.train()).is_relative_to(cache)


@pytest.mark.slow
def test_loss_falls_with_the_budget(fields, tmp_path):
    """The mean loss over the last tenth of the training batches, at four budgets, two seeds."""
    model = {**fields["model"], "context": 64}
    spec = ladder(fields, model=model, batch=16, tokens=["25k", "50k", "100k", "200k"])
    ends = []
    for seed in (0, 1):
        logs = [json.loads((rung.train() / LOG_FILE).read_text())["losses"] for rung in spec.rungs(seed, tmp_path)]
        ends.append([mean(losses[-(len(losses) // 10) :]) for losses in logs])
    assert torch.tensor(ends).mean(0).diff().max() < -0.1, ends
