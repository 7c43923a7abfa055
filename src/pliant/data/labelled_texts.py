"""Texts with labels: classes to choose from, or numbers to predict; single texts and pairs of them.

Columns are told apart as they are usually called; `text_column`, `pair_column` and `label_column` name others. A label is a class by name
or number, or a list of probabilities (a soft label); for numbers it is a number or a list of them.
A table of text and `label` is one of its own accord, unless it is asked for as text (`field: text`).
What goes wrong: the order of classes is that of their numbers, or of the alphabet, unless a table's schema names them; a text that comes
with two labels is two examples.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pydantic import Field

from pliant.data.examined import Examined
from pliant.data.formats import Format, named
from pliant.data.image_sources import Columns, told_names
from pliant.data.label_values import class_label, classes_of, number_label
from pliant.data.labelled_rows import LabelledRow, LabelledRows, built
from pliant.data.locate import TABLES, kind_of, locate
from pliant.data.row_encoding import encoded_rows
from pliant.errors import PliantError
from pliant.files import cache_folder
from pliant.spec import digest, nearest

if TYPE_CHECKING:
    from pliant.data.rendering import Piece
    from pliant.data.split import Part
    from pliant.data.tokenizer import Tokenizer

_FORMAT = 1  # raise it when the same table would give other rows
_GROUP = 1024  # texts tokenised at once
LABEL_COLUMNS = ("label", "labels", "class", "category", "target", "answer", "sentiment")
NUMBER_COLUMNS = ("score", "value", "target", "label", "labels", "rating", "similarity_score", "relatedness_score")


class LabelledText(NamedTuple):
    """What a record says: one text or two, and its label as it stands for itself."""

    texts: tuple[str, ...]
    label: str | tuple[float, ...]


def _columns(*texts: str) -> Format:
    return Format("+".join(texts), texts, lambda record: record)


FORMATS = named(
    *(
        _columns(first, second)
        for first, second in (
            ("sentence1", "sentence2"),
            ("premise", "hypothesis"),
            ("question1", "question2"),
            ("question", "passage"),
            ("question", "sentence"),
            ("sentence_A", "sentence_B"),
            ("text1", "text2"),
        )
    ),
    *(_columns(name) for name in ("text", "sentence", "content", "review", "document", "tweet", "question")),
)
"""By the columns of their texts, in the order in which they are tried."""


class LabelledTexts(Examined):
    """Texts with classes; a plain string is its `source`."""

    formats = FORMATS
    holds = "texts"
    numbers: ClassVar[bool] = False
    """Whether labels are numbers to predict."""
    usual_labels: ClassVar[tuple[str, ...]] = LABEL_COLUMNS
    text_column: str | None = Field(default=None, description="Column of the text; by default text, sentence, or a usual pair")
    pair_column: str | None = Field(default=None, description="Column of a second text, where each example is a pair")
    label_column: str | None = Field(default=None, description="Column of the label; by default label or another usual name")

    @classmethod
    def has(cls, columns: set[str]) -> bool:
        """Where texts stand beside a column that is called a label; one of another name is only read when it is asked for."""
        return not cls.numbers and bool(columns & {"label", "labels"}) and any(set(form.needs) <= columns for form in cls.formats.values())

    def fingerprint(self) -> str:
        """Of what the files hold, and which columns are read."""
        return digest(json.dumps([_FORMAT, self.held(), self.text_column, self.pair_column, self.label_column, self.numbers]))

    def form(self) -> Format:
        """Which columns are read: those of the texts, then that of the label. Raises PliantError where that cannot be told."""
        where, record = self.first()
        texts = self._texts()
        label = self.label_column or next((name for name in self.usual_labels if name in record and name not in texts), None)
        if label is None:
            raise PliantError(f"{where}: which column holds labels? There are {', '.join(list(record)[:12])}; name it with `label_column`")
        return self._of_columns((*texts, label))

    def _texts(self) -> tuple[str, ...]:
        """The columns of the texts."""
        if self.text_column is not None:
            return tuple(name for name in (self.text_column, self.pair_column) if name is not None)
        if self.pair_column is not None:
            raise PliantError("pair_column names the second text; name the first one, too, as text_column")
        return super().form().needs

    def _of_columns(self, names: tuple[str, ...]) -> Format:
        """Raises PliantError for a column that is not there."""
        where, record = self.first()
        if missing := [name for name in names if name not in record]:
            raise PliantError(f"{where}: no field {missing[0][:40]!r}; {nearest(missing[0], record)}")
        return Format("labelled", names, lambda record: record)

    def example(self, record: Mapping[str, Any], form: Format) -> LabelledText:
        """Its texts and label. Raises PliantError for a text that is missing, empty or no text, and for a label that is none."""
        *columns, label = form.needs
        texts = tuple(_text(record, name) for name in columns)
        return LabelledText(texts, number_label(record[label]) if self.numbers else class_label(record[label]))

    def told(self, example: LabelledText) -> Any:
        """Texts and label: the same text with another label is another example."""
        return [list(example.texts), example.label]

    def pieces(self, example: LabelledText, template: Any) -> list[list[Piece]]:
        """None: texts are tokenised as one, by `encoded_rows`."""
        return []

    def classes(self) -> tuple[str, ...]:
        """What its labels are, in order, whatever the part; of numbers, one name for each.

        Raises PliantError for whatever is wrong with the table.
        """
        asked: Any = self
        return _classes(asked, self.fingerprint())

    def rows(self, tokenizer: Tokenizer, part: Part, length: int) -> LabelledRows:
        """The examples of a part as `tokenizer` has them, in at most `length` tokens each; labels are numbers.

        A class is a row of (1,) with its place among `classes`, or where any label is soft, of (classes,) probabilities.
        Raises PliantError for whatever is wrong with the table, and where no example is left.
        """
        classes = self.classes()
        name = f"{self.source} ({part} part)"
        counts = Counter({"records": 0, "truncated": 0, "left_out": 0})
        key = digest(json.dumps([_FORMAT, self.fingerprint(), tokenizer.fingerprint, classes, part, length]))
        return built(cache_folder() / "labelled" / key, name, self._rows(tokenizer, part, length, classes, counts), counts)

    def _rows(self, tokenizer: Tokenizer, part: Part, length: int, classes: tuple[str, ...], counts: Counter[str]) -> Iterator[LabelledRow]:
        soft = not self.numbers and _soft(self, self.fingerprint())
        for group in _grouped(self.chosen(part, counts)):
            texts = [example.texts for _, example in group]
            for (number, example), (ids, marks, cut) in zip(group, encoded_rows(tokenizer, texts, length), strict=True):
                counts["records"] += 1
                counts["truncated"] += cut
                if ids:
                    yield LabelledRow(number, ids, marks, _as_numbers(example.label, classes, soft))
                else:
                    counts["left_out"] += 1


class Texts(LabelledTexts):
    """Texts alone, whether or not there are labels; a plain string is its `source`."""

    def form(self) -> Format:
        """Which columns are read. Raises PliantError where that cannot be told."""
        return self._of_columns(self._texts())

    def fingerprint(self) -> str:
        """Of what the files hold, read without labels."""
        return digest(f"{self.kind} {super().fingerprint()}")

    def example(self, record: Mapping[str, Any], form: Format) -> LabelledText:
        """Its texts. Raises PliantError for a text that is missing, empty or no text."""
        return LabelledText(tuple(_text(record, name) for name in form.needs), "")

    def told(self, example: LabelledText) -> Any:
        """Its texts."""
        return list(example.texts)

    def classes(self) -> tuple[str, ...]:
        """One without a name."""
        return ("",)


class NumberedTexts(LabelledTexts):
    """Texts with numbers; a plain string is its `source`."""

    numbers = True
    usual_labels = NUMBER_COLUMNS


def _text(record: Mapping[str, Any], name: str) -> str:
    value = record[name]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value == value:  # a text that a table took for a number
        return str(value)
    if value is not None and not isinstance(value, (str, float)):
        raise PliantError(f"field {name!r} holds {type(value).__name__}, not text")
    if not isinstance(value, str) or not value.strip():
        raise PliantError(f"field {name!r} is empty")
    return value


def _as_numbers(label: str | tuple[float, ...], classes: tuple[str, ...], soft: bool) -> tuple[float, ...]:
    if not isinstance(label, str):
        return label
    place = _place(label, classes)
    return tuple(float(number == place) for number in range(len(classes))) if soft else (float(place),)


def _place(label: str, classes: tuple[str, ...]) -> int:
    """Classes that a schema names are stored as their numbers."""
    return classes.index(label) if label in classes else int(label)


@lru_cache(maxsize=16)
def _labels(data: Any, fingerprint: str) -> frozenset[str | tuple[float, ...]]:
    """Every label that comes, of all parts."""
    return frozenset(example.label for _, example, _ in data.examined("all", Counter()))


@lru_cache(maxsize=16)
def _classes(data: Any, fingerprint: str) -> tuple[str, ...]:
    labels = _labels(data, fingerprint)
    if not data.numbers:
        return classes_of(labels, _names(data), data.source)
    widths = {len(label) for label in labels}
    if len(widths) != 1:
        problem = f"some labels are {min(widths)} numbers and some {max(widths)}" if widths else "holds no text with a number"
        raise PliantError(f"{data.source}: {problem}")
    column, width = data.form().needs[-1], next(iter(widths))
    return (column,) if width == 1 else tuple(f"{column}_{number}" for number in range(width))


def _soft(data: Any, fingerprint: str) -> bool:
    return any(not isinstance(label, str) for label in _labels(data, fingerprint))


def _names(data: LabelledTexts) -> list[str]:
    """What a table's schema calls the numbers of its classes."""
    if kind_of(locate(data.source)[0]) not in TABLES:
        return []
    return told_names(data.source, Columns(None, data.form().needs[-1]))


def _grouped(found: Iterator[tuple[int, LabelledText, Any]]) -> Iterator[list[tuple[int, LabelledText]]]:
    group: list[tuple[int, LabelledText]] = []
    for number, example, _ in found:
        group.append((number, example))
        if len(group) == _GROUP:
            yield group
            group = []
    if group:
        yield group
