"""From turns to token ids, with a mark on what is to be learned: the assistant's words and the token that ends them.

Idea: the text is cut where an answer begins and where it ends, and each piece is tokenised by itself. So a prompt has just the tokens
that it will have when the model is asked, whatever the first letter of the answer is; and an answer those with which it goes on.
The tokenizer's own chat template is used where it has one. What stands between two answers is found by rendering the dialogue up to
each of them, so any template will do whose text for some turns begins its text for more. Without a template, turns follow each
other on lines of their own, a question and its answer without names, longer dialogues with them.
What goes wrong: templates that rewrite earlier turns (dropping their thoughts, for example) cannot be cut so, and say so.
Source: the generation prompt of transformers' chat templates; masks as in TRL's `assistant_only_loss`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.data.dialogues import Turn
from pliant.errors import PliantError, first_line

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pliant.data.tokenizer import Tokenizer

NAMES = {"system": "System", "user": "User", "assistant": "Assistant"}


@dataclass(frozen=True)
class Piece:
    """A part of a dialogue's text; `learned`: the assistant's, to be learned; `ends`: an answer ends with it."""

    text: str
    learned: bool
    ends: bool = False


def chat_template(tokenizer: Tokenizer) -> Any:
    """The transformers tokenizer whose chat template is to be used, or None where there is none."""
    inner = getattr(tokenizer, "tokenizer", None)
    return inner if inner is not None and getattr(inner, "chat_template", None) else None


def pieces_of(turns: Sequence[Turn], template: Any, since: int = 0) -> list[Piece]:
    """The dialogue's text, cut where answers begin and end; answers before turn number `since` are read, not learned.

    Raises PliantError for turns that the template refuses.
    """
    return _plain(turns, since) if template is None else _templated(turns, template, since)


def _plain(turns: Sequence[Turn], since: int) -> list[Piece]:
    several = len(turns) > 2 or turns[0].role != "user"
    found: list[Piece] = []
    for number, turn in enumerate(turns):
        before = "\n" if found and found[-1].ends else ""
        name = f"{NAMES[turn.role]}: " if several else ""
        if turn.role == "assistant":
            found += [Piece(before + name, False)] if before + name else []
            found.append(Piece(turn.text, number >= since, ends=True))
        else:
            found.append(Piece(f"{before}{name}{turn.text}\n", False))
    return found


def _templated(turns: Sequence[Turn], template: Any, since: int) -> list[Piece]:
    messages = [{"role": turn.role, "content": turn.text} for turn in turns]
    found: list[Piece] = []
    done = ""
    for number, turn in enumerate(turns):
        if turn.role != "assistant":
            continue
        if number == 0:
            raise PliantError("the dialogue begins with an answer, and the chat template needs a question before it")
        asked = _rendered(template, messages[:number], True)
        answered = _rendered(template, messages[: number + 1], False)
        if not asked.startswith(done) or not answered.startswith(asked):
            raise PliantError(
                f"the chat template rewrites what was said before turn {number + 1}, so its answers cannot be told from the rest; "
                "give dialogues of one question and one answer, or a tokenizer with another template"
            )
        found += [Piece(asked[len(done) :], False), Piece(answered[len(asked) :], number >= since, ends=True)]
        done = answered
    return found


def _rendered(template: Any, messages: Sequence[dict[str, str]], generation: bool) -> str:
    try:
        return str(template.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=generation))
    except Exception as error:  # templates are programs of others
        raise PliantError(f"the chat template refuses this dialogue ({first_line(error)})") from None


def tokenised(pieces: Sequence[Sequence[Piece]], tokenizer: Tokenizer, ends: bool) -> list[tuple[list[int], list[bool]]]:
    """Token ids and marks of many dialogues; `ends`: an answer is followed by the tokenizer's end token, which is learned too.

    A beginning token stands first where the tokenizer puts one and the text does not hold it already.
    """
    firsts = iter(tokenizer.encode([dialogue[0].text for dialogue in pieces if dialogue]))
    others = iter(_behind_others([piece.text for dialogue in pieces for piece in dialogue[1:]], tokenizer))
    found: list[tuple[list[int], list[bool]]] = []
    for dialogue in pieces:
        ids: list[int] = []
        learned: list[bool] = []
        for number, piece in enumerate(dialogue):
            part = next(others if number else firsts).tolist()
            if piece.ends and ends and tokenizer.end_id is not None:
                part.append(tokenizer.end_id)
            ids += part
            learned += [piece.learned] * len(part)
        if tokenizer.beginning_id is not None and ids[:1] != [tokenizer.beginning_id]:
            ids, learned = [tokenizer.beginning_id, *ids], [False, *learned]
        found.append((ids, learned))
    return found


def _behind_others(texts: Sequence[str], tokenizer: Tokenizer) -> list[NDArray[np.int32]]:
    """Token ids of texts that other text goes before: without the space that some tokenizers (SentencePiece's) put before any text."""
    plain = tokenizer.encode(texts)
    before, letter, both = tokenizer.encode(["\n", "a", "\na"])
    if np.array_equal(both, np.concatenate([before, letter])):
        return plain
    found = tokenizer.encode([f"\n{text}" for text in texts])
    return [
        whole[len(before) :] if np.array_equal(whole[: len(before)], before) else alone for whole, alone in zip(found, plain, strict=True)
    ]
