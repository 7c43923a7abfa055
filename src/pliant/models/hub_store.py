"""Checkpoints of the hub on this disk: there while somebody uses them, one fetched ahead, gone afterwards.

Idea: each revision has a folder and a lock file. Whoever uses a revision, in whatever process, holds its lock shared; whoever
lets go of it last can lock it alone, and deletes it. The system frees the locks of a process that is killed, so what it left
behind is found and deleted by the next one. A revision is fetched ahead only while no more than one other is here, so a
series of any length needs the disk of two.
When to use: through `HubLadder`. The hub's own cache is never touched.
What goes wrong: several worker processes hold one revision each, and at most one more is fetched ahead. Without file locks
(Windows) only one process may use the store.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import shutil
import threading
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from pliant.errors import PliantError
from pliant.files import cache_folder, disk_errors
from pliant.models.hub_files import Cancelled, SwitchedOff, Unreachable, chosen_files, fetch, list_files
from pliant.spec import digest

PLACES = 2
"""Checkpoints on disk beyond which nothing is fetched ahead."""
PAUSES = (1.0, 4.0, 16.0)
"""Seconds to wait before each further attempt when the hub stops answering."""


@dataclass(frozen=True)
class Source:
    """One commit of one repository."""

    hub: str
    commit: str
    endpoint: str | None = None
    code: bool = False

    @property
    def store(self) -> Path:
        """The folder of all commits of this repository."""
        return cache_folder() / "hub" / f"{self.hub.replace('/', '--')}-{digest(f'{self.endpoint} {self.hub}')[:8]}"

    @property
    def folder(self) -> Path:
        """Where the files of this commit lie while it is in use."""
        return self.store / self.commit


class Held:
    """A source whose folder stays until `release`."""

    def __init__(self, source: Source) -> None:
        self.source = source
        with disk_errors(source.store):
            source.store.mkdir(parents=True, exist_ok=True)
            self._lock = (source.store / f"{source.commit}.lock").open("w")
        _flock(self._lock, exclusive=False)
        self.cancelled = threading.Event()

    def download(self) -> None:
        """Fetch what is missing, with patience. Raises PliantError, or Cancelled."""
        for pause in PAUSES:
            try:
                return self._download()
            except SwitchedOff:
                raise
            except Unreachable:
                self.cancelled.wait(pause)
        return self._download()

    def _download(self) -> None:
        source = self.source
        address = f"{source.hub}@{source.commit[:12]}"
        names = chosen_files(list_files(source.hub, source.commit, source.endpoint), address, code=source.code)
        fetch(source.hub, source.commit, names, source.folder, source.endpoint, self.cancelled)

    def release(self) -> None:
        """Let go of the folder; the last holder deletes it."""
        if _flock(self._lock, exclusive=True, wait=False):
            shutil.rmtree(self.source.folder, ignore_errors=True)
        _unlock(self._lock)


class _Ahead:
    """The one source that this process fetches in the background."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.process = os.getpid()
        self.held: Held | None = None
        self._cancelled = threading.Event()
        self._thread = threading.Thread(target=self._work, name=f"fetching {source.hub}", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        with contextlib.suppress(PliantError, Cancelled, OSError):  # the rung itself says what is wrong when its turn comes
            with _alone(self.source.store):
                _sweep(self.source.store, keep=self.source)
                if len(_folders(self.source.store)) >= PLACES:
                    return
                self.held = Held(self.source)
                self.held.cancelled = self._cancelled
                self.source.folder.mkdir(exist_ok=True)
            self.held.download()

    def take(self) -> Held | None:
        """Wait for it; the caller must release it. None where there was no room for it."""
        self._thread.join()
        return self.held

    def drop(self) -> None:
        """Stop it and delete what it fetched."""
        self._cancelled.set()
        self._thread.join(timeout=10)
        if self.held is not None:
            self.held.release()


_ahead: _Ahead | None = None


def hold(source: Source) -> Held:
    """The complete files of `source`, fetched now unless they were fetched ahead. The caller must release it.

    Raises PliantError when they cannot be had.
    """
    ahead = _forget_ahead()
    held = None
    if ahead is not None and ahead.source == source:
        held = _taken(ahead)
    elif ahead is not None:
        ahead.drop()
    if held is None:
        with _alone(source.store):
            _sweep(source.store, keep=source)
            held = Held(source)
    try:
        held.download()  # completes, or finds complete, what was fetched ahead
    except BaseException:
        held.release()
        raise
    return held


def _taken(ahead: _Ahead) -> Held | None:
    try:
        return ahead.take()
    except BaseException:  # Ctrl-C while waiting
        ahead.drop()
        raise


def fetch_ahead(source: Source) -> None:
    """Begin to fetch `source` in the background; `hold` takes it over. Replaces what was fetched ahead before."""
    global _ahead
    drop_ahead()
    _ahead = _Ahead(source)


def drop_ahead() -> None:
    """Stop fetching ahead and delete what was fetched."""
    ahead = _forget_ahead()
    if ahead is not None:
        ahead.drop()


def _forget_ahead() -> _Ahead | None:
    """What this process fetches ahead, which is then the caller's. A forked child has none: its parent's thread is not in it."""
    global _ahead
    ahead, _ahead = _ahead, None
    return ahead if ahead is not None and ahead.process == os.getpid() else None


def tidy_at_exit(hub: str, endpoint: str | None) -> None:
    """When this process ends, delete what workers that were killed left of this repository."""
    _to_tidy.add(Source(hub, "", endpoint).store)


_to_tidy: set[Path] = set()


@atexit.register
def _tidy() -> None:
    drop_ahead()
    for store in filter(Path.is_dir, _to_tidy):
        with contextlib.suppress(PliantError, OSError), _alone(store):
            _sweep(store)


def _folders(store: Path) -> set[Path]:
    return {path for path in store.iterdir() if path.is_dir()}


def _sweep(store: Path, keep: Source | None = None) -> None:
    """Delete what killed processes left: every folder that nobody holds, and half files of the one to keep."""
    kept = keep.folder if keep is not None else None
    for folder in _folders(store):
        with contextlib.suppress(OSError), (store / f"{folder.name}.lock").open("w") as lock:
            if _flock(lock, exclusive=True, wait=False):
                if folder != kept:
                    shutil.rmtree(folder, ignore_errors=True)
                for half in folder.rglob("*.incomplete"):
                    half.unlink(missing_ok=True)
                _unlock(lock)


@contextlib.contextmanager
def _alone(store: Path) -> Generator[None]:
    """Only one process at a time decides what may stand in the store."""
    with disk_errors(store):
        store.mkdir(parents=True, exist_ok=True)
        stream = (store / "store.lock").open("w")
    with stream:
        _flock(stream, exclusive=True)
        yield


def _flock(stream: IO[str], *, exclusive: bool, wait: bool = True) -> bool:
    """Whether the lock was had."""
    try:
        import fcntl
    except ImportError:  # no such locks on this system
        return True
    try:
        fcntl.flock(stream, (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    return True


def _unlock(stream: IO[str]) -> None:
    """Give the lock back, also where a forked child still has the file open."""
    with contextlib.suppress(ImportError):
        import fcntl

        fcntl.flock(stream, fcntl.LOCK_UN)
    stream.close()
