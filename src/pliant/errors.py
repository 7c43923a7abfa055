"""The one exception a user of pliant is meant to see, and the bound on what any message shows."""

from __future__ import annotations

import contextlib
from collections.abc import Generator

CHARACTERS, LINES = 1000, 4
"""What a message shows at most; what is longer loses its middle."""


class PliantError(Exception):
    """Something the user can act on: what is wrong, where, and what to do, in one or two lines.

    Its text is bounded and safe to print, whatever it quotes. Programming mistakes stay ordinary exceptions and keep their traceback.
    """

    def __str__(self) -> str:
        return message(super().__str__())

    def within(self, where: str) -> PliantError:
        """The same error, with the place it was found put in front."""
        return type(self)(f"{where}: {self}")


@contextlib.contextmanager
def within(where: str) -> Generator[None]:
    """Puts the place in front of a PliantError that is raised inside the block."""
    try:
        yield
    except PliantError as error:
        raise error.within(where) from None


def named(error: BaseException) -> str:
    """An error in words. One that is no PliantError is named by its kind as well, since its text alone often says nothing."""
    return str(error) if isinstance(error, PliantError) else message(f"{type(error).__name__}: {error}".removesuffix(": "))


def message(text: str) -> str:
    """Text as a message shows it: at most `LINES` lines and `CHARACTERS` characters, every one of them visible."""
    text = _shortened(text, CHARACTERS * 2)  # before its characters are looked at one by one
    lines = text.split("\n")
    if len(lines) > LINES:
        lines = [*lines[: LINES - 1], f"... ({len(lines) - LINES + 1} more lines)"]
    return _shortened("\n".join(map(visible, lines)), CHARACTERS)


def visible(text: str) -> str:
    """Text on one line in which control and escape characters, other separators and halves of characters are spelled out."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


def _shortened(text: str, limit: int) -> str:
    """The beginning, which says where, and the end, which says what to do."""
    if len(text) <= limit:
        return text
    end = limit * 2 // 5
    return f"{text[: limit - end - 5]} ... {text[-end:]}"


def first_line(error: BaseException) -> str:
    """What a library says is wrong, as a part of a message: its first line, at most 200 characters that can be seen."""
    return brief(str(error)[:2000].strip().partition("\n")[0], 200) or type(error).__name__


def brief(text: str, limit: int = 120) -> str:
    """What somebody else says, as a part of a message: its first characters on one line, those that nobody sees spelled out."""
    return visible(" ".join(text[:limit].split()))
