"""Facts: questions with short answers, or subjects with a relation to an object, and the several ways in which a model is asked for them.

| columns | what is asked |
|---|---|
| `question`, and `answer`, `answers` or `possible_answers` (text, a list, or a list as JSON) | `question` |
| `sub_label`, `obj_label` (T-REx, LAMA, PARAREL) | the subject by its relation's patterns |
| `subject`, `object` | the same |

The relation is in `relation`, `prop` or `predicate_id`, or else, of subjects and objects, it is the name of their file; how well known
the subject is stands in `popularity` or `s_pop`, where there is such a column.
A fact that a table of dialogues holds as well has the id it has there, so that what is chosen here is found there (`select`).
What goes wrong: a pattern whose object is not at its end asks with what stands before it; one that names the object first asks nothing,
and is not used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from pydantic import Field

from pliant.data.content import contents
from pliant.data.dialogues import FORMATS, dialogue, text_of
from pliant.data.examined import Examined
from pliant.data.formats import Format, named
from pliant.data.left_out import Bad, refuse
from pliant.data.locate import locate
from pliant.data.rendering import Piece
from pliant.data.rows import rows
from pliant.data.split import Part
from pliant.errors import PliantError
from pliant.spec import digest
from pliant.spec.yaml import parse_json

RELATION = ("relation", "prop", "predicate_id")
POPULARITY = ("popularity", "s_pop")
QUESTIONS = ("Q: {}\nA:", "Question: {}\nAnswer:", "{} Answer:", "{} The answer is")
"""Ways to ask a question."""
MOST_ANSWERS = 8
"""Forms of one answer that are looked at."""


@dataclass(frozen=True)
class Fact:
    """What is asked, in words or as a subject, its relation (empty where none is told), and what counts as right."""

    asked: str
    relation: str
    answers: tuple[str, ...]
    popularity: float | None
    told: Any
    """Of which its id is made."""


def _question(answer: str) -> Format:
    def read(record: Mapping[str, Any]) -> Fact:
        asked, answers = text_of(record, "question").strip(), _answers(record[answer], answer)
        if not asked:
            raise PliantError("the question is empty")
        if isinstance(record[answer], str) and answer == "answer":
            told: Any = [[turn.role, turn.text] for turn in dialogue(record, FORMATS["question"])]
        else:
            told = [asked, *answers]
        return Fact(asked, _first(record, RELATION), answers, _popularity(record), told)

    return Format(f"question and {answer}", ("question", answer), read)


def _triple(subject: str, thing: str) -> Format:
    def read(record: Mapping[str, Any]) -> Fact:
        asked, answer = (text_of(record, name).strip() for name in (subject, thing))
        if not asked or not answer:
            raise PliantError(f"the {subject if not asked else thing} is empty")
        relation = _first(record, RELATION)
        return Fact(asked, relation, (answer,), _popularity(record), [asked, relation, answer])

    return Format(f"{subject} and {thing}", (subject, thing), read)


def _answers(value: Any, name: str) -> tuple[str, ...]:
    """Of text, of a list, and of a list as JSON."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        try:
            value = parse_json(value, name)
        except PliantError:
            value = [value]
    found = cast("list[Any]", value) if isinstance(value, list) else [text_of({name: value}, name)]
    if any(not isinstance(one, str) for one in found):
        raise PliantError(f"field {name!r} holds a list of other things than text")
    answers = tuple(dict.fromkeys(one.strip() for one in found if one.strip()))[:MOST_ANSWERS]
    if not answers:
        raise PliantError(f"the {name} is empty")
    return answers


def _first(record: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((text_of(record, name).strip() for name in names if name in record), "")


def _popularity(record: Mapping[str, Any]) -> float | None:
    name = next((name for name in POPULARITY if name in record), None)
    if name is None:
        return None
    try:
        return float(text_of(record, name))
    except ValueError:
        raise PliantError(f"the {name} is {str(record[name])[:40]!r}, not a number") from None


class Facts(Examined):
    """Facts to ask for; a plain string is its `source`."""

    formats = named(
        _question("answer"),
        _question("answers"),
        _question("possible_answers"),
        _triple("sub_label", "obj_label"),
        _triple("subject", "object"),
    )
    holds = "facts"
    patterns: str | None = Field(
        default=None, min_length=1, description="Folder of JSONL files, each named after a relation, with `pattern`: `[X] was born in [Y].`"
    )
    templates: list[str] = Field(
        default=list(QUESTIONS), min_length=1, description="Ways to ask a question, `{}` being the question; a space follows"
    )

    def fingerprint(self) -> str:
        """Of what the files hold, and of how it is asked."""
        asked = contents(locate(self.patterns)) if self.patterns is not None else self.templates
        return digest(f"facts {self.held()} {asked}")

    def records(self, bad: Bad = refuse) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """With the name of the file as relation where no column tells."""
        for path in locate(self.source):
            name = {RELATION[0]: path.name.split(".")[0]}
            for where, record in rows([path], bad):
                told = "question" in record or any(field in record for field in RELATION)
                yield where, record if told else {**record, **name}

    def example(self, record: Mapping[str, Any], form: Format) -> Fact:
        """The fact."""
        return form.read(record)

    def told(self, example: Fact) -> Any:
        """Roles and texts, or the triple."""
        return example.told

    def pieces(self, example: Fact, template: Any) -> list[list[Piece]]:
        """None: a fact is asked for, not learned."""
        return []

    def facts(self, part: Part, skipped: Counter[str]) -> Iterator[tuple[str, Fact]]:
        """The facts of a part under their ids. Raises PliantError that names the line at fault; `skip_bad` counts those in `skipped`."""
        for number, fact, _ in self.chosen(part, skipped):
            yield f"{number:016x}", fact

    def prompts(self) -> dict[str, list[str]] | list[str]:
        """Ways to ask, `{}` being the question or the subject: for each relation where there are patterns, else for all.

        Raises PliantError for templates without a place for the question, and patterns that ask nothing.
        """
        if self.patterns is None:
            if bad := [text for text in self.templates if text.count("{}") != 1]:
                raise PliantError(f"the template {bad[0][:60]!r} must say once where the question stands, as {{}}")
            return [text.rstrip() for text in self.templates]
        found: dict[str, list[str]] = {}
        for path in locate(self.patterns):
            name = path.name.split(".")[0]
            said = [str(record.get("pattern", "")) for _, record in rows([path])]
            asking = [text.partition("[Y]")[0].rstrip() for text in said if "[X]" in text.partition("[Y]")[0]]
            found[name] = [text.replace("[X]", "{}") for text in dict.fromkeys(asking)]
        if not any(found.values()):
            raise PliantError(f"{self.patterns}: no pattern there has [X] before [Y]")
        return found
