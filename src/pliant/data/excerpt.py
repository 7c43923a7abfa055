"""An excerpt: some documents of a corpus, exactly, in files of the format they came in.

Idea: whoever chose documents wants those, with every field they had, and nothing else. The split of a corpus knows every document by
number; the files are read once more, and what is to be kept is checked against its hash as it goes by. A record that was cut into
pieces (see `readers`), of which some are kept, has those as its text.
Cost: one pass over the files, a batch of records at a time.
What goes wrong: repeats of a document are not written, being read once.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from pliant.data.content import changed
from pliant.data.corpus import Corpus
from pliant.data.decoding import faults
from pliant.data.fields import Wanted
from pliant.data.left_out import LeftOut
from pliant.data.locate import locate
from pliant.data.readers import LONGEST, pieces, well_formed
from pliant.data.rows import records
from pliant.data.writers import write_chosen
from pliant.errors import PliantError
from pliant.progress import progress
from pliant.spec import digest


def write_excerpt(corpus: Corpus, kept: NDArray[np.bool_], folder: Path) -> dict[str, int]:
    """Writes the documents that `kept` (documents,) says, in the order of the corpus's split, under the names their files have.

    Returns, for each file of the corpus, the number of the first document behind it. Raises PliantError for what cannot be read, for
    text that changed, and for a long record of several fields that is kept in part.
    """
    paths = locate(corpus.source)
    root = Path(os.path.commonpath([path.parent.absolute() for path in paths]))
    ends, chooser = dict[str, int](), _Chooser(corpus, kept)
    with progress(f"writing what is kept of {corpus.source}", sum(path.stat().st_size for path in paths)) as advance:
        for path in paths:
            name = str(path.absolute().relative_to(root))
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            if path.stat().st_size:
                with faults(path), path.open("rb") as raw:
                    write_chosen(path, raw, chooser.wanted, chooser, target, len(paths) == 1, chooser.left.bad)
            ends[name] = chooser.number
            advance(path.stat().st_size)
    if chooser.number != len(kept):
        raise changed(corpus.source)
    return ends


class _Chooser:
    """Says of each record in turn whether it is kept: `True`, or the pieces that are."""

    def __init__(self, corpus: Corpus, kept: NDArray[np.bool_]) -> None:
        self.wanted, self.number, self.left = Wanted(corpus.field), 0, LeftOut(corpus.skip_bad)
        self._source, self._hashes, self._kept = corpus.source, corpus.split().hashes, kept

    def __call__(self, record: Any) -> bool | str:
        """Of the next record."""
        found = _found(record, self.wanted, self.left)
        first, self.number = self.number, self.number + len(found)
        mine = self._kept[first : self.number]
        if len(mine) < len(found):
            raise changed(self._source)
        for place in np.flatnonzero(mine):
            if int(digest(well_formed(found[place])), 16) != self._hashes[first + place]:
                raise changed(self._source)
        if found and mine.all():
            return True
        return "".join(text for text, keep in zip(found, mine, strict=True) if keep) or False


def said_of_documents(corpus: Corpus, name: str) -> Iterator[str]:
    """What the field `name` says of each document, in the order of the corpus's split.

    Raises PliantError for text without fields, and for a record that lacks this one.
    """
    wanted, left = Wanted(corpus.field), LeftOut(corpus.skip_bad)
    for where, record in records(locate(corpus.source), left.bad):
        found = _found(record, wanted, left)
        if not found:
            continue
        if not isinstance(record, Mapping) or name not in record:
            raise PliantError(f"{where}: there is no field {name[:40]!r}")
        yield from [str(cast("Mapping[str, Any]", record)[name])] * len(found)


def _found(record: Any, wanted: Wanted, left: LeftOut) -> list[str]:
    """The documents of a record: none of one without text, and of one that is left out."""
    try:
        return _documents(record if isinstance(record, str) and not wanted.named else wanted.text(record))
    except PliantError as error:
        left.bad(error)
        return []


def _documents(text: str) -> list[str]:
    return [piece for piece in pieces((text,), LONGEST) if piece and not piece.isspace()]
