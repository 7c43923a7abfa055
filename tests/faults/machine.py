"""A machine with the disk that fails: where simulated processes run, alone or in turns."""

from __future__ import annotations

import builtins
import contextlib
import fcntl
import io
import itertools
import os
import random
import re
import threading
import time
from collections.abc import Callable, Generator, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

from disk import CHANGING, READING, Process, guarded, here, intercepted_flock, intercepted_open, native_writer


def _sleep(real: Callable[[float], None]) -> Callable[[float], None]:
    def call(seconds: float) -> None:
        process = here()
        return real(seconds) if process is None else process.pause()

    return call


class _Connection:
    """DuckDB without what takes long: one instance serves all, and views of views are made when a query names one.

    Others have a turn before each query.
    """

    numbers = itertools.count()

    def __init__(self, instance: Any) -> None:
        self.instance, self.name = instance, f"life{next(self.numbers)}"
        self.waiting: dict[str, str] = {}
        self.cursor = instance.cursor()
        self.cursor.execute(f"attach ':memory:' as {self.name}; use {self.name}")

    def __enter__(self) -> _Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.cursor.close()
        self.instance.execute(f"detach {self.name}")

    def __getattr__(self, name: str) -> Any:
        return getattr(self.cursor, name)

    def execute(self, query: str, *parameters: Any) -> Any:
        """The query; settings would bind all connections of the instance."""
        if query.startswith("set "):
            return self.cursor
        if (view := re.match(r"\s*create or replace view (\w+)", query)) and "read_parquet" not in query:
            self.waiting[view[1]] = query
            return self.cursor
        return self._at(self.cursor.execute, query, *parameters)

    def sql(self, query: str) -> Any:
        return self._at(self.cursor.sql, query)

    def _at(self, method: Callable[..., Any], query: str, *parameters: Any) -> Any:
        process = here()
        if process is not None:
            process.pause()
        if any(name in query for name in self.waiting):
            for view in self.waiting.values():
                self.cursor.execute(view)
            self.waiting.clear()
        return method(query, *parameters)


@contextlib.contextmanager
def simulated_disk(*native: tuple[Any, str]) -> Generator[None]:
    """While the block runs, simulated processes meet their faults. Everything else goes its way.

    `native` are modules and their functions that write a file by themselves.
    """
    import duckdb
    import pyarrow.parquet as pq

    opened, start = intercepted_open(io.open), pq.ParquetWriter.__init__

    def writer(self: Any, where: Any, *arguments: Any, **options: Any) -> None:
        ours = here() is not None and isinstance(where, (str, Path))
        stream = opened(where, "wb") if ours else where
        start(self, stream, *arguments, **options)
        if ours:
            self.file_handle = stream  # which closes it

    def connect(**options: Any) -> _Connection:
        return _Connection(instance)

    with contextlib.ExitStack() as patches, duckdb.connect(config={"temp_directory": "", "threads": 1}) as instance:
        for name in ("open", "write", *CHANGING, *READING):
            patches.enter_context(mock.patch.object(os, name, guarded(name, getattr(os, name))))
        for module, name in native:
            patches.enter_context(mock.patch.object(module, name, native_writer(getattr(module, name))))
        patches.enter_context(mock.patch.object(fcntl, "flock", intercepted_flock(fcntl.flock)))
        patches.enter_context(mock.patch.object(time, "sleep", _sleep(time.sleep)))
        patches.enter_context(mock.patch.object(io, "open", opened))
        patches.enter_context(mock.patch.object(builtins, "open", opened))
        patches.enter_context(mock.patch.object(pq.ParquetWriter, "__init__", writer))
        patches.enter_context(mock.patch.object(duckdb, "connect", connect))
        yield


def together(programs: Sequence[tuple[Process, Callable[[], Any]]], generator: random.Random) -> None:
    """Run the programs to their ends, in turns of one operation that `generator` deals out."""
    if len(programs) == 1:
        programs[0][0].run(programs[0][1])
        return
    back, ended = _taken(), set[threading.Thread]()
    turns: dict[threading.Thread, threading.Lock] = {}

    def life(process: Process, program: Callable[[], Any], turn: threading.Lock) -> None:
        def pause() -> None:
            back.release()
            turn.acquire()

        turn.acquire()
        process.pause = pause
        process.run(program)
        ended.add(threading.current_thread())
        back.release()

    for process, program in programs:
        turn = _taken()
        thread = threading.Thread(target=life, args=(process, program, turn))
        turns[thread] = turn
        thread.start()
    while living := [thread for thread in turns if thread not in ended]:
        turns[generator.choice(living)].release()
        back.acquire()
    for thread in turns:
        thread.join()


def _taken() -> threading.Lock:
    """A baton that somebody else holds."""
    lock = threading.Lock()
    lock.acquire()
    return lock
