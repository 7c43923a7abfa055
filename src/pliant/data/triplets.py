"""Texts that belong together, with texts they are told from: what embeddings are trained on.

Idea: a query, its positive, and any number of hard negatives; each is a text of its own, framed as the tokenizer frames any text
(`[CLS] ... [SEP]`, `<s> ...`), also where it is cut. Null, missing and empty are one thing: no such negative.

| columns | the pair |
|---|---|
| `query`, `positive` (also `anchor`, `question`) | query and positive |
| `sentence1`, `sentence2`, without a label or score | both sentences |

Negatives are the columns `negative`, `negatives`, `hard_negative`, `negative_1` ..., a text or a list of texts each.
What goes wrong: pairs that a table only labels (entailed or not, a score) are no such pairs; give them a `format` where all of them belong
together.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from pydantic import Field

from pliant.data.dialogues import text_of
from pliant.data.examined import Examined, Marked
from pliant.data.formats import Format, named
from pliant.data.rendering import Piece
from pliant.errors import PliantError

if TYPE_CHECKING:
    from pliant.data.tokenizer import Tokenizer

LABELS = {"label", "labels", "score", "similarity", "relatedness_score", "gold_label"}
"""Columns that say whether two sentences belong together."""

_NEGATIVE = re.compile(r"(hard_)?negatives?(_?\d+)?")


def triplet(record: Mapping[str, Any], form: Format) -> list[str]:
    """Query, positive and negatives. Raises PliantError where one of the first two is empty, or a negative is one of them."""
    texts: list[str] = form.read(record)
    for name, text in zip(form.needs, texts, strict=True):
        if not text.strip():
            raise PliantError(f"{name} is empty")
    for name in filter(_NEGATIVE.fullmatch, record):
        found = record[name]
        for text in cast("list[Any]", found) if isinstance(found, list) else [found]:
            negative = text_of({name: text}, name)
            if negative in texts[:2]:
                raise PliantError(f"a text in {name} is the {form.needs[texts.index(negative)]} itself")
            texts += [negative] if negative.strip() else []
    return texts


def _both(one: str, other: str) -> Callable[[Mapping[str, Any]], list[str]]:
    return lambda record: [text_of(record, one), text_of(record, other)]


TRIPLETS = named(
    *(Format(name, (name, "positive"), _both(name, "positive")) for name in ("query", "anchor", "question")),
    Format("sentences", ("sentence1", "sentence2"), _both("sentence1", "sentence2")),
)
"""By name, in the order in which they are tried."""


class Triplets(Examined):
    """Texts that belong together; a plain string is its `source`."""

    formats = TRIPLETS
    holds = "texts that belong together"
    format: str | None = Field(default=None, description=f"What its columns are: {', '.join(TRIPLETS)}; by default as they are called")

    @classmethod
    def has(cls, columns: set[str]) -> bool:
        """Not where another column says whether they belong together."""
        return super().has(columns) and not LABELS & columns

    def texts_of_example(self) -> int:
        """Texts that an example has, as far as the first one tells. Raises PliantError for whatever is wrong with it."""
        return len(next((texts for _, texts, _ in self.examined("all", Counter())), ("", "")))

    def example(self, record: Mapping[str, Any], form: Format) -> list[str]:
        """Its texts."""
        return triplet(record, form)

    def told(self, example: list[str]) -> Any:
        """Its texts."""
        return example

    def pieces(self, example: list[str], template: Any) -> list[list[Piece]]:
        """Each text, as it is."""
        return [[Piece(text, True)] for text in example]

    def tokens(self, pieces: Sequence[Sequence[Piece]], tokenizer: Tokenizer, template: Any, length: int) -> list[tuple[Marked, bool]]:
        """Framed, also where they are cut."""
        before, after = framing(tokenizer)
        room = max(0, length + 1 - len(before) - len(after))
        found: list[tuple[Marked, bool]] = []
        for ids in tokenizer.encode(["".join(piece.text for piece in text) for text in pieces]):
            framed = [*before, *ids[:room].tolist(), *after]
            found.append(((framed, [True] * len(framed)), len(ids) > room))
        return found

    def kept(self, members: Sequence[Marked]) -> bool:
        """Something of every text; and a positive that is no negative, cut as they are."""
        ids = [tokens for tokens, _ in members]
        return all(ids) and ids[1] not in ids[2:]


def framing(tokenizer: Tokenizer) -> tuple[list[int], list[int]]:
    """What its tokenizer puts before and after any text: `[CLS]` and `[SEP]`, `<s>`, or nothing."""
    inner: Any = getattr(tokenizer, "tokenizer", None)
    if inner is None:
        return [], []
    framed, plain = (list(inner("a", add_special_tokens=special)["input_ids"]) for special in (True, False))
    for start in range(len(framed) - len(plain) + 1):
        if framed[start : start + len(plain)] == plain:
            return framed[:start], framed[start + len(plain) :]
    return [], []
