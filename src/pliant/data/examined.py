"""Tables whose records are examples: told apart by their columns, read once, cut to length and counted.

Idea: what dialogues, preferences and pairs of texts have in common. A kind says which columns it knows, what a record holds, and which
texts of it are tokenised; an example of several sequences has its id on each of them.
What goes wrong: a record that cannot be learned from refuses the table, with its line, unless `skip_bad` leaves it out and counts it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from pydantic import Field, SerializerFunctionWrapHandler, field_validator, model_serializer

from pliant.data.content import contents
from pliant.data.fields import TEXT_FIELDS
from pliant.data.formats import Format, check_columns, format_of
from pliant.data.left_out import Bad, LeftOut, refuse
from pliant.data.locate import locate
from pliant.data.located import Located
from pliant.data.rendering import Piece, chat_template, tokenised
from pliant.data.rows import first_record, rows
from pliant.data.selection import Selection
from pliant.data.sequences import Sequences, built
from pliant.data.split import Part, held_out_share
from pliant.errors import PliantError
from pliant.files import cache_folder
from pliant.spec import digest, nearest

if TYPE_CHECKING:
    from pliant.data.corpus import Corpus
    from pliant.data.tokenizer import Tokenizer

_FORMAT = 1  # raise it when the same table would give other sequences
_TOKENS = 3  # raise it when the same examples would have other tokens
_GROUP = 1024  # examples tokenised at once

Example = TypeVar("Example")

Marked = tuple[list[int], list[bool]]
"""Token ids, and which of them are learned."""


class Examined(Located):
    """Base of tables of examples. Abstract: a subclass writes `formats`, `example`, `told`, `pieces` and `kept`."""

    formats: ClassVar[Mapping[str, Format]] = {}
    holds: ClassVar[str] = "examples"
    """What its columns hold, for people."""

    format: str | None = Field(default=None, description="What its columns are; by default as they are called")
    skip_bad: bool = Field(
        default=False, description="Leave out, and count, records that cannot be learned from, instead of refusing the table"
    )

    select: Selection | None = Field(default=None, description="Which examples are kept: `{scores: scores.parquet, keep: 0.5}`")

    @model_serializer(mode="wrap")
    def _without_selection(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without `select` where all are kept, so that records from before there was a choice keep their keys."""
        return {name: value for name, value in handler(self).items() if name != "select" or value is not None}

    @field_validator("format")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in cls.formats:
            raise PliantError(f"unknown format {name!r}; {nearest(name, cls.formats)}")
        return name

    @classmethod
    def of(cls, corpus: Corpus) -> Self | None:
        """The same source as such a table, where it is one and no field is asked for; None for text and other tables.

        Raises PliantError for a source that cannot be read.
        """
        record = None if corpus.field else first_record(corpus.source)
        return cls(source=corpus.source, skip_bad=corpus.skip_bad) if record is not None and cls.has(set(record)) else None

    @classmethod
    def has(cls, columns: set[str]) -> bool:
        """Whether a table with these columns is one of its own accord: not where one of them is simply a text."""
        return not columns & set(TEXT_FIELDS) and any(set(form.needs) <= columns for form in cls.formats.values())

    def characters(self, part: Part = "all") -> int:
        """Its files' bytes."""
        return self.size

    def fingerprint(self) -> str:
        """Of what the files hold, read as such examples, and of what is selected: the same file may be read as others, too."""
        return digest(f"{self.kind} {self.held()}")

    def held(self) -> str:
        """Of what the files hold, whatever it is read as, and of what is selected."""
        selected = [] if self.select is None else [self.select.fingerprint()]
        return digest(json.dumps([_FORMAT, contents(locate(self.source)), self.format, self.skip_bad, *selected]))

    def form(self) -> Format:
        """What its columns are: as `format` says, or as the first record's are called. Raises PliantError where that cannot be told."""
        if self.format is not None:
            return self.formats[self.format]
        where, record = self.first()
        try:
            return format_of(list(record), self.formats, self.holds)
        except PliantError as error:
            raise error.within(where) from None

    def first(self) -> tuple[str, Mapping[str, Any]]:
        """The first record that can be read, and where it stands. Raises PliantError where there is none."""
        where, record = next(rows(locate(self.source), LeftOut(self.skip_bad).bad), ("", None))
        if record is None:
            raise PliantError(f"{self.source}: the table is empty")
        return where, record

    def records(self, bad: Bad = refuse) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """Every record, and where it stands; `bad` is told of what cannot be read."""
        return rows(locate(self.source), bad)

    def example(self, record: Mapping[str, Any], form: Format) -> Any:
        """What a record says. Raises PliantError for one that cannot be learned from."""
        raise NotImplementedError

    def told(self, example: Any) -> Any:
        """The example as plain JSON values, of which its id is made."""
        raise NotImplementedError

    def pieces(self, example: Any, template: Any) -> list[list[Piece]]:
        """Its texts, each in pieces. Raises PliantError for what the chat template refuses."""
        raise NotImplementedError

    def tokens(self, pieces: Sequence[Sequence[Piece]], tokenizer: Tokenizer, template: Any, length: int) -> list[tuple[Marked, bool]]:
        """Texts in tokens, cut behind `length` + 1 of them, and whether anything was cut."""
        whole = tokenised(pieces, tokenizer, template is None)
        return [((ids[: length + 1], learned[: length + 1]), len(ids) > length + 1) for ids, learned in whole]

    def kept(self, members: Sequence[Marked]) -> bool:
        """Whether there is anything left to learn in an example's sequences once they are cut."""
        raise NotImplementedError

    def left_out(self, part: Part = "all") -> LeftOut:
        """What is no example of a part, from a pass over the table: repeats, and what `skip_bad` leaves out. Raises as `examined` does."""
        found = LeftOut(self.skip_bad)
        kept = sum(1 for _ in self.examined(part, Counter(), left=found))
        if self.select is not None:
            found.counts["not_asked"] += kept - sum(1 for _ in self.chosen(part, Counter()))
        return found

    def examined(
        self, part: Part, skipped: Counter[str], template: Any = None, left: LeftOut | None = None
    ) -> Iterator[tuple[int, Any, list[list[Piece]]]]:
        """The examples of a part with their ids and texts, repeats left out. Raises PliantError that names the line at fault.

        Repeats are counted in `skipped`. With `skip_bad`, what cannot be learned from, or what the chat template refuses, is left out and
        counted there, too; `left` is told where both are.
        """
        form, size, seen, left = self.form(), self.size, set[int](), left or LeftOut(self.skip_bad)

        def bad(error: PliantError) -> None:
            left.bad(error)
            skipped["skipped"] += 1

        for where, record in self.records(bad):
            try:
                check_columns(record, form)
                example = self.example(record, form)
                number = int(digest(json.dumps(self.told(example))), 16)
                if part == "all" or _side(number, size) == part:
                    if number not in seen:
                        yield number, example, self.pieces(example, template)
                    else:
                        skipped["repeated"] += 1
                        left.add("repeated", f"{where} is there before, with the id {number:016x}")
                elif number not in seen:
                    left.counts["not_asked"] += 1
                seen.add(number)
            except PliantError as error:
                if not self.skip_bad:
                    raise PliantError(f"{where}: {error}; `skip_bad: true` leaves such records out") from None
                bad(error.within(where))

    def chosen(self, part: Part, skipped: Counter[str], template: Any = None) -> Iterator[tuple[int, Any, list[list[Piece]]]]:
        """Those of `examined` that are selected, the others counted in `skipped` as unselected. Raises PliantError as it does."""
        if self.select is None:
            yield from self.examined(part, skipped, template)
            return
        names = [f"{number:016x}" for number, _, _ in self.examined(part, Counter(), template)]
        kept = self.select.kept(names)
        for keep, found in zip(kept, self.examined(part, skipped, template), strict=True):
            if keep:
                yield found
            else:
                skipped["unselected"] += 1

    @property
    def size(self) -> int:
        """Bytes of its files, by which the share that is held out is chosen, as of any corpus."""
        return sum(path.stat().st_size for path in locate(self.source))

    def sequences(self, tokenizer: Tokenizer, part: Part, length: int) -> Sequences:
        """The examples as `tokenizer` has them, cut behind `length` + 1 tokens; those of which nothing is left to learn are counted.

        Raises PliantError for whatever is wrong with the table, and where no example is left.
        """
        template = chat_template(tokenizer)
        name = f"{self.source} ({part} part)"
        key = digest(
            json.dumps(
                [_FORMAT, _TOKENS, self.fingerprint(), tokenizer.fingerprint, getattr(template, "chat_template", None), part, length]
            )
        )
        counts = Counter({"records": 0, "truncated": 0, "left_out": 0})

        def found() -> Iterator[tuple[int, list[int], list[bool]]]:
            for group in _grouped(self.chosen(part, counts, template)):
                flat = iter(self.tokens([member for _, _, members in group for member in members], tokenizer, template, length))
                for number, _, members in group:
                    cut, short = zip(*(next(flat) for _ in members), strict=True)
                    counts["records"] += 1
                    counts["truncated"] += any(short)
                    if self.kept(cut):
                        yield from ((number, ids, learned) for ids, learned in cut)
                    else:
                        counts["left_out"] += 1

        return built(cache_folder() / "sequences" / key, name, tokenizer.vocab_size, found(), counts)


def _side(number: int, size: int) -> str:
    """The part of an example, by its own hash, as documents of a corpus have theirs."""
    return "heldout" if number < held_out_share(size) * 2**64 else "train"


def _grouped(found: Iterator[Example]) -> Iterator[list[Example]]:
    group: list[Example] = []
    for item in found:
        group.append(item)
        if len(group) == _GROUP:
            yield group
            group = []
    if group:
        yield group
