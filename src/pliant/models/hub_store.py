"""Checkpoints of the hub on this disk: there while somebody uses them, one fetched ahead, gone afterwards.

Idea: each revision has a folder, named by its commit, which stays while somebody holds it (`hub_holders`). A revision is fetched
ahead only while no more than one other is here, so a series of any length needs the disk of two.
When to use: through `HubLadder`. The hub's own cache is never touched, and nothing outside the store is deleted or locked.
What goes wrong: several worker processes hold one revision each, and at most one more is fetched ahead.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from pliant.errors import PliantError
from pliant.files import cache_folder
from pliant.models.hub_client import Cancelled, Site
from pliant.models.hub_files import chosen_files, fetch
from pliant.models.hub_holders import Holder, alone, folders, sweep
from pliant.models.hub_listing import checked_commit, list_files, repository
from pliant.models.hub_patience import patiently
from pliant.spec import digest

PLACES = 2
"""Checkpoints on disk beyond which nothing is fetched ahead."""


@dataclass(frozen=True)
class Source:
    """One commit of one repository. Raises PliantError when they cannot be a folder's name."""

    hub: str
    commit: str
    endpoint: str | None = None
    code: bool = False
    token: bool = False

    def __post_init__(self) -> None:
        checked_commit(self.commit, repository(self.hub))

    @property
    def site(self) -> Site:
        """The hub it is on."""
        return Site(self.endpoint, self.token)

    @property
    def store(self) -> Path:
        """The folder of all commits of this repository."""
        return _store(self.hub, self.endpoint)

    @property
    def folder(self) -> Path:
        """Where the files of this commit lie while it is in use."""
        return self.store / self.commit


def _store(hub: str, endpoint: str | None) -> Path:
    return cache_folder() / "hub" / f"{repository(hub).replace('/', '--')}-{digest(f'{endpoint} {hub}')[:8]}"


class Held:
    """A source whose folder stays until `release`."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self._holder = Holder(source.folder)
        self.cancelled = threading.Event()

    def download(self) -> None:
        """Fetch what is missing, with patience. Raises PliantError, or Cancelled."""
        patiently(self._download, self.source.folder, self.cancelled)

    def _download(self) -> None:
        source = self.source
        _, files = list_files(source.hub, source.commit, source.site)
        names = chosen_files(files, f"{source.hub}@{source.commit[:12]}", code=source.code)
        lock = source.store / f"{source.commit}.lock"
        fetch(source.hub, source.commit, [files[name] for name in names], source.folder, source.site, lock, self.cancelled)

    def release(self) -> None:
        """Let go of the folder; the last holder deletes it."""
        self._holder.release()


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
            with alone(self.source.store):
                sweep(self.source.store, keep=self.source.folder)
                if len(folders(self.source.store)) >= PLACES:
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
        with alone(source.store):
            sweep(source.store, keep=source.folder)
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
    _to_tidy.add(_store(hub, endpoint))


_to_tidy: set[Path] = set()


@atexit.register
def _tidy() -> None:
    drop_ahead()
    for store in filter(Path.is_dir, _to_tidy):
        with contextlib.suppress(PliantError, OSError), alone(store):
            sweep(store)
