"""Logs of Inspect: an `.eval` file (a zip of JSON) or a log in JSON, or a folder of them.

A sample is known by its id, and its epochs are answers of the same model. Grades in letters count as Inspect counts them: C 1, P one half,
I and N 0.
"""

from __future__ import annotations

import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np

from pliant.comparison.outcomes import Outcomes, System
from pliant.errors import PliantError
from pliant.spec.yaml import SIZE_LIMIT, parse_json, read_json

GRADES = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0, "yes": 1.0, "no": 0.0, "true": 1.0, "false": 0.0}
LARGEST_LOG = 1 << 30
"""Bytes of a log that is one JSON file."""
ZSTANDARD = 93
"""The number of that compression in a zip."""
SHOWN = 120
"""Characters of a question in examples."""


def knows(path: Path) -> bool:
    """An `.eval` file, a JSON log, or a folder that holds some."""
    if path.is_dir():
        return bool(_inside(path))
    return path.suffix == ".eval" or (path.suffix == ".json" and _is_log(read_json(path, LARGEST_LOG, finite=False)))


def read(path: Path) -> list[System]:
    """One system for every model in the logs. Raises PliantError for a damaged log."""
    logs = [_log(file) for file in (_inside(path) if path.is_dir() else [path])]
    systems: list[System] = []
    for model in dict.fromkeys(str(header["eval"].get("model")) for _, header, _ in logs):
        outcomes: dict[tuple[str, str], Outcomes] = {}
        notes: list[str] = []
        for file, header, samples in logs:
            if str(header["eval"].get("model")) == model:
                found, told = _task(file, header, samples)
                if twice := next((key for key in found if key in outcomes), None):
                    raise PliantError(f"{path}: holds two logs of {twice[0]} by {model}; give the files one by one")
                outcomes |= found
                notes += told
        systems.append(System(model, str(path), outcomes, notes))
    return systems


def _inside(folder: Path) -> list[Path]:
    """The logs of a folder; a JSON log says in its first lines that it is one, so that large files of other kinds are not read."""
    found = list(folder.glob("*.eval"))
    for path in folder.glob("*.json"):
        with path.open("rb") as stream:
            start = stream.read(4096)
        if b'"status"' in start and b'"eval"' in start and _is_log(read_json(path, LARGEST_LOG, finite=False)):
            found.append(path)
    return sorted(found)


def _is_log(form: Any) -> bool:
    return isinstance(form, dict) and isinstance(form.get("eval"), dict) and "status" in form


def _log(path: Path) -> tuple[Path, Mapping[str, Any], list[Mapping[str, Any]]]:
    if path.suffix == ".json":
        form: Any = read_json(path, LARGEST_LOG, finite=False)
        return path, form, _listed(form.get("samples") or [], path)
    try:
        with zipfile.ZipFile(path) as archive:
            header = _member(archive, "header.json", path)
            if not _is_log(header):
                raise PliantError(f"{path}: is no log of Inspect that can be read")
            return path, header, _listed(list(_samples(archive, path)), path)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError) as error:
        raise PliantError(f"{path}: is damaged, cut short, or no log of Inspect ({error})") from None


def _listed(samples: Any, path: Path) -> list[Mapping[str, Any]]:
    if not isinstance(samples, list) or not all(isinstance(sample, dict) for sample in samples):
        raise PliantError(f"{path}: its samples are not what Inspect writes; the file is damaged, or of a version that is not known")
    return samples


def _samples(archive: zipfile.ZipFile, path: Path) -> Iterator[Mapping[str, Any]]:
    names = set(archive.namelist())
    if "summaries.json" in names:
        told = _member(archive, "summaries.json", path)
        yield from told if isinstance(told, list) else [told]
        return
    for name in sorted(name for name in names if name.startswith("samples/") and name.endswith(".json")):
        yield _member(archive, name, path)


