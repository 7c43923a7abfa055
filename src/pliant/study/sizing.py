"""How many workers a study gets, and how many threads each."""

from __future__ import annotations

import os
from pathlib import Path

from pliant.errors import PliantError
from pliant.spec import parts
from pliant.study.planning import Plan

SOON = 10.0
"""A study estimated to end within so many seconds is run in this process: workers would take as long to start."""
TINY, SMALL = 20_000_000, 300_000_000
"""Parameters up to which one thread, and four, are the best use of a core."""


def workers_for(planned: Plan, device: str | None, *, one_at_a_time: bool = False) -> tuple[int, int]:
    """How many worker processes, and how many threads for each; no process where the work is too little for one."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    params = [planned.rungs[cell.rung].checkpoint.params for cell in planned.cells]
    largest = max((count for count in params if count is not None), default=0) if None not in params else SMALL
    threads = 1 if largest < TINY else min(4, cores) if largest < SMALL else cores
    if device is not None and not device.startswith("cpu"):
        return 1, cores
    if planned.cost.seconds < SOON:
        return 0, threads
    room = _free_memory() // (28 * largest + 10**9)  # weights, their copy, gradients, two moments, activations; and PyTorch
    return max(1, min(cores // threads, room, len(planned.cells), 1 if one_at_a_time else cores)), threads


def _free_memory() -> int:
    """Bytes that a new process could have; more than enough where the system does not say."""
    try:
        facts = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return int(facts["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):
        return 1 << 50


def allowed_workers(planned: Plan, count: int, *, explicit: bool) -> int:
    """0 where workers cannot be had: systems without descriptors to pass on, and kinds defined in a notebook or script.

    Raises PliantError where workers were asked for by number.
    """
    if count < 0:
        raise PliantError(f"workers: {count} is not a number of processes")
    local = sorted({type(part).__name__ for part in parts(planned.study) if type(part).__module__ == "__main__"})
    if count and (local or os.name != "posix"):
        if explicit:
            reason = f"{local[0]} is defined in a notebook or script; move it to a module, or" if local else "this system has none;"
            raise PliantError(f"workers: {reason} use workers=0")
        return 0
    return count
