"""Looking through a whole ledger: every file verified, whatever is damaged named, with what to do.

Idea: readers stop at the first damaged file; here all of them are listed, and content is looked at even where a seal is whole.
Cost: reading everything once.
What goes wrong: a file that has vanished leaves no trace; its cells are measured again by the next run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from pliant.errors import PliantError
from pliant.files import as_utf8
from pliant.ledger.layout import AGAIN, absorbed_by, check_marker, read_study, spelled, verify_records
from pliant.ledger.ledger import Ledger
from pliant.ledger.lock import no_lock
from pliant.ledger.seal import Damaged, is_sealed
from pliant.ledger.valid import PLACE, wrong_file

UNSEALED = "nothing: the next run seals it where it holds records"


@dataclass(frozen=True)
class CheckedFile:
    """One file of a ledger, by its path inside, and its state; `problem` and `remedy` where it is not verified."""

    file: str
    state: Literal["verified", "unverified", "damaged"]
    problem: str | None = None
    remedy: str | None = None


def examined(folder: str | Path) -> list[CheckedFile]:
    """What is to be said of every file of a ledger, except of its trained checkpoints.

    Raises PliantError for a folder that is no ledger, or one that a newer version of pliant wrote.
    """
    place = spelled(folder)
    found = [_finding(place, place / "ledger.json", check_marker)]
    for pattern, examine in (("records/*", _records), ("failures/*", _records), ("studies/*", read_study)):
        paths = [path for path in sorted(place.glob(pattern)) if not path.name.startswith(".")]
        found += [_finding(place, path, examine) for path in paths]
    if problem := no_lock(place / ".lock"):
        found.append(CheckedFile(".lock", "damaged", problem, "remove it"))
    return found if any(finding.state == "damaged" for finding in found) else found + _doubled(place)


def _finding(place: Path, path: Path, examine: Callable[[Path], Any]) -> CheckedFile:
    name = as_utf8(path.relative_to(place))
    try:
        examine(path)
    except Damaged as error:
        return CheckedFile(name, "damaged", error.problem, error.remedy)
    except PliantError as error:
        if path.name == "ledger.json":
            raise
        return CheckedFile(name, "damaged", str(error).removeprefix(f"{path}: "), "see that it can be read")
    if path.suffix == ".parquet" and not is_sealed(path):
        return CheckedFile(name, "unverified", "written before ledgers had seals", UNSEALED)
    return CheckedFile(name, "verified")


def _records(path: Path) -> None:
    """Raises as `verify_records` does, and Damaged for what no record can be, also where the seal is whole."""
    if path.suffix != ".parquet":
        raise Damaged(path, "not a file that pliant wrote", "move it away")
    (absorbed_by if path.name.startswith("merged-") else verify_records)(path)
    if is_sealed(path) and (problem := wrong_file(path, "failed" if path.parent.name == "failures" else "ok")):
        raise Damaged(path, problem, AGAIN)


def _doubled(place: Path) -> list[CheckedFile]:
    """Records that stand in two files, as when one was copied."""
    import pyarrow.parquet as pq

    seen: dict[tuple[Any, ...], Path] = {}
    for path in Ledger(place).shards():
        with pq.ParquetFile(as_utf8(path)) as file:
            table = file.read(list(PLACE))
        for row in zip(*(table[name].to_pylist() for name in PLACE), strict=True):
            if (other := seen.setdefault(row, path)) != path:
                name = as_utf8(path.relative_to(place))
                return [
                    CheckedFile(name, "damaged", f"its record {row[0]} is in {as_utf8(other.name)} as well", "move one of the two away")
                ]
    return []
