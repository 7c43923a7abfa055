"""Sequences with marks on what is to be learned, tokenised once and memory-mapped: fine-tuning data as a model sees it.

Beside the tokens of all sequences lie a mark for each (whether it is an answer's), where each sequence starts, and its id. An example
of several sequences (a pair, a text with those it is told from) is those in a row that have one id.
Cost: one pass of the tokenizer, then nothing; 5 bytes a token in the cache.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pliant.data.once import read_once
from pliant.errors import PliantError
from pliant.spec.yaml import read_json

FACTS = "sequences.json"

UNCUT = 2**30
"""Tokens: more than any text has."""


class Sequences:
    """Token sequences in `folder`. Cheap to send to another process: only the path travels."""

    def __init__(self, folder: Path, name: str = "") -> None:
        self.folder, self.name = folder, name or folder.name
        facts = read_json(folder / FACTS)
        self.fingerprint: str = facts["fingerprint"]
        self.vocab_size: int = facts["vocab_size"]
        self.counts: dict[str, int] = facts["counts"]
        """What became of the records: `examples`, `tokens`, `answer_tokens`, and whatever else was counted."""
        self.tokens: NDArray[np.int32] = np.memmap(folder / "tokens.bin", np.int32, mode="r")
        self.learned: NDArray[np.bool_] = np.memmap(folder / "learned.bin", np.bool_, mode="r")
        self.offsets: NDArray[np.int64] = np.load(folder / "offsets.npy", mmap_mode="r")
        self._ids: NDArray[np.uint64] = np.load(folder / "ids.npy", mmap_mode="r")
        if not len(self.tokens) == len(self.learned) == int(self.offsets[-1]) or len(self._ids) + 1 != len(self.offsets):
            raise ValueError("sizes differ")

    def __reduce__(self) -> tuple[type[Sequences], tuple[Path, str]]:
        return Sequences, (self.folder, self.name)

    def __len__(self) -> int:
        return len(self._ids)

    @cached_property
    def ids(self) -> list[str]:
        """A stable id of each: the hash of its dialogue."""
        return [f"{int(number):016x}" for number in self._ids]

    @cached_property
    def examples(self) -> NDArray[np.int64]:
        """(examples + 1,) which sequence each example starts with; behind the last, how many sequences there are."""
        first = np.flatnonzero(np.diff(self._ids, prepend=~self._ids[:1]))
        return np.append(first, len(self._ids)).astype(np.int64)

    def example(self, number: int) -> list[tuple[NDArray[np.int64], NDArray[np.bool_]]]:
        """The sequences of one example: ids and marks of each."""
        return [self.tokens_of(sequence) for sequence in range(int(self.examples[number]), int(self.examples[number + 1]))]

    def tokens_of(self, number: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """One sequence: its ids and marks."""
        place = slice(int(self.offsets[number]), int(self.offsets[number + 1]))
        return self.tokens[place].astype(np.int64), np.asarray(self.learned[place])


def built(
    target: Path, name: str, vocab_size: int, found: Iterable[tuple[int, list[int], list[bool]]], counts: dict[str, int]
) -> Sequences:
    """The sequences `found` (id, tokens, marks), written to `target` unless they are there whole; `counts` is filled while they are made.

    Raises PliantError where there are none, and for a full or read-only disk.
    """

    def write(folder: Path) -> None:
        folder.mkdir()
        offsets, ids, content = array("q", [0]), array("Q"), hashlib.sha256()
        with (folder / "tokens.bin").open("wb") as tokens, (folder / "learned.bin").open("wb") as learned:
            for number, sequence, marks in found:
                for stream, part in ((tokens, np.asarray(sequence, np.int32)), (learned, np.asarray(marks, np.bool_))):
                    stream.write(part.tobytes())
                    content.update(part.tobytes())
                offsets.append(offsets[-1] + len(sequence))
                ids.append(number)
                counts["answer_tokens"] = counts.get("answer_tokens", 0) + sum(marks)
        if not ids:
            raise PliantError(f"{name}: no example is left to learn from ({_counted(counts)})")
        np.save(folder / "offsets.npy", np.array(offsets, np.int64))
        np.save(folder / "ids.npy", np.array(ids, np.uint64))
        content.update(np.array(offsets, np.int64).tobytes())
        facts = {
            "fingerprint": content.hexdigest()[:16],
            "vocab_size": vocab_size,
            "counts": {**counts, "examples": len(set(ids)), "tokens": int(offsets[-1])},
        }
        (folder / FACTS).write_text(json.dumps(facts))

    return read_once(target, write, lambda folder: _whole(folder, name))


def _whole(folder: Path, name: str) -> Sequences | None:
    """What lies in the cache; none where there is none, or it is damaged."""
    try:
        return Sequences(folder, name)
    except (PliantError, OSError, ValueError, KeyError, TypeError, EOFError):
        return None


def _counted(counts: Any) -> str:
    return ", ".join(f"{count} {what.replace('_', ' ')}" for what, count in counts.items()) or "no records"
