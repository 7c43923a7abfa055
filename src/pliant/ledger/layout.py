"""The files of a ledger, one by one: what each must hold, and what to do where it does not.

Idea: readers and `pliant check` ask the same functions. Each raises `Damaged` for a file that is not what was written.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from pliant.errors import PliantError
from pliant.files import as_utf8
from pliant.ledger.merging import absorbed
from pliant.ledger.seal import Damaged, read_sealed_json, verify
from pliant.ledger.valid import wrong_file
from pliant.spec.yaml import parse_json, read_text

VERSION = 1
MARKER = {"format": "pliant ledger", "version": VERSION}
AGAIN = "move it away and run the study again: what it held is measured again, nothing else is lost"
TOLD_AGAIN = "move it away and run its study again, which writes it anew; no record is lost"
MARKED_AGAIN = "run any study with this ledger again, which writes it anew; no record is lost"


def spelled(folder: str | Path) -> Path:
    """The folder as the locale spells it. Raises PliantError for a name that is no UTF-8, which DuckDB cannot open."""
    try:
        return Path(os.fsdecode(str(folder).encode("utf-8", "surrogateescape").decode().encode()))
    except UnicodeError:
        raise PliantError(f"{as_utf8(folder)}: the name of a ledger's folder must be UTF-8 text; choose another") from None


def check_marker(path: Path) -> None:
    """Raises PliantError for a folder without the file that says it is a ledger, a damaged one, and one from a newer pliant."""
    if not path.exists():
        raise PliantError(f"{path.parent}: no ledger here (no ledger.json); `pliant run STUDY --ledger DIR` makes one")
    remedy = f"move it away and {MARKED_AGAIN}"
    try:
        text = read_text(path, 4096)
    except PliantError as error:
        raise Damaged(path, str(error).removeprefix(f"{path}: "), remedy) from None
    try:
        marker: Any = parse_json(text, "it")
    except PliantError:
        marker = None
    version = marker.get("version") if isinstance(marker, dict) else None
    if isinstance(version, int) and version > VERSION:
        raise PliantError(f"{path.parent}: ledger version {version} is from a newer pliant (this reads {VERSION}); update pliant")
    if marker != MARKER or isinstance(version, bool):
        raise Damaged(path, "not a file that pliant wrote", remedy)


def verify_records(path: Path) -> None:
    """Raises Damaged for a file of records that is not what was written; FileNotFoundError for one that has gone."""
    status = "failed" if path.parent.name == "failures" else "ok"
    verify(path, lambda path: wrong_file(path, status), AGAIN)


def absorbed_by(path: Path) -> set[str]:
    """The names of the files that a merged one stands for. Raises as `verify_records` does."""
    verify_records(path)
    try:
        return absorbed(path)
    except FileNotFoundError:
        raise
    except (PliantError, ValueError, OSError) as error:
        raise Damaged(path, str(error).splitlines()[0], AGAIN) from None


def read_study(path: Path) -> dict[str, Any]:
    """What is remembered of a study: its form under `study`, and the keys it asks for no more under `outdated`. Raises Damaged."""
    return read_sealed_json(path, _wrong_study, TOLD_AGAIN)


def _wrong_study(content: Any) -> str | None:
    if not isinstance(content, dict) or set(content) != {"study", "outdated"}:
        return "not what pliant writes there"
    named = isinstance(content["study"], dict) and isinstance(content["study"].get("name"), str)
    keys = isinstance(content["outdated"], list) and all(isinstance(key, str) for key in content["outdated"])
    return None if named and keys else "not what pliant writes there"
