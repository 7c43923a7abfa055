"""Labelled token sequences, made once and memory-mapped: labelled texts as one tokenizer reads them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pliant.data.once import read_once
from pliant.errors import PliantError
from pliant.spec.yaml import read_json

FACTS = "rows.json"
ARRAYS = ("tokens", "texts", "offsets", "numbers", "labels")


class LabelledRow(NamedTuple):
    """One example: what names it, its token ids, which text each is of, and its label as numbers."""

    number: int
    tokens: list[int]
    texts: list[int]
    label: tuple[float, ...]


class LabelledRows:
    """The rows in `folder`, or those of them at `places`. Cheap to send to another process: only the path travels."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        facts = read_json(folder / FACTS)
        self.fingerprint: str = facts["fingerprint"]
        """Of tokens and labels."""
        self.counts: dict[str, int] = facts["counts"]
        """What became of the records: `examples`, `tokens`, and whatever else was counted."""
        arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in ARRAYS}
        self._tokens: NDArray[np.int32] = arrays["tokens"]
        self._texts: NDArray[np.int8] = arrays["texts"]
        self._offsets: NDArray[np.int64] = arrays["offsets"]
        self._numbers: NDArray[np.uint64] = arrays["numbers"]
        self.labels: NDArray[np.float64] = arrays["labels"]
        """(rows, width) as the data has them."""
        if not len(self._numbers) == len(self.labels) == len(self._offsets) - 1 or len(self._tokens) != int(self._offsets[-1]):
            raise ValueError("sizes differ")

    def __reduce__(self) -> tuple[type[LabelledRows], tuple[Path]]:
        return LabelledRows, (self.folder,)

    def __len__(self) -> int:
        return len(self._numbers)

    @cached_property
    def ids(self) -> list[str]:
        """What names each row for good: the hash of its texts and its label."""
        return [f"{int(number):016x}" for number in self._numbers]

    def row(self, number: int) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
        """The token ids of one row, and which text each is of."""
        place = slice(int(self._offsets[number]), int(self._offsets[number + 1]))
        return self._tokens[place], self._texts[place]


def built(target: Path, name: str, rows: Iterable[LabelledRow], counts: Mapping[str, int]) -> LabelledRows:
    """The rows, written to `target` unless they are there whole; `counts` is filled while they are made.

    Raises PliantError where there are none, and for a full or read-only disk.
    """

    def write(folder: Path) -> None:
        folder.mkdir()
        found = list(rows)
        if not found:
            told = ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in counts.items()) or "no records"
            raise PliantError(f"{name}: no example is left to learn from ({told})")
        arrays = {
            "tokens": np.array([token for row in found for token in row.tokens], np.int32),
            "texts": np.array([text for row in found for text in row.texts], np.int8),
            "offsets": np.cumsum([0, *(len(row.tokens) for row in found)], dtype=np.int64),
            "numbers": np.array([row.number for row in found], np.uint64),
            "labels": np.array([row.label for row in found], np.float64),
        }
        content = hashlib.sha256()
        for part, array in arrays.items():
            np.save(folder / f"{part}.npy", array)
            if part != "numbers":
                content.update(array.tobytes())
        facts = {"fingerprint": content.hexdigest()[:16], "counts": {**counts, "examples": len(found), "tokens": len(arrays["tokens"])}}
        (folder / FACTS).write_text(json.dumps(facts))

    return read_once(target, write, _whole)


def _whole(folder: Path) -> LabelledRows | None:
    """What lies in the cache; none where there is none, or it is damaged."""
    try:
        return LabelledRows(folder)
    except (PliantError, OSError, ValueError, KeyError, TypeError, EOFError):
        return None
