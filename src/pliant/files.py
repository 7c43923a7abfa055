"""Files: atomic writes, and paths that stay where they belong."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
import zlib
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

from pliant.errors import PliantError

if TYPE_CHECKING:
    from filelock import BaseFileLock

TEMPORARY = ".tmp"
LOCK = "pliant.lock"
"""Inside a workplace; tells it from the temporary folders of other programs."""
ASIDE = "old"
"""What was in the place of a folder that is being put there."""
DAMAGED_ARCHIVE = (OSError, EOFError, ValueError, KeyError, AttributeError, TypeError, NotImplementedError, zlib.error, BadZipFile)
"""What reading an npz file raises where it is missing, cut short or has flipped bits."""
_tidied: set[Path] = set()


@contextlib.contextmanager
def atomic_path(target: Path, named: Callable[[Path], Path] | None = None) -> Generator[Path]:
    """A temporary path beside `target` that replaces it, atomically, when the block ends without an error.

    Where its name depends on its content, `named` gives the place of the finished file instead. A killed process never leaves
    half of `target`; see `workplace` for what it does leave.

    Raises PliantError when the folder cannot be written or the disk is full.
    """
    if target.is_dir():
        raise PliantError(f"cannot write {target}: it is a folder; give the name of a file")
    if (target.exists() and not target.is_file()) or target.parent == Path("/dev"):  # renaming onto it would take it away from all
        raise PliantError(f"cannot write {target}: it is a pipe or device; give the name of a file")
    with workplace(target) as place, disk_errors(target):
        temporary = place / "file"
        temporary.touch()
        yield temporary
        with temporary.open("rb+") as stream:  # the rename must not overtake the data
            os.fsync(stream.fileno())
        temporary.chmod(0o644)
        temporary.replace(named(temporary) if named else target)


@contextlib.contextmanager
def workplace(target: Path) -> Generator[Path]:
    """A hidden folder beside `target` (`.NAME.XXXX.tmp`) in which to make it; it is gone, with what is left in it, when the block ends.

    A process that is killed leaves it behind. The system frees the lock inside, so the next process that works in that place
    knows it for rubbish and deletes it; first it puts back what `replace_folder` had put aside.

    Raises PliantError when nothing can be made there.
    """
    with disk_errors(target):
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _tidy(target.parent.absolute())
            place, lock = _locked_folder(target)
        except FileNotFoundError as error:  # a place where nobody can make anything
            raise PliantError(f"cannot write {target}: nothing can be made in that folder; choose another") from error
    try:
        yield place
    finally:
        lock.release()
        shutil.rmtree(place, ignore_errors=True)


def _locked_folder(target: Path) -> tuple[Path, BaseFileLock]:
    """A new folder beside `target`, and the lock inside it, held."""
    from filelock import FileLock, Timeout

    while True:
        place = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=TEMPORARY, dir=target.parent))
        lock = FileLock(place / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:  # another process took it for rubbish before it was locked
            continue
        except (OSError, NotImplementedError):  # no locks here: without its mark nobody takes it for rubbish
            (place / LOCK).unlink(missing_ok=True)
        if place.exists():
            return place, lock


def replace_folder(place: Path, made: Path, target: Path) -> None:
    """Put the folder `made`, inside the workplace `place`, where `target` is.

    Killed in the middle of it, `target` is missing until the next workplace is made there, which puts it back.
    """
    aside = place / ASIDE
    if target.exists():
        target.rename(aside)
    try:
        made.rename(target)
    except OSError:
        if aside.exists():
            aside.rename(target)
        raise


def _tidy(folder: Path) -> None:
    """Delete the workplaces in `folder` that killed processes left; each process looks once, since most folders stay clean."""
    if folder in _tidied:
        return
    _tidied.add(folder)
    from filelock import FileLock, Timeout

    for lock in folder.glob(f".*{TEMPORARY}/{LOCK}"):
        place = lock.parent
        target = folder / place.name[1:].removesuffix(TEMPORARY).rpartition(".")[0]
        with contextlib.suppress(Timeout, OSError, NotImplementedError):
            with FileLock(lock).acquire(timeout=0):
                if (place / ASIDE).exists() and not target.exists():
                    (place / ASIDE).rename(target)
            shutil.rmtree(place, ignore_errors=True)


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
        if error.errno in (errno.EIO, errno.ENAMETOOLONG, errno.ELOOP, errno.ESTALE):
            raise PliantError(f"cannot write {place}: {error.strerror}") from error
        raise
    except Exception as error:
        if "os error 28" in str(error):  # safetensors' own way of saying that the disk is full
            raise _full(place) from error
        raise


def _full(place: Path) -> PliantError:
    return PliantError(f"no space left to write {place}; free some disk and run the same command again")


def expanded(path: str | Path) -> Path:
    """The path with `~` and `~NAME` spelled out. Raises PliantError for somebody who has no folder here, and for no path at all."""
    if not str(path):
        raise PliantError("a path is empty; write `.` for the folder you are in")
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


def check_regular(path: str | Path) -> os.stat_result:
    """A file's facts. Raises PliantError for what can be read without end, or is no file; OSError where there is nothing."""
    found = Path(path).stat()
    if not stat.S_ISREG(found.st_mode):
        raise PliantError(f"{path}: is a {'folder' if stat.S_ISDIR(found.st_mode) else 'pipe or device'}, not a file")
    return found


def as_utf8(name: str | Path) -> str:
    """A path or an argument as UTF-8 text, whatever the locale made of its bytes; bytes that are no text are spelled out."""
    try:
        return str(name).encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    except UnicodeEncodeError:  # half a character, which no file's name has
        return str(name).encode("utf-8", "backslashreplace").decode()


def cache_folder() -> Path:
    """Where derived data (tokenised corpora, extracted docstrings) is kept: $PLIANT_CACHE or ~/.cache/pliant."""
    configured = os.environ.get("PLIANT_CACHE")
    base = os.environ.get("XDG_CACHE_HOME")
    return Path(configured) if configured else (Path(base) if base else expanded("~/.cache")) / "pliant"
