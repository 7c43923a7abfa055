"""Every file operation of a program fails in turn, and is cut short, and is its last."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from disk import ROOM, Process

from pliant.errors import PliantError


def turns(root: Path, prepare: Callable[[], Any], program: Callable[[Process], Any]) -> Iterator[Process]:
    """The processes that `program` was, one for each fault at each of its operations; `prepare` makes the disk ready before each.

    What ends with an error must end with one that users are told of disks.
    """
    prepare()
    whole = Process(root)
    whole.run(functools.partial(program, whole))
    assert whole.error is None, f"without a fault: {whole.error!r}"
    for place, operation in enumerate(whole.operations):
        name = operation.split()[0]
        faults = [("kill", 0.0), ("ENOSPC" if name in ROOM else "EIO", 0.0)]
        for fault in [*faults, ("kill", 0.5), ("EIO", 0.5)] if name == "write" else faults:
            prepare()
            process = Process(root, lambda number, place=place, fault=fault: fault if number == place else None)
            process.run(functools.partial(program, process))
            assert process.harmed, f"{operation} did not happen again"
            assert process.dead or process.error is None or isinstance(process.error, (PliantError, OSError)), repr(process.error)
            yield process
