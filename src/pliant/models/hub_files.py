"""Which files of a hub repository are fetched, and what they must be to be kept.

Idea: of all files only those of one model are taken (one set of safetensors, configuration, tokenizer; never pickles or other
frameworks' weights). A file goes by its name only when its size and hashes are those that the hub announced, in its list of files
and in the headers of the file itself; until then it is called `NAME.incomplete`. Names and commits are checked before they become
paths.
Cost: two small requests a revision and one a file, then the files. A download that breaks off goes on where it stopped; one whose
process was killed keeps the files that were complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections.abc import Generator, Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from threading import Event
from urllib.parse import quote

from pliant.errors import PliantError
from pliant.files import cache_folder, disk_errors, inside, write_atomic
from pliant.models.checkpoint import FACTS_FILE
from pliant.models.hub_client import Cancelled, Site, Unreachable, opened
from pliant.models.hub_listing import COMMIT, File, list_files, repository
from pliant.models.hub_patience import patiently
from pliant.models.images import PROCESSOR
from pliant.models.weight_files import INDEX, SINGLE, TOKENIZER_FILES, why_no_weights
from pliant.spec import digest
from pliant.spec.yaml import read_text

PART = ".incomplete"
"""What a file is called after its own name until it is whole and checked."""
LARGEST_OTHER = 256 * 2**20
"""Bytes of the largest file that is no weights, and of the largest whose size the hub does not tell."""
MOST_FILES = 1_000
"""Files of one model beyond which none is fetched."""
_SHARD = re.compile(r"model-\d+-of-\d+\.safetensors")
_USABLE = re.compile(r"(?!(con|prn|aux|nul|com\d|lpt\d)(\.|$))[\w.+=@ -]*[\w+=@-]", re.IGNORECASE)
"""A part of a name that every file system takes."""


def chosen_files(names: Iterable[str], address: str, *, gguf_file: str | None = None, code: bool = False) -> list[str]:
    """Those of a repository's files that make up one model.

    Args:
        names: Every file of the revision.
        address: For the message.
        gguf_file: Take the weights from this file.
        code: Take modelling code too.

    Raises PliantError when there are no weights that can be loaded safely.
    """
    present = {name for name in names if "/" not in name or name == gguf_file}
    patterns = ("config.json", "generation_config.json", PROCESSOR, FACTS_FILE, *TOKENIZER_FILES, *(("*.py",) if code else ()))
    chosen = {name for name in present for pattern in patterns if fnmatchcase(name, pattern)}
    if gguf_file is not None:
        weights = {gguf_file} & present
        problem = f"no file {gguf_file!r} in it"
    else:
        weights = {SINGLE} & present or {name for name in present if name == INDEX or _SHARD.fullmatch(name)}
        problem = why_no_weights(present)
    if not weights:
        raise PliantError(f"{address}: {problem}")
    files = sorted(chosen | weights)
    unusable = [name for name in files if name.endswith(PART) or not all(map(_USABLE.fullmatch, name.split("/")))]
    if unusable:
        raise PliantError(f"{address}: no file can be called {unusable[0]!r} here")
    if len(files) > MOST_FILES:
        raise PliantError(f"{address}: the hub lists {len(files):,} files of one model, more than the {MOST_FILES:,} that are fetched")
    return files


def fetch(hub: str, commit: str, files: Sequence[File], folder: Path, site: Site, lock: Path, cancelled: Event | None = None) -> None:
    """Download files of one commit into `folder`; those that are complete there already are not fetched again.

    Args:
        hub: Name of the repository.
        commit: 40 hexadecimal digits.
        files: What the hub announced of each.
        folder: Where they go.
        site: The hub.
        lock: A file that keeps two processes from writing the same.
        cancelled: Where it is set, the download ends soon.

    Raises Unreachable when the hub stops answering, PliantError when it refuses or lies or the disk is full, and Cancelled.
    """
    cancelled = cancelled or Event()
    with disk_errors(folder), _one_at_a_time(lock, cancelled):
        folder.mkdir(parents=True, exist_ok=True)
        for file in files:
            if not (folder / file.name).is_file():
                _fetch_file(hub, commit, file, inside(folder, file.name), site, cancelled)


def _fetch_file(hub: str, commit: str, file: File, target: Path, site: Site, cancelled: Event) -> None:
    where = f"{hub}@{commit[:12]}: {file.name}"
    path = f"/{hub}/resolve/{commit}/{quote(file.name)}"
    if file.size is None or not file.hashes:
        with opened(site, "HEAD", path, where) as answer:
            file = file.announced_by(answer)
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(target.name + PART)
    try:
        file = _download(file, path, part, site, where, cancelled)
        _check_content(part, file, where)
    except PliantError as error:
        if not isinstance(error, Unreachable):
            part.unlink(missing_ok=True)
        raise
    part.replace(target)


def _download(file: File, path: str, part: Path, site: Site, where: str, cancelled: Event) -> File:
    """Completes `part`; gives the file as it was announced in the end."""
    start = part.stat().st_size if part.is_file() and not part.is_symlink() else 0
    if start and start == file.size:
        return file
    if file.size is None or start > file.size:
        start = 0
    with opened(site, "GET", path, where, {"range": f"bytes={start}-"} if start else None) as answer:
        file = file.announced_by(answer)
        if answer.status == 200:
            start = 0
        elif not answer.headers.get("content-range", "").startswith(f"bytes {start}-"):
            raise PliantError(f"{where}: the hub sends another part than it was asked for")
        room = _room(file, part, where) - start
        if not start:
            part.unlink(missing_ok=True)  # whatever it is
        with part.open("ab" if start else "xb") as stream:
            for chunk in answer.body(room, cancelled=cancelled):
                stream.write(chunk)
    return file


def _room(file: File, part: Path, where: str) -> int:
    """How long the file may be. Raises PliantError when that is more than such a file, or this disk, can be."""
    if file.size is None:
        return LARGEST_OTHER
    if not file.name.endswith((".safetensors", ".gguf")) and file.size > LARGEST_OTHER:
        raise PliantError(f"{where}: is larger ({file.size / 1e9:.2f} GB) than such a file can be")
    free = shutil.disk_usage(part.parent).free
    if file.size > free:
        raise PliantError(f"{where}: takes {file.size / 1e9:.2f} GB, and {free / 1e9:.2f} GB are free in {part.parent}; free some disk")
    return file.size


def _check_content(part: Path, file: File, where: str) -> None:
    """Raises PliantError when the size or a hash differs from what was announced."""
    size = part.stat().st_size
    if file.size is not None and size != file.size:
        raise PliantError(f"{where}: has {size:,} bytes where the hub announced {file.size:,}")
    for announced in file.hashes:
        with part.open("rb") as stream:
            if len(announced) == 64:
                found = {hashlib.file_digest(stream, "sha256").hexdigest()}
            else:  # of a small file as git takes it; some mirrors name the plain one
                found = {hashlib.file_digest(stream, "sha1").hexdigest()}
                stream.seek(0)
                found |= {hashlib.file_digest(stream, lambda: hashlib.sha1(b"blob %d\0" % size)).hexdigest()}
        if announced not in found:
            raise PliantError(f"{where}: its content is not what the hub announced (hash {announced[:12]}...); it was deleted")


@contextlib.contextmanager
def _one_at_a_time(lock: Path, cancelled: Event) -> Generator[None]:
    from filelock import FileLock, Timeout

    lock.parent.mkdir(parents=True, exist_ok=True)
    held = FileLock(lock)
    while True:
        try:
            held.acquire(timeout=0.5)
            break
        except Timeout:
            if cancelled.is_set():
                raise Cancelled from None
    try:
        yield
    finally:
        held.release()


def cached_snapshot(
    hub: str,
    revision: str | None,
    *,
    commit: str | None = None,
    gguf_file: str | None = None,
    code: bool = False,
    endpoint: str | None = None,
    token: bool = False,
) -> Path:
    """The folder of a revision in the hub's own cache, downloaded where it is missing; without a connection, what is cached.

    A `commit` says where the revision stood when it was listed; this one is taken, wherever the revision has moved since. An endpoint
    of one's own has a cache of its own, so that nothing it says is later taken for the public hub's.

    Raises PliantError when it can be had neither from the hub nor from the cache.
    """
    site = Site(endpoint, token)
    address = hub if revision is None else f"{hub}@{revision}"
    try:
        found, files = list_files(hub, commit or revision or "main", site)
    except Unreachable as error:
        cached = _in_cache(hub, commit or revision, gguf_file or "config.json", site)
        if cached is None:
            reason = str(error).partition(": ")[2]
            raise PliantError(f"{address}: not a folder here, and {reason}") from error
        return cached
    chosen = [files[name] for name in chosen_files(files, address, gguf_file=gguf_file, code=code)]
    cache = _cache(hub, site)
    folder = inside(cache / "snapshots", found)
    lock = cache.parent / ".locks" / cache.name / f"{found}.lock"
    patiently(lambda: fetch(hub, found, chosen, folder, site, lock), folder, Event())
    if found != revision:
        write_atomic(inside(cache / "refs", revision or "main"), found)
    return folder


def cached_commit(hub: str, revision: str, endpoint: str | None = None) -> str | None:
    """The commit of a revision in the cache of `cached_snapshot`, if it is there."""
    cached = _in_cache(hub, revision, "config.json", Site(endpoint))
    return cached.name if cached is not None else None


def _cache(hub: str, site: Site) -> Path:
    """Where the hub's own client keeps a repository, or would keep it if it knew more than one hub."""
    from huggingface_hub import constants

    root = cache_folder() / "hub-kept" / digest(site.url)[:8] if site.foreign else Path(constants.HF_HUB_CACHE)
    return root / f"models--{repository(hub).replace('/', '--')}"


def _in_cache(hub: str, revision: str | None, file: str, site: Site) -> Path | None:
    """The folder of a revision, as the hub's own client lays it out: `refs/REVISION` holds the commit, `snapshots/COMMIT` its files."""
    cache = _cache(hub, site)
    commit = revision or "main"
    with contextlib.suppress(PliantError):  # not there
        commit = read_text(inside(cache / "refs", commit), 100).strip()
    folder = cache / "snapshots" / commit
    return folder if COMMIT.fullmatch(commit) and (folder / file).is_file() else None
