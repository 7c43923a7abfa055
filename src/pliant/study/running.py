"""Running a study: what its ledger lacks is measured, and every finished cell is in the ledger at once.

Idea: kill it whenever you like and run it again; it goes on where it was. A cell that fails is a record with its error, the
others go on, and the next run tries it again.
Cost: see `pliant run --dry-run`.
What goes wrong: results of two runs are equal bit for bit only on the same device and thread count, which is why tiny models
always get one thread a worker.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pliant.errors import PliantError
from pliant.ledger.ledger import MANY_SHARDS, Ledger
from pliant.ledger.merging import restate
from pliant.progress import progress, remark
from pliant.spec import nearest
from pliant.study.planning import Plan, plan
from pliant.study.runs import Runs
from pliant.study.sizing import allowed_workers, workers_for
from pliant.study.study import Study

DTYPES = ("float32", "bfloat16", "float16", "auto")


def run(
    study: Study | str | Path | Mapping[str, Any],
    ledger: Ledger | str | Path | None = None,
    *,
    workers: int | None = None,
    device: str | None = None,
    dtype: str | None = None,
    executor: Literal["local", "ray"] = "local",
    quiet: bool = False,
) -> Runs:
    """Measure what the ledger lacks of the study.

    Args:
        study: A study, its YAML file, or its form.
        ledger: The folder of results, made where it is missing; `runs/NAME` by default.
        workers: Processes; 0 runs everything in this one. By default as many as cores, memory and work call for.
        device: Such as `cuda`; PyTorch's default where not given.
        dtype: Of stored checkpoints, in place of what the study says: float32, bfloat16, float16 or auto.
        executor: `ray` for the workers of a Ray cluster (extra `scale`).
        quiet: Show no progress, and make no remarks.

    Raises PliantError for a study, checkpoints or data that are not there, and for a full or read-only disk; what was
    finished before is in the ledger. Failed cells raise nothing; see `Runs.failed`.
    """
    study = with_dtype(as_study(study), dtype)
    check_device(device)
    store = ledger if isinstance(ledger, Ledger) else Ledger(ledger or Path("runs") / study.name, create=True)
    with store.lock():
        planned = plan(study, store, device)
        store.remember(study.name, study.canonical(), planned.keys)
        restate(store, planned.facts)
        if not quiet:
            for line in planned.remarks:
                remark(line)
        with progress(study.name, planned.cost.seconds, quiet=quiet) as advance:
            _run(planned, store, executor, workers, device, advance)
        store.compact(at_least=MANY_SHARDS)
    return Runs(study, store, tuple(planned.remarks))


def as_study(study: Study | str | Path | Mapping[str, Any]) -> Study:
    """The study that a file or form describes."""
    if isinstance(study, Study):
        return study
    return Study.parse(study) if isinstance(study, Mapping) else Study.read(study)


def with_dtype(study: Study, dtype: str | None) -> Study:
    """The study with its stored checkpoints loaded as `dtype`. Raises PliantError where the ladder is trained here."""
    if dtype is None:
        return study
    if dtype not in DTYPES:
        raise PliantError(f"unknown dtype {dtype!r}; {nearest(dtype, DTYPES)}")
    if "dtype" not in type(study.checkpoints).model_fields:
        raise PliantError("dtype is for stored checkpoints; a ladder trained here says its own `precision`")
    return study.model_copy(update={"checkpoints": study.checkpoints.model_copy(update={"dtype": dtype})})


def check_device(device: str | None) -> None:
    """Raises PliantError for a device that PyTorch does not know or this machine does not have."""
    if device is None:
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise PliantError(f"device {device!r} cannot be used here ({str(error).splitlines()[0]})") from None


def _run(planned: Plan, ledger: Ledger, executor: str, workers: int | None, device: str | None, advance: Any) -> None:
    """In this process or in workers, whichever suits the plan."""
    from pliant.study.pool import Pool, run_here
    from pliant.study.processes import Processes
    from pliant.study.queue import Queue
    from pliant.study.session import Session
    from pliant.study.worker import WorkerSettings, module_path

    if not planned.cells:
        return
    ladder: Any = planned.study.checkpoints
    queue = Queue(planned, in_order=ladder.one_at_a_time)
    count, threads = workers_for(planned, device, one_at_a_time=queue.in_order)
    settings = WorkerSettings(module_path(), threads, device)
    if executor == "ray":
        from pliant.study.ray_cluster import Cluster

        cluster = Cluster(settings)
        Pool(planned, queue, cluster, workers or cluster.count, ledger.write, advance).run()
        return
    if count := allowed_workers(planned, count if workers is None else workers, explicit=workers is not None):
        Pool(planned, queue, Processes(settings), count, ledger.write, advance).run()
        return
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        run_here(planned, queue, Session(device), ledger.write, advance)
    finally:
        torch.set_num_threads(before)
