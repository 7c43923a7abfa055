"""A corpus: which text, and how to read it.

A plain string is the usual form: `builtin:prose`, `builtin:code`, a file, a folder, a glob (`shards/*.jsonl.xz`), or a hub
data set (`hub:owner/name`). Text files, JSONL, JSON, CSV, Parquet and Arrow are read, also compressed. Documents are streamed:
a corpus larger than memory costs some 30 bytes of memory per document. Exact duplicates are read once. The held-out part is
fixed by the documents' hashes (see `split`). Cost: the first use reads everything twice, to hash the files and the documents;
afterwards both are looked up. What a file holds decides, not its name or time (see `content`), and each document is checked
against its hash again when it is used.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from pliant.data.content import changed, contents, mark
from pliant.data.fields import holes
from pliant.data.left_out import LeftOut
from pliant.data.locate import COMPRESSIONS, empty_files, kind_of, locate
from pliant.data.located import Located
from pliant.data.once import read_once
from pliant.data.readers import glance, read
from pliant.data.split import Part, Split
from pliant.errors import PliantError
from pliant.files import DAMAGED_ARCHIVE, cache_folder
from pliant.progress import progress
from pliant.spec import digest

_FORMAT = 3  # raise it when documents are cut, hashed or split differently


@dataclass(frozen=True, slots=True)
class Document:
    """A text and its id: 16 hexadecimal digits of its hash."""

    id: str
    text: str


class Corpus(Located):
    """Text and how to read it; a plain string is its `source`."""

    source: str = Field(
        min_length=1, description="builtin:prose, builtin:code, a file, a folder, a glob, or hub:owner/name[:config][@revision][[split]]"
    )
    field: str | None = Field(
        None,
        min_length=1,
        description="the field of a record that holds the text, or a template such as '{question}\\n{answer}'; "
        "by default the first of text, content, document, body ... that there is, or question and answer, prompt and completion ...",
    )

    skip_bad: bool = Field(default=False, description="Leave out, and count, what cannot be read as text, instead of refusing the corpus")

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `skip_bad` where not, so that records from before there was a choice keep their keys."""
        return {name: value for name, value in handler(self).items() if name != "skip_bad" or value}

    @field_validator("field")
    @classmethod
    def _with_line_ends(cls, field: str | None) -> str | None:
        """A template typed in a shell or between single quotes spells its line ends as backslash n."""
        if not field or "{" not in field:
            return field
        holes(field)
        return field.replace("\\n", "\n")

    def documents(self, part: Part = "train") -> Iterator[Document]:
        """The documents of one part, in the order they are stored, without repeats.

        Raises PliantError for a missing, unreadable, empty or too small corpus.
        """
        paths = locate(self.source)
        place, split, selected, number = self._cached(paths), self.split(), self._selected(part), 0
        for number, text in enumerate(read(paths, self.field, left=LeftOut(self.skip_bad)), 1):
            if number > len(selected) or (selected[number - 1] and int(digest(text), 16) != split.hashes[number - 1]):
                raise self._changed(paths)
            if selected[number - 1]:
                yield Document(f"{int(split.hashes[number - 1]):016x}", text)
        if number != len(selected) or self._cached(paths) != place:
            raise self._changed(paths)

    def characters(self, part: Part = "train") -> int:
        """How many characters the documents of a part hold together."""
        return int(self.split().lengths[self._selected(part)].sum(dtype=np.int64))

    def left_out(self, part: Part = "all") -> LeftOut:
        """What is no document of a part: what repeats one of it; and of the whole corpus, what is empty, cut, or cannot be read."""
        self._selected(part)
        split = self.split()
        found = LeftOut.of(split.told)
        for path in empty_files(self.source):
            found.add("empty", f"{path}: holds no text")
        for number, first in zip(*split.repeats(part), strict=True):
            found.add("repeated", f"document {number + 1:,} is document {first + 1:,} again, with the id {int(split.hashes[first]):016x}")
        found.counts["not_asked"] = int(split.selected("all").sum() - split.selected(part).sum())
        return found

    def fingerprint(self) -> str:
        """16 hexadecimal digits of the documents' hashes, in order: the same wherever the same text is stored."""
        return digest(self.split().hashes[self._selected("all")].astype("<u8").tobytes())

    def split(self) -> Split:
        """The side of every document. Read from the cache when the same content was read before."""
        paths = locate(self.source)
        marks = [mark(path) for path in paths]
        return read_once(self._cached(paths), lambda target: self._scan(target, paths, marks), _stored)

    def _selected(self, part: Part) -> NDArray[np.bool_]:
        try:
            return self.split().selected(part)
        except PliantError as error:
            raise error.within(self.source) from None

    def _cached(self, paths: list[Path]) -> Path:
        """Where the split of this content is kept: what the files hold, and all else that decides how they are read."""
        kinds = [(kind_of(path), path.suffix.lower() if path.suffix.lower() in COMPRESSIONS else "") for path in paths]
        found = contents(paths) if self.skip_bad else contents(paths, glance)
        key = digest(json.dumps([_FORMAT, self.field, kinds, found, self.skip_bad]))
        return cache_folder() / "corpora" / f"{key}.npz"

    def _changed(self, paths: list[Path]) -> PliantError:
        """The complaint that the documents are not those of the split, which is made anew the next time, lest it be at fault."""
        self._cached(paths).unlink(missing_ok=True)
        return changed(self.source)

    def _scan(self, target: Path, paths: list[Path], marks: list[str]) -> None:
        """Read everything once and note each document's hash and length. Raises PliantError when a file no longer has its mark."""
        hashes, lengths, left = array("Q"), array("I"), LeftOut(self.skip_bad)
        with progress(f"reading {self.source}", sum(path.stat().st_size for path in paths)) as advance:
            for text in read(paths, self.field, advance, left):
                hashes.append(int(digest(text), 16))
                lengths.append(len(text))
        if [mark(path) for path in paths] != marks:
            raise changed(self.source)
        split = Split.of(np.array(hashes, np.uint64), np.array(lengths, np.uint32))
        with target.open("wb") as stream:
            np.savez(stream, hashes=split.hashes, lengths=split.lengths, sides=split.sides, told=np.frombuffer(left.told(), np.uint8))


def _stored(target: Path) -> Split | None:
    """A split from the cache; none where there is none, or one that is damaged."""
    try:
        with np.load(target) as stored:
            split = Split(stored["hashes"], stored["lengths"], stored["sides"], stored["told"].tobytes())
    except DAMAGED_ARCHIVE:
        return None
    return split if len(split.hashes) == len(split.lengths) == len(split.sides) else None
