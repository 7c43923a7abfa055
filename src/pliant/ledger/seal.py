"""Seals: a file's name ends with the SHA-256 of its bytes, so that no damage to it goes unnoticed.

Idea: `STEM-DIGEST.parquet`. The stem says what the file is about, the digest is known without the file's content, and
`sha256sum` shows it to anyone. Small JSON files that are replaced under one name carry their digest inside instead.
Whatever is read is verified first, once per state of the file (inode, size, times) and process.
Cost: reading each file once, 1.7 GB/s.
What goes wrong: files from before there were seals have none. Their content is looked through for what no record can be,
which finds much damage, not all.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from pliant.errors import PliantError
from pliant.files import atomic_path, write_atomic
from pliant.spec.yaml import parse_json, read_text

SEALED = re.compile(r"(.+)-([0-9a-f]{64})", re.DOTALL)
MAGIC = b"PAR1"
"""With which Parquet files begin and end."""
SETTLED = 2 * 10**9
"""Nanoseconds after which a file that is written again has another time."""
SIDE_FILE_LIMIT = 2**30
"""Bytes of the largest side file: the keys of some ten million records."""
_intact: dict[Path, tuple[int, ...]] = {}


class Damaged(PliantError):
    """A file of a ledger that does not hold what was written: `path`, and the `problem`. Says what to do."""

    def __init__(self, path: Path, problem: str, remedy: str) -> None:
        super().__init__(f"{path}: is damaged ({problem}); {remedy}")
        self.path, self.problem, self.remedy = path, problem, remedy


def stem(path: Path) -> str:
    """What the file is about: its name without its seal."""
    found = SEALED.fullmatch(path.stem)
    return found[1] if found else path.stem


def is_sealed(path: Path) -> bool:
    """Whether the file's name says what its bytes are."""
    return SEALED.fullmatch(path.stem) is not None


def write_sealed(folder: Path, about: str, content: bytes) -> Path:
    """Write a small file in one step, and say where. Raises PliantError as `atomic_path` does."""
    path = folder / f"{about}-{hashlib.sha256(content).hexdigest()}.parquet"
    write_atomic(path, content)
    return path


def write_large(folder: Path, about: str, write: Callable[[Path], None]) -> None:
    """The same for what `write` puts into a temporary path."""
    with atomic_path(folder / about, lambda temporary: folder / f"{about}-{_digest(temporary)}.parquet") as temporary:
        write(temporary)


def newest(paths: Iterable[Path]) -> list[Path]:
    """Of files about the same, which a kill can leave side by side, the one that was written last."""
    chosen = {stem(path): path for path in sorted(paths, key=lambda path: (path.lstat().st_mtime_ns, path.name))}
    return sorted(chosen.values())


def verify(path: Path, examine: Callable[[Path], str | None], remedy: str) -> None:
    """See that a file is what was written: by its seal, or, where it has none, by what `examine` finds wrong in it.

    Raises Damaged; FileNotFoundError for a file that has gone; PliantError for one that cannot be read.
    """
    if path.is_symlink() and not path.exists():
        raise Damaged(path, "it is a link to nothing", remedy)
    status = path.stat()
    if not stat.S_ISREG(status.st_mode):
        raise Damaged(path, "it is no file", remedy)
    state = (status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    if _intact.get(path) == state:
        return
    try:
        problem = _broken_seal(path) if is_sealed(path) else examine(path)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise PliantError(f"{path}: cannot be read ({error.strerror or error})") from None
    if problem:
        raise Damaged(path, problem, remedy)
    if time.time_ns() - max(status.st_mtime_ns, status.st_ctime_ns) > SETTLED:
        _intact[path] = state


def _broken_seal(path: Path) -> str | None:
    """What is wrong; the ends are looked at first, since a file that lost its content can be of any size."""
    with path.open("rb") as stream:
        begins = stream.read(4)
        stream.seek(-min(4, path.stat().st_size), os.SEEK_END)
        if not begins == stream.read() == MAGIC:
            return "its bytes are not those that were written"
    found = SEALED.fullmatch(path.stem)
    return None if found and found[2] == _digest(path) else "its bytes are not those that were written"


def _digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def sealed_json(content: dict[str, Any]) -> str:
    """One line of JSON that ends with the digest of what stands before it."""
    return json.dumps(content | {"sha256": hashlib.sha256(json.dumps(content).encode()).hexdigest()}) + "\n"


def read_sealed_json(path: Path, examine: Callable[[Any], str | None], remedy: str) -> dict[str, Any]:
    """What `sealed_json` wrote, or what was written before there were seals, if `examine` finds nothing wrong in it.

    Raises Damaged.
    """
    try:
        text = read_text(path, SIDE_FILE_LIMIT)
        content = parse_json(text, "it")
    except PliantError as error:
        raise Damaged(path, str(error).removeprefix(f"{path}: "), remedy) from None
    sealed = isinstance(content, dict) and content.pop("sha256", None) is not None
    problem = examine(content) or ("its bytes are not those that were written" if sealed and sealed_json(content) != text else None)
    if problem:
        raise Damaged(path, problem, remedy)
    return content
