"""Files: atomic writes, and paths that stay where they belong."""

from __future__ import annotations

import contextlib
import errno
import os
import tempfile
from collections.abc import Generator
from pathlib import Path

from pliant.errors import PliantError


@contextlib.contextmanager
def atomic_path(target: Path) -> Generator[Path]:
    """A temporary path beside `target` that replaces it, atomically, when the block ends without an error.

    A killed process leaves at most a hidden `.name.XXXX.tmp` file, never half of `target`.

    Raises PliantError when the folder cannot be written or the disk is full.
    """
    if target.is_dir():
        raise PliantError(f"cannot write {target}: it is a folder; give the name of a file")
    if (target.exists() and not target.is_file()) or target.parent == Path("/dev"):  # renaming onto it would take it away from all
        raise PliantError(f"cannot write {target}: it is a pipe or device; give the name of a file")
    with disk_errors(target):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent)
        except FileNotFoundError as error:  # a place where nobody can make anything
            raise PliantError(f"cannot write {target}: nothing can be made in that folder; choose another") from error
        os.close(handle)
    temporary = Path(name)
    try:
        with disk_errors(target):
            yield temporary
            with temporary.open("rb+") as stream:  # the rename must not overtake the data
                os.fsync(stream.fileno())
            temporary.chmod(0o644)
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomic(target: Path, content: str | bytes) -> None:
    """Write a small file in one step; see `atomic_path`."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(content.encode() if isinstance(content, str) else content)


@contextlib.contextmanager
def disk_errors(place: Path) -> Generator[None]:
    """Turns the operating system's complaints about `place` into a line a user can act on."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(place) from error
        if error.errno == errno.EFBIG:
            raise PliantError(f"cannot write {place}: it grew beyond the file size that is allowed here; see `ulimit -f`") from error
        if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            raise PliantError(f"cannot write {place}: {error.strerror}; choose a folder you may write to") from error
        if error.errno in (errno.ENOTDIR, errno.EISDIR, errno.EEXIST):
            raise PliantError(f"cannot write {place}: a part of that path is a file where a folder is needed, or the other way") from error
        raise
    except Exception as error:
        if "os error 28" in str(error):  # safetensors' own way of saying that the disk is full
            raise _full(place) from error
        raise


def _full(place: Path) -> PliantError:
    return PliantError(f"no space left to write {place}; free some disk and run the same command again")


def expanded(path: str | Path) -> Path:
    """The path with `~` and `~NAME` spelled out. Raises PliantError for somebody who has no folder here."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise PliantError(f"{path}: nobody here has such a home folder; write the whole path, or ./{path}") from None


def inside(folder: Path, name: str) -> Path:
    """`folder/name`, refusing a name that would leave `folder` (absolute, `..`, a link pointing out)."""
    root = folder.resolve()
    path = (root / name).resolve()
    if path != root and root not in path.parents:
        raise PliantError(f"{name!r} would leave the folder {folder}")
    return path


def cache_folder() -> Path:
    """Where derived data (tokenised corpora, extracted docstrings) is kept: $PLIANT_CACHE or ~/.cache/pliant."""
    configured = os.environ.get("PLIANT_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(configured) if configured else (Path(base) if base else expanded("~/.cache")) / "pliant"
