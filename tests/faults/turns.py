"""The file operations of a program fail in turn, and are cut short, and are its last."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from disk import ROOM, Process

from pliant.errors import PliantError

EVERY = int(os.environ.get("PLIANT_FAULTS_EVERY", "3"))
"""Of how many operations one fails in its turn: all of them by `make faults`."""


def turns(root: Path, prepare: Callable[[], Any], program: Callable[[Process], Any]) -> Iterator[Process]:
    """The processes that `program` was, one for each fault at its operations in turn; `prepare` makes the disk ready before each.

    What ends with an error must end with one that users are told of disks.
    """
    prepare()
    whole = Process(root)
    whole.run(functools.partial(program, whole))
    assert whole.error is None, f"without a fault: {whole.error!r}"
    for place, operation in list(enumerate(whole.operations))[::EVERY]:
        name = operation.split()[0]
        faults = [("kill", 0.0), ("ENOSPC" if name in ROOM else "EIO", 0.0)]
        for fault in [*faults, ("kill", 0.5), ("EIO", 0.5)] if name == "write" else faults:
            prepare()
            process = Process(root, lambda number, place=place, fault=fault: fault if number == place else None)
            process.run(functools.partial(program, process))
            assert process.harmed, f"{operation} did not happen again"
            assert process.dead or process.error is None or isinstance(process.error, (PliantError, OSError)), repr(process.error)
            yield process
