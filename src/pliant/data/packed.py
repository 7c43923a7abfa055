"""Tokens of a corpus, tokenised once and memory-mapped.

`packed(corpus, tokenizer, part)` writes the tokens of all documents one after the other (each with the tokenizer's
beginning and end tokens, where it has them) in the smallest of uint8, uint16 and uint32, with where each document starts.
Training reads random crops: `batch(step, ...)` is a pure function of (seed, step), so a resumed run sees exactly what an
uninterrupted one would. Evaluation reads `windows`: every token of every document predicted exactly once, with stable
ids. Cost: one pass of the tokenizer, then nothing; the cache holds 1-4 bytes per token. What goes wrong: crops cross
document boundaries (as in most pretraining); `document_index` tells a trainer where, should it mind.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pliant.data.content import contents
from pliant.data.corpus import Corpus, Document
from pliant.data.once import read_once
from pliant.data.split import Part
from pliant.data.tokenizer import Tokenizer
from pliant.errors import PliantError
from pliant.files import cache_folder
from pliant.progress import progress
from pliant.spec import digest
from pliant.spec.yaml import read_json

_FORMAT = 2  # raise it when the same corpus and tokenizer would give other files
_GROUP = 1 << 22  # characters tokenised at once
_FILES = ("tokens.bin", "offsets.npy", "documents.npy")


@dataclass(frozen=True)
class Window:
    """An evaluation sample: up to length + 1 tokens of one document, all but the first to be predicted."""

    id: str
    tokens: NDArray[np.int64]

    @property
    def document(self) -> str:
        """The id of the document it was cut from: samples of one document hang together."""
        return self.id.partition(":")[0]


class Packed:
    """The packed tokens of one part of a corpus, in `folder`. Cheap to send to another process: only the path travels."""

    def __init__(self, folder: Path, name: str = "") -> None:
        self.folder, self.name = folder, name or folder.name
        try:
            facts = read_json(folder / "packed.json")
            written = [facts.pop("sealed"), *facts["files"]]
            if written != [digest(json.dumps(facts)), *contents([folder / name for name in _FILES])]:
                raise ValueError("other bytes than were written")
            self.fingerprint: str = facts["fingerprint"]
            self.vocab_size: int = facts["vocab_size"]
            self._ends: bool = facts["ends"]
            self.tokens: NDArray[Any] = np.memmap(folder / "tokens.bin", np.dtype(facts["dtype"]), mode="r")
            self.offsets: NDArray[np.int64] = np.load(folder / "offsets.npy", mmap_mode="r")
            """Where each document starts, and the number of tokens at the end: (documents + 1)."""
            self._documents: NDArray[np.uint64] = np.load(folder / "documents.npy", mmap_mode="r")
        except (OSError, ValueError, LookupError, TypeError, AttributeError, PliantError):
            raise PliantError(f"{folder}: is no folder of packed tokens, or damaged; delete it and run the same command again") from None
        self._rows: dict[int, NDArray[Any]] = {}
        if len(self.offsets) != len(self._documents) + 1 or int(self.offsets[-1]) != len(self.tokens):
            raise PliantError(f"{folder}: is damaged; delete it and run the same command again")

    def __reduce__(self) -> tuple[type[Packed], tuple[Path, str]]:
        return Packed, (self.folder, self.name)

    def __len__(self) -> int:
        return len(self.tokens)

    @cached_property
    def document_ids(self) -> list[str]:
        """The id of each document, in order."""
        return [f"{int(number):016x}" for number in self._documents]

    def positions(self, step: int, batch: int, length: int, seed: int) -> NDArray[np.int64]:
        """Where the crops of `batch(step, ...)` lie: (batch, length + 1) indices into `tokens`.

        Starts come from the Philox counter-based generator with `seed` as its key and `step` in its counter, whose stream
        is fixed for all versions of numpy. For gradient accumulation or several devices, take rows of the whole batch.
        """
        if batch < 1 or length < 1:
            raise PliantError(f"a batch needs at least one crop of at least one token, not {batch} of {length}")
        if len(self) < batch * (length + 1):
            raise PliantError(
                f"{self.name}: {len(self)} tokens are fewer than one batch of {batch} x {length + 1}; add text, or lower batch or length"
            )
        return self.starts(step, batch, length, seed)[:, None] + np.arange(length + 1)

    def starts(self, step: int, batch: int, length: int, seed: int) -> NDArray[np.int64]:
        """Where each crop of `positions` begins: (batch,). Raises PliantError for fewer tokens than one crop."""
        if len(self) <= length:
            raise PliantError(f"{self.name}: its {len(self)} tokens are fewer than one crop of {length + 1}; add text, or lower the length")
        return (drawn(step, batch, seed) % np.uint64(len(self) - length)).astype(np.int64)

    def rows(self, length: int) -> NDArray[Any]:
        """Every crop of so many tokens, by where it starts: (tokens - length + 1, length), a view."""
        if length not in self._rows:
            self._rows[length] = np.lib.stride_tricks.sliding_window_view(np.asarray(self.tokens), length)
        return self._rows[length]

    def batch(self, step: int, batch: int, length: int, seed: int) -> NDArray[np.int64]:
        """`batch` random crops of length + 1 tokens: inputs `[:, :-1]`, targets `[:, 1:]`. A pure function of (seed, step).

        Raises PliantError when the corpus is shorter than one batch.
        """
        return self.at(self.positions(step, batch, length, seed))

    def at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The tokens at `positions`, in their shape."""
        return self.tokens[positions].astype(np.int64)

    def document_index(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The number of the document that each position lies in, in the shape of `positions`.

        With it a trainer keeps attention inside documents (equal numbers) and drops the loss at a document's first token
        (a number that differs from its left neighbour's).
        """
        return np.searchsorted(self.offsets, positions, side="right") - 1

    def windows(self, length: int, limit: int | None = None) -> list[Window]:
        """Every document cut into windows of length + 1 tokens that overlap by one; ids are `document:offset`, in tokens.

        So each token but a document's first is predicted exactly once; the end token is left out, being no text. `limit`
        takes that many windows, evenly spaced over all of them. Raises PliantError when there is nothing to predict.
        """
        if length < 1:
            raise PliantError(f"a window needs at least one token to predict, not {length}")
        predicted = np.maximum(np.diff(self.offsets) - 1 - self._ends, 0)
        ends = np.cumsum(-(-predicted // length))  # of each document, counted in windows
        total = int(ends[-1])
        if total == 0:
            raise PliantError(f"{self.name}: no document has two tokens, so there is nothing to predict")
        chosen = np.arange(total) if limit is None or limit >= total else np.arange(limit) * total // limit
        return [self._window(int(number), ends, length) for number in chosen]

    def single(self) -> list[str]:
        """The ids of documents in which there is nothing to predict: those of fewer than two tokens."""
        return [f"{int(number):016x}" for number in self._documents[np.diff(self.offsets) - self._ends < 2]]

    def windows_of(self, documents: range, length: int) -> list[Window]:
        """The windows of the documents with these numbers, in order: none for one of fewer than two tokens."""
        found: list[Window] = []
        for number in documents:
            start, stop = int(self.offsets[number]), int(self.offsets[number + 1]) - self._ends
            for offset in range(0, max(stop - start - 1, 0), length):
                tokens = self.tokens[start + offset : min(start + offset + length + 1, stop)]
                found.append(Window(f"{int(self._documents[number]):016x}:{offset}", tokens.astype(np.int64)))
        return found

    def _window(self, number: int, ends: NDArray[np.int64], length: int) -> Window:
        document = int(np.searchsorted(ends, number, side="right"))
        offset = (number - (int(ends[document - 1]) if document else 0)) * length
        start, stop = int(self.offsets[document]), int(self.offsets[document + 1]) - self._ends
        tokens = self.tokens[start + offset : min(start + offset + length + 1, stop)]
        return Window(f"{int(self._documents[document]):016x}:{offset}", tokens.astype(np.int64))


def drawn(step: int, batch: int, seed: int) -> NDArray[np.uint64]:
    """(batch,) random numbers, the same for the same arguments."""
    return np.random.Philox(key=seed, counter=[0, 0, step, 0]).random_raw(batch)


def packed(corpus: Corpus, tokenizer: Tokenizer, part: Part = "train") -> Packed:
    """The tokens of one part of a corpus, from the cache or tokenised now.

    Raises PliantError for whatever is wrong with the corpus, for an empty part, or when the cache cannot be written.
    """
    key = digest(json.dumps([_FORMAT, corpus.fingerprint(), tokenizer.fingerprint, part]))
    name = f"{corpus.source} ({part} part)"
    return read_once(
        cache_folder() / "packed" / key, lambda target: _pack(corpus, tokenizer, part, target), lambda folder: _stored(folder, name)
    )


def _stored(folder: Path, name: str) -> Packed | None:
    """Packed tokens from the cache; none where there are none, or damaged ones."""
    try:
        return Packed(folder, name)
    except PliantError:
        return None


def _pack(corpus: Corpus, tokenizer: Tokenizer, part: Part, folder: Path) -> None:
    """Stream the corpus through the tokenizer into `folder`."""
    folder.mkdir()
    dtype = np.min_scalar_type(tokenizer.vocab_size - 1)
    offsets, ids, content = array("q", [0]), array("Q"), hashlib.sha256()
    with (folder / "tokens.bin").open("wb") as stream, progress(f"tokenising {corpus.source}", corpus.characters(part)) as advance:
        for group in _groups(corpus.documents(part)):
            for document, tokens in zip(group, tokenizer.encode([document.text for document in group]), strict=True):
                if not len(tokens):
                    continue
                framed = _framed(tokens, tokenizer).astype(dtype).tobytes()
                stream.write(framed)
                content.update(framed)
                offsets.append(offsets[-1] + len(framed) // dtype.itemsize)
                ids.append(int(document.id, 16))
            advance(sum(len(document.text) for document in group))
    if not ids:
        raise PliantError(f"{corpus.source}: the tokenizer leaves nothing of its text; is it the right alphabet?")
    starts, numbers = np.array(offsets, np.int64), np.array(ids, np.uint64)
    np.save(folder / "offsets.npy", starts)
    np.save(folder / "documents.npy", numbers)
    content.update(starts.tobytes() + numbers.tobytes())
    facts: dict[str, Any] = {
        "fingerprint": content.hexdigest()[:16],
        "dtype": dtype.name,
        "vocab_size": tokenizer.vocab_size,
        "ends": tokenizer.end_id is not None,
        "files": contents([folder / file for file in _FILES]),
    }
    (folder / "packed.json").write_text(json.dumps(facts | {"sealed": digest(json.dumps(facts))}))


def _framed(tokens: NDArray[np.int32], tokenizer: Tokenizer) -> NDArray[np.int32]:
    """A document's tokens between its beginning and end tokens, where there are such."""
    before = [] if tokenizer.beginning_id is None else [tokenizer.beginning_id]
    after = [] if tokenizer.end_id is None else [tokenizer.end_id]
    return np.concatenate([np.array(before, np.int32), tokens, np.array(after, np.int32)])


def _groups(documents: Iterator[Document]) -> Iterator[list[Document]]:
    """Documents gathered until they hold a few million characters."""
    group: list[Document] = []
    size = 0
    for document in documents:
        group.append(document)
        size += len(document.text)
        if size >= _GROUP:
            yield group
            group, size = [], 0
    if group:
        yield group
