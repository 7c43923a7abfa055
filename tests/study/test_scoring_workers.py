"""Scoring on workers: what one process would have written, whoever dies on the way."""

from __future__ import annotations

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest

from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.models import build, load
from pliant.models.ladder import Loading
from pliant.models.save import save
from pliant.objectives import NextToken
from pliant.scores import Perplexity, Scores, perplexity
from pliant.scores.journal import score_to_file
from pliant.study.processes import Processes, WorkerDied
from pliant.study.scoring import ScoringOrder, on_workers

PART = 250


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """Two shards of text, a model, and the scores of one process."""
    folder = tmp_path_factory.mktemp("scoring")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLIANT_CACHE", str(folder / "cache"))
        (folder / "text").mkdir()
        for shard in range(2):
            texts = [f"Number {number} of {shard} is told. " * (1 + number % 5) for number in range(30)]
            (folder / "text" / f"{shard}.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
        save(build("llama-16x1", load_tokenizer("ascii"), 0, context=32), folder / "model")
        patch.setattr(perplexity, "PART", PART)
        scored(folder, folder / "alone.parquet")
        yield folder


def ordered(folder):
    objective = NextToken(data=str(folder / "text"), part="all")
    model = load(folder / "model")
    examples = objective.examples(model, None)
    order = ScoringOrder(Perplexity(), (str(folder / "model"),), Loading(), objective, None, (model.weights(),), examples.fingerprint)
    return order, model, examples


def scored(folder, out, leave_out=frozenset(), changed=None, **running):
    order, model, examples = ordered(folder)
    with on_workers(replace(order, **changed or {}), **running) as each:
        return score_to_file(order.score, [model], examples, out, {"content": "c"}, leave_out, each)


@pytest.fixture
def deaths(place, monkeypatch):
    """The ids of worker processes; the first is killed over its third part."""
    monkeypatch.setenv("PLIANT_CACHE", str(place / "cache"))
    monkeypatch.setattr(perplexity, "PART", PART)

    pids: list[int] = []

    class Dying(Processes):
        def start(self):
            worker = super().start()
            pids.append(worker.process.pid)
            if len(pids) == 1:
                send, parts = worker.send, iter(range(3))
                worker.send = lambda task: (send(task), next(parts) == 2 and os.kill(worker.process.pid, signal.SIGKILL))
            return worker

    monkeypatch.setattr("pliant.study.scoring.Processes", Dying)
    return pids


@pytest.mark.slow
def test_a_worker_killed_half_way_loses_nothing_and_nothing_is_scored_twice(place, tmp_path, deaths):
    scored(place, tmp_path / "two.parquet", workers=1)
    assert len(deaths) == 2, "another takes its place"
    assert (tmp_path / "two.parquet").read_bytes() == (place / "alone.parquet").read_bytes()
    assert not any(Path(f"/proc/{pid}").exists() for pid in deaths)


class Here:
    """Workers in this process that answer one by one, the last that was asked first."""

    def __init__(self, settings):
        self.asked = []

    def start(self):
        return HereWorker(self.asked)

    def ready(self, busy):
        assert busy
        return [busy[-1]]


class HereWorker:
    def __init__(self, asked):
        self.asked = asked

    def send(self, task):
        self.task = task
        self.asked.append(task.numbers)

    def receive(self):
        from types import SimpleNamespace

        return self.task.done(SimpleNamespace(device=None))

    def stop(self):
        """Nothing runs."""


def test_answers_in_any_order_are_written_in_theirs(place, tmp_path, deaths, monkeypatch):
    monkeypatch.setattr("pliant.study.scoring.Processes", Here)
    scored(place, tmp_path / "three.parquet", workers=3)
    assert (tmp_path / "three.parquet").read_bytes() == (place / "alone.parquet").read_bytes()
    some = frozenset(list(Scores.read(place / "alone.parquet").ids)[::2])
    scored(place, tmp_path / "left.parquet", leave_out=some, workers=3)
    assert set(Scores.read(tmp_path / "left.parquet").ids) == set(Scores.read(place / "alone.parquet").ids) - some
    with pytest.raises(PliantError, match="the data is other data where a worker runs"):
        scored(place, tmp_path / "other.parquet", changed={"data": "0" * 16}, workers=2)
    with pytest.raises(PliantError, match="is another model where a worker runs"):
        scored(place, tmp_path / "other.parquet", changed={"weights": ("0" * 16,)}, workers=2)


def test_a_part_at_which_every_worker_dies_is_given_up(place, tmp_path, deaths, monkeypatch):
    def dies(worker):
        raise WorkerDied("the worker process was killed by signal 9")

    monkeypatch.setattr("pliant.study.scoring.Processes", Here)
    monkeypatch.setattr(HereWorker, "receive", dies)
    with pytest.raises(PliantError, match=r"examples 0 to \d+: the worker process was killed by signal 9"):
        scored(place, tmp_path / "none.parquet", workers=1)
    monkeypatch.undo()
    assert not (tmp_path / "none.parquet").exists()


def test_a_ray_cluster_scores_the_same(place, tmp_path, deaths):
    pytest.importorskip("ray", reason="ray is not installed (extra scale)")
    scored(place, tmp_path / "ray.parquet", executor="ray", workers=2)
    assert (tmp_path / "ray.parquet").read_bytes() == (place / "alone.parquet").read_bytes()
