"""Workers on a Ray cluster (extra `scale`): the same cells, or parts of a scoring, on more machines.

Idea: a worker is an actor that holds a checkpoint open; the pool deals out cells as it does to processes. The cluster is the one
that RAY_ADDRESS names, or this machine.
When to use it: when one machine is too slow. Cells are independent, so the time falls with the number of workers.
What goes wrong: every machine must see the ledger's folder and the data under the same paths, and have the same pliant.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from pliant.errors import PliantError
from pliant.study.messages import WorkerTask
from pliant.study.processes import Worker, WorkerDied
from pliant.study.session import Session
from pliant.study.worker import WorkerSettings


class Cluster:
    """The Ray cluster."""

    def __init__(self, settings: WorkerSettings) -> None:
        ray = _ray()
        with contextlib.chdir(Path(__file__).parents[2]):  # Ray's workers look for modules first where it was started
            ray.init(ignore_reinit_error=True, log_to_driver=False)
        self.settings = settings
        accelerators = 1 if settings.device is not None and not settings.device.startswith("cpu") else 0
        self._actor: Any = ray.remote(num_cpus=settings.threads, num_gpus=accelerators, max_restarts=0)(_Actor)
        per_machine = ray.cluster_resources()
        self.count = int(per_machine.get("GPU", 0) if accelerators else per_machine.get("CPU", 1) // settings.threads) or 1

    def start(self) -> RayWorker:
        """A new actor."""
        return RayWorker(self._actor.remote(self.settings, str(Path.cwd())))

    def ready(self, busy: Sequence[Any]) -> list[Any]:
        """Those whose answer is there."""
        answers = {worker.answer: worker for worker in busy}
        done, _ = _ray().wait(list(answers))
        return [answers[answer] for answer in done]


class _Actor:
    """A session on some machine of the cluster."""

    def __init__(self, settings: WorkerSettings, folder: str) -> None:
        settings.apply()
        with contextlib.suppress(OSError):  # a machine that has no such folder finds the files that are named in full
            os.chdir(folder)
        self.session = Session(settings.device)

    def work(self, task: WorkerTask) -> Any:
        """The answer to one task."""
        return task.done(self.session)


class RayWorker(Worker):
    """One actor."""

    def __init__(self, actor: Any) -> None:
        super().__init__()
        self.actor, self.answer = actor, None

    def send(self, task: WorkerTask) -> None:
        """Call the actor; the answer comes later."""
        self.answer = self.actor.work.remote(task)

    def receive(self) -> Any:
        """The answer. Raises WorkerDied when the actor has died."""
        ray = _ray()
        try:
            return ray.get(self.answer)
        except ray.exceptions.RayActorError as error:
            raise WorkerDied(f"the worker on the cluster has died ({str(error).splitlines()[0]})") from None

    def stop(self) -> None:
        """End the actor."""
        _ray().kill(self.actor)


def _ray() -> Any:
    """The package. Raises PliantError where it is not installed."""
    try:
        return import_module("ray")
    except ImportError:
        raise PliantError("the executor ray needs the package ray: pip install 'pliant[scale]'") from None
