"""The one exception a user of pliant is meant to see."""

from __future__ import annotations


class PliantError(Exception):
    """Something the user can act on: what is wrong, where, and what to do, in one or two lines.

    Programming mistakes stay ordinary exceptions and keep their traceback.
    """

    def within(self, where: str) -> PliantError:
        """The same error, with the place it was found put in front."""
        return type(self)(f"{where}: {self}")


def first_line(error: BaseException) -> str:
    """What a library says is wrong, as a part of a message: its first line, at most 200 characters that can be seen."""
    lines = str(error)[:2000].strip().splitlines()
    return "".join(filter(str.isprintable, lines[0]))[:200] if lines else type(error).__name__
