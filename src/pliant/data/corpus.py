"""A corpus: which text, and how to read it.

A plain string is the usual form: `builtin:prose`, `builtin:code`, a file, a folder, a glob (`shards/*.jsonl.xz`), or a hub
data set (`hub:owner/name`). Text files, JSONL, JSON, Parquet and Arrow are read, also compressed. Documents are streamed:
a corpus larger than memory costs some 30 bytes of memory per document. Exact duplicates are read once. The held-out part is
fixed by the documents' hashes (see `split`). Cost: the first use reads everything once to hash it; afterwards that is
looked up by path, size and modification time.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, field_validator, model_validator

from pliant.data.locate import locate
from pliant.data.once import built_once
from pliant.data.readers import read
from pliant.data.split import Part, Split
from pliant.errors import PliantError
from pliant.files import cache_folder
from pliant.progress import progress
from pliant.spec import Content, digest

_FORMAT = 1  # raise it when documents are cut, hashed or split differently


@dataclass(frozen=True, slots=True)
class Document:
    """A text and its id: 16 hexadecimal digits of its hash."""

    id: str
    text: str


class Corpus(Content):
    """Text and how to read it; a plain string is its `source`."""

    source: str = Field(
        min_length=1, description="builtin:prose, builtin:code, a file, a folder, a glob, or hub:owner/name[:config][@revision][[split]]"
    )
    field: str | None = Field(
        None,
        description="the field of a record that holds the text, or a template such as '{question}\\n{answer}'; "
        "by default the first of text, content, document, body ... that there is, or question and answer, prompt and completion ...",
    )

    @model_validator(mode="before")
    @classmethod
    def _from_string(cls, form: Any) -> Any:
        return {"source": str(form)} if isinstance(form, (str, Path)) else form

    @field_validator("field")
    @classmethod
    def _with_line_ends(cls, field: str | None) -> str | None:
        """A template typed in a shell or between single quotes spells its line ends as backslash n."""
        return field.replace("\\n", "\n") if field and "{" in field else field

    def label(self) -> str:
        """Its source, as tables show it."""
        return self.source

    def documents(self, part: Part = "train") -> Iterator[Document]:
        """The documents of one part, in the order they are stored, without repeats.

        Raises PliantError for a missing, unreadable, empty or too small corpus.
        """
        paths = locate(self.source)
        key, split, selected = self._key(paths), self.split(), self._selected(part)
        for number, text in enumerate(read(paths, self.field)):
            if number < len(selected) and selected[number]:
                yield Document(f"{int(split.hashes[number]):016x}", text)
        if self._key(paths) != key:
            raise PliantError(f"{self.source}: changed while it was read; run the same command again")

    def characters(self, part: Part = "train") -> int:
        """How many characters the documents of a part hold together."""
        return int(self.split().lengths[self._selected(part)].sum(dtype=np.int64))

    def fingerprint(self) -> str:
        """16 hexadecimal digits of the documents' hashes, in order: the same wherever the same text is stored."""
        return digest(self.split().hashes[self._selected("all")].astype("<u8").tobytes())

    def split(self) -> Split:
        """The side of every document. Read from the cache when no file has changed since the corpus was last read."""
        key = self._key(locate(self.source))
        target = built_once(cache_folder() / "corpora" / f"{key}.npz", self._scan)
        try:
            with np.load(target) as stored:
                return Split(stored["hashes"], stored["lengths"], stored["sides"])
        except (OSError, ValueError, KeyError, BadZipFile):
            raise PliantError(f"{target}: is damaged; delete it and run the same command again") from None

    def _selected(self, part: Part) -> NDArray[np.bool_]:
        try:
            return self.split().selected(part)
        except PliantError as error:
            raise error.within(self.source) from None

    def _key(self, paths: list[Path]) -> str:
        """The same until a file is added, removed or written to."""
        stats = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
        return digest(json.dumps([_FORMAT, self.field, stats]))

    def _scan(self, target: Path) -> None:
        """Read everything once and note each document's hash and length."""
        hashes, lengths = array("Q"), array("I")
        paths = locate(self.source)
        with progress(f"reading {self.source}", sum(path.stat().st_size for path in paths)) as advance:
            for text in read(paths, self.field, advance):
                hashes.append(int(digest(text), 16))
                lengths.append(len(text))
        split = Split.of(np.array(hashes, np.uint64), np.array(lengths, np.uint32))
        with target.open("wb") as stream:
            np.savez(stream, hashes=split.hashes, lengths=split.lengths, sides=split.sides)
