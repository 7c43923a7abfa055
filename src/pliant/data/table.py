"""A table of dialogues: questions with answers to learn, in any of the forms that fine-tuning data has."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from pydantic import Field, field_validator

from pliant.data.content import contents
from pliant.data.dialogues import FORMATS, Format, Turn, dialogue, format_of
from pliant.data.fields import TEXT_FIELDS
from pliant.data.locate import LINES, TABLES, kind_of, locate
from pliant.data.located import Located
from pliant.data.rendering import chat_template, pieces_of, tokenised
from pliant.data.rows import SEPARATED, records, rows
from pliant.data.sequences import Sequences, built
from pliant.data.split import Part, held_out_share
from pliant.errors import PliantError
from pliant.files import cache_folder
from pliant.spec import digest, nearest

if TYPE_CHECKING:
    from pliant.data.corpus import Corpus
    from pliant.data.tokenizer import Tokenizer

_FORMAT = 1  # raise it when the same table would give other sequences
_GROUP = 1024  # dialogues tokenised at once


class Table(Located):
    """Questions and answers; a plain string is its `source`."""

    format: str | None = Field(default=None, description=f"What its columns are: {', '.join(FORMATS)}; by default as they are called")
    skip_bad: bool = Field(
        default=False, description="Leave out, and count, records that cannot be learned from, instead of refusing the table"
    )

    @field_validator("format")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in FORMATS:
            raise PliantError(f"unknown format {name!r}; {nearest(name, FORMATS)}")
        return name

    @classmethod
    def of(cls, corpus: Corpus) -> Table | None:
        """The same source as a table of dialogues, where it is one and no field is asked for; None for text.

        Raises PliantError for a source that cannot be read.
        """
        paths = [] if corpus.field or corpus.source.startswith("builtin:") else locate(corpus.source)
        if not paths or kind_of(paths[0]) not in (*LINES, *TABLES, *SEPARATED):
            return None
        _, record = next(records(paths[:1]), ("", None))
        if not isinstance(record, Mapping) or any(name in record for name in TEXT_FIELDS):
            return None
        return cls(source=corpus.source) if any(set(form.needs) <= set(record) for form in FORMATS.values()) else None

    def characters(self, part: Part = "all") -> int:
        """Its files' bytes."""
        return self.size

    def fingerprint(self) -> str:
        """Of what the files hold."""
        return digest(json.dumps([_FORMAT, contents(locate(self.source)), self.format, self.skip_bad]))

    def form(self) -> Format:
        """What its columns are: as `format` says, or as the first record's are called. Raises PliantError where that cannot be told."""
        if self.format is not None:
            return FORMATS[self.format]
        where, record = next(rows(locate(self.source)), ("", None))
        if record is None:
            raise PliantError(f"{self.source}: the table is empty")
        try:
            return format_of(list(record))
        except PliantError as error:
            raise error.within(where) from None

    def dialogues(self, part: Part = "train", skipped: Counter[str] | None = None) -> Iterator[tuple[int, list[Turn]]]:
        """The dialogues of a part with their ids, repeats left out. Raises PliantError that names the line at fault.

        With `skip_bad`, what cannot be learned from is left out and counted in `skipped`.
        """
        form, size, seen = self.form(), self.size, set[int]()
        for where, record in rows(locate(self.source)):
            try:
                turns = dialogue(record, form)
            except PliantError as error:
                if not self.skip_bad:
                    raise PliantError(f"{where}: {error}; `skip_bad: true` leaves such records out") from None
                if skipped is not None:
                    skipped["skipped"] += 1
                continue
            number = int(digest(json.dumps([[turn.role, turn.text] for turn in turns])), 16)
            if number not in seen and (part == "all" or _side(number, size) == part):
                yield number, turns
            seen.add(number)

    @property
    def size(self) -> int:
        """Bytes of its files, by which the share that is held out is chosen, as of any corpus."""
        return sum(path.stat().st_size for path in locate(self.source))

    def sequences(self, tokenizer: Tokenizer, part: Part, length: int) -> Sequences:
        """The dialogues as `tokenizer` has them, cut behind `length` + 1 tokens; those whose answers are cut to nothing are counted.

        Raises PliantError for whatever is wrong with the table, and where no answer is left.
        """
        template = chat_template(tokenizer)
        name = f"{self.source} ({part} part)"
        key = digest(
            json.dumps([_FORMAT, self.fingerprint(), tokenizer.fingerprint, getattr(template, "chat_template", None), part, length])
        )
        counts = Counter({"records": 0, "truncated": 0, "left_out": 0})

        def found() -> Iterator[tuple[int, list[int], list[bool]]]:
            for group in _grouped(self.dialogues(part, counts)):
                pieces = [pieces_of(turns, template) for _, turns in group]
                for (number, _), (ids, learned) in zip(group, tokenised(pieces, tokenizer, template is None), strict=True):
                    counts["records"] += 1
                    counts["truncated"] += len(ids) > length + 1
                    if any(learned[1 : length + 1]):
                        yield number, ids[: length + 1], learned[: length + 1]
                    else:
                        counts["left_out"] += 1

        return built(cache_folder() / "sequences" / key, name, tokenizer.vocab_size, found(), counts)


def _side(number: int, size: int) -> str:
    """The part of a dialogue, by its own hash, as documents of a corpus have theirs."""
    return "heldout" if number < held_out_share(size) * 2**64 else "train"


def _grouped(found: Iterator[tuple[int, list[Turn]]]) -> Iterator[list[tuple[int, list[Turn]]]]:
    group: list[tuple[int, list[Turn]]] = []
    for item in found:
        group.append(item)
        if len(group) == _GROUP:
            yield group
            group = []
    if group:
        yield group
