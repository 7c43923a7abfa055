"""Questions with answers to choose from: evaluation sets as they are published, told apart by their columns.

Idea: each format says what stands before the answers and what the answers are, in the wording that the field's harness has for that
set, so that scores can be compared. A continuation begins with a space, as the harness joins it.

| columns | sets |
|---|---|
| `question`, `choices` {text, label}, `answerKey` | ARC, CommonsenseQA |
| `question_stem`, `choices` {text, label}, `answerKey` | OpenBookQA |
| `question`, `choices` (a list), `answer` (its index), `subject` | MMLU: the letters are chosen from |
| `question`, `distractor1` .. `distractor3`, `correct_answer`, `support` | SciQ |
| `goal`, `sol1`, `sol2`, `label` | PIQA |
| `context`, `question`, `answerA` .. `answerC`, `label` | SocialIQA |
| `premise`, `choice1`, `choice2`, `question`, `label` | COPA |
| `passage`, `question`, `answer` (yes or no) | BoolQ |
| `context` (or `question`), `choices` (a list), `answer` (its index or text) | one's own |

What goes wrong: the wording decides a good part of a small model's score; compare only scores of one wording.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any, cast

from pliant.data.locate import locate
from pliant.data.located import Located
from pliant.data.rows import rows
from pliant.errors import PliantError
from pliant.spec import digest


@dataclass(frozen=True)
class ChoiceQuestion:
    """What is asked, and what there is to choose from; `answer` is the right one's place. `id` is stable."""

    id: str
    context: str
    continuations: tuple[str, ...]
    answer: int


Made = tuple[str, Sequence[str], int]
"""Context, answers, and the place of the right one."""


@dataclass(frozen=True)
class ChoiceFormat:
    """The columns of a set, and what a record asks."""

    name: str
    needs: tuple[str, ...]
    made: Callable[[Mapping[str, Any]], Made]


class QuestionSet(Located):
    """Questions with answers to choose from; a plain string is its `source`."""

    def questions(self) -> Iterator[ChoiceQuestion]:
        """Every question, in the order they are stored. Raises PliantError that names the line at fault."""
        found: ChoiceFormat | None = None
        for where, record in rows(locate(self.source)):
            try:
                found = found or choice_format(list(record))
                yield _question(record, found)
            except PliantError as error:
                raise error.within(where) from None
        if found is None:
            raise PliantError(f"{self.source}: the set is empty")


def choice_format(columns: Sequence[str]) -> ChoiceFormat:
    """The first format whose columns are there. Raises PliantError where there is none."""
    found = next((form for form in CHOICE_FORMATS if set(form.needs) <= set(columns)), None)
    if found is None:
        known = "; ".join(", ".join(form.needs) for form in CHOICE_FORMATS)
        raise PliantError(f"these columns hold no questions with choices: {', '.join(sorted(columns)[:12])}; known are {known}")
    return found


def _question(record: Mapping[str, Any], form: ChoiceFormat) -> ChoiceQuestion:
    try:
        context, answers, right = form.made(record)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise PliantError(f"is no question of the format {form.name} ({type(error).__name__}: {error})") from None
    if len(answers) < 2 or not 0 <= right < len(answers):
        raise PliantError(f"has {len(answers)} answers, of which number {right + 1} is to be right (format {form.name})")
    if any(not str(answer).strip() for answer in answers):
        raise PliantError(f"has an empty answer (format {form.name})")
    continuations = tuple(f" {answer}" for answer in answers)
    return ChoiceQuestion(digest("\n".join([context, *continuations, str(right)])), context, continuations, right)


def _labelled(record: Mapping[str, Any]) -> tuple[list[str], int]:
    choices = cast("Mapping[str, list[str]]", record["choices"])
    return list(choices["text"]), list(choices["label"]).index(record["answerKey"])


def _letters(question: str, answers: Sequence[str]) -> str:
    lines = [f"{letter}. {answer}" for letter, answer in zip(ascii_uppercase, answers, strict=False)]
    return "\n".join([question.strip(), *lines, "Answer:"])


def _arc(record: Mapping[str, Any]) -> Made:
    answers, right = _labelled(record)
    return f"Question: {record['question']}\nAnswer:", answers, right


def _commonsense(record: Mapping[str, Any]) -> Made:
    answers, right = _labelled(record)
    return _letters(f"Question: {record['question'].strip()}", answers), ascii_uppercase[: len(answers)], right


def _openbook(record: Mapping[str, Any]) -> Made:
    return (record["question_stem"], *_labelled(record))


def _mmlu(record: Mapping[str, Any]) -> Made:
    about = record["subject"].replace("_", " ")
    said = f"The following are multiple choice questions (with answers) about {about}.\n\n"
    return said + _letters(record["question"], record["choices"]), ascii_uppercase[: len(record["choices"])], int(record["answer"])


def _sciq(record: Mapping[str, Any]) -> Made:
    context = f"{(record.get('support') or '').lstrip()}\nQuestion: {record['question']}\nAnswer:"
    return context, [record[f"distractor{number}"] for number in (1, 2, 3)] + [record["correct_answer"]], 3


def _piqa(record: Mapping[str, Any]) -> Made:
    return f"Question: {record['goal']}\nAnswer:", [record["sol1"], record["sol2"]], int(record["label"])


def _social(record: Mapping[str, Any]) -> Made:
    answers = [record[f"answer{letter}"] for letter in "ABC"]
    return f"Q: {record['context']} {record['question']}\nA:", answers, int(record["label"]) - 1


def _copa(record: Mapping[str, Any]) -> Made:
    joined = {"cause": "because", "effect": "therefore"}[record["question"]]
    answers = [f" {record[name][0].lower()}{record[name][1:]}" for name in ("choice1", "choice2")]  # the harness joins with two spaces
    return f"{record['premise'].strip()[:-1]} {joined}", answers, int(record["label"])


def _boolq(record: Mapping[str, Any]) -> Made:
    return f"{record['passage']}\nQuestion: {record['question']}?\nAnswer:", ["no", "yes"], int(bool(record["answer"]))


def _own(record: Mapping[str, Any]) -> Made:
    context = record.get("context") or record.get("question")
    if not isinstance(context, str):
        raise ValueError("context is no text")
    answers, right = [str(answer) for answer in record["choices"]], record["answer"]
    return context, answers, answers.index(right) if isinstance(right, str) else int(right)


CHOICE_FORMATS = (
    ChoiceFormat("CommonsenseQA", ("question", "question_concept", "choices", "answerKey"), _commonsense),
    ChoiceFormat("ARC", ("question", "choices", "answerKey"), _arc),
    ChoiceFormat("OpenBookQA", ("question_stem", "choices", "answerKey"), _openbook),
    ChoiceFormat("MMLU", ("question", "choices", "answer", "subject"), _mmlu),
    ChoiceFormat("SciQ", ("question", "distractor1", "distractor2", "distractor3", "correct_answer"), _sciq),
    ChoiceFormat("PIQA", ("goal", "sol1", "sol2", "label"), _piqa),
    ChoiceFormat("SocialIQA", ("context", "question", "answerA", "answerB", "answerC", "label"), _social),
    ChoiceFormat("COPA", ("premise", "choice1", "choice2", "question", "label"), _copa),
    ChoiceFormat("BoolQ", ("passage", "question", "answer"), _boolq),
    ChoiceFormat("context and choices", ("context", "choices", "answer"), _own),
    ChoiceFormat("question and choices", ("question", "choices", "answer"), _own),
)
"""In the order in which they are tried."""