def _member(archive: zipfile.ZipFile, name: str, path: Path) -> Any:
    try:
        entry = archive.getinfo(name)
    except KeyError:
        raise PliantError(f"{path}: has no {name}; the run did not finish, or this is no log of Inspect") from None
    if max(entry.file_size, entry.compress_size) > SIZE_LIMIT:
        raise PliantError(f"{path}: {name} is larger than such a file can be ({SIZE_LIMIT / 1e6:.0f} MB)")
    content = _unpacked(archive, entry)
    if zlib.crc32(content) != entry.CRC:
        raise zipfile.BadZipFile(f"{name} is not what was written")
    return parse_json(content, f"{path}: {name}", finite=False, halves=True)


def _unpacked(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    """A member's content. Newer logs are packed with Zstandard, which zipfile reads from Python 3.14 on, and Arrow always."""
    if entry.compress_type != ZSTANDARD:
        with archive.open(entry) as stream:
            return stream.read(SIZE_LIMIT + 1)
    import pyarrow as pa

    packed = copy(entry)
    packed.compress_type, packed.file_size = zipfile.ZIP_STORED, entry.compress_size
    del packed.CRC  # it is the content's, which is looked at when it is unpacked
    with archive.open(packed) as raw, pa.input_stream(io.BytesIO(raw.read()), compression="zstd") as stream:
        return stream.read(SIZE_LIMIT + 1)


def _task(path: Path, header: Mapping[str, Any], samples: list[Mapping[str, Any]]) -> tuple[dict[tuple[str, str], Outcomes], list[str]]:
    run = header["eval"]
    task, notes = str(run.get("task")), list[str]()
    columns: dict[str, list[tuple[str, str, float]]] = {}
    texts: dict[str, str] = {}
    lost: Counter[str] = Counter()
    for sample in samples:
        item = str(sample.get("id"))
        texts[item] = " ".join(str(sample.get("input", "")).split())[:SHOWN]
        scores = sample.get("scores")
        if not isinstance(scores, dict) or not scores:
            lost["failed or were not scored"] += 1
            continue
        for name, value in _scores(scores):
            number = _number(value)
            if number is None:
                lost[f"have no number for {name}"] += 1
            else:
                columns.setdefault(name, []).append((item, str(sample.get("epoch", 1)), number))
    notes += [f"{path.name}: {count} of {len(samples)} samples {why}; left out" for why, count in lost.items()]
    if header.get("status") != "success":
        notes.append(f"{path.name}: the run ended as {header.get('status')!r:.40}, so samples may be missing")
    facts = {"version of the task": str(run.get("task_version", "unknown")), "settings of the task": str(run.get("task_args") or "none")}
    return {(task, name): _outcomes(task, name, column, texts, facts) for name, column in columns.items()}, notes


def _outcomes(task: str, name: str, column: list[tuple[str, str, float]], texts: Mapping[str, str], facts: Mapping[str, str]) -> Outcomes:
    values = np.array([value for _, _, value in column])
    several = len({epoch for _, epoch, _ in column}) > 1
    unit = "fraction" if values.min() >= 0 and values.max() <= 1 else name
    repeats = [epoch for _, epoch, _ in column] if several else []
    return Outcomes(task, name, [item for item, _, _ in column], values, "higher", unit, repeats, sampled=several, texts=texts, facts=facts)


def _scores(scores: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every value of every scorer; of one that gives several, each under its own name."""
    for name, score in scores.items():
        value = score.get("value") if isinstance(score, dict) else score
        if isinstance(value, dict):
            yield from ((f"{name}/{part}", inner) for part, inner in value.items())
        else:
            yield name, value


def _number(value: Any) -> float | None:
    if isinstance(value, str):
        if value in GRADES:
            return GRADES[value]
        try:
            value = float(value)
        except ValueError:
            return GRADES.get(value.lower())
    return float(value) if isinstance(value, bool | int | float) and np.isfinite(value) else None
