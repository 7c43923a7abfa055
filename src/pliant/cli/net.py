"""The net under every command: streams that take whatever is printed, signals that end it tidily, and an answer to every exception."""

from __future__ import annotations

import codecs
import io
import os
import signal
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager, suppress

from typer.exceptions import TyperException

from pliant.errors import PliantError, named

PLAIN = {"±": "+/-", "×": "x", "·": "-", "–": "-", "…": "...", "→": "->", "≤": "<=", "≥": ">="}
"""What stands for a character that standard output cannot take; others are spelled out."""


class Stopped(KeyboardInterrupt):
    """SIGTERM, which schedulers send: the same as Ctrl-C, with an exit code of its own."""


def prepare_streams() -> None:
    """Make standard output take every character, and closed streams take everything: their numbers must not go to other files."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # opening takes the lowest number that is free
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115
    sys.stderr = sys.stderr or open(2, "w", closefd=False)  # noqa: SIM115
    codecs.register_error("spelled", _spelled)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="spelled")


def check_words() -> None:
    """Raise PliantError for an argument that is no text, which neither tables nor JSON could hold.

    Where only the locale cannot read it, the command starts again with Python's own UTF-8 mode.
    """
    for word in sys.argv:
        try:
            word.encode()
        except UnicodeEncodeError:
            if not sys.flags.utf8_mode and sys.getfilesystemencoding() != "utf-8":
                os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])
            raise PliantError(f"the argument {word} is not UTF-8 text; rename what it names") from None
        if "\0" in word:
            raise PliantError(f"the argument {word} holds a zero byte, which no name and no number does")


def _spelled(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lost = error.object[error.start : error.end]
    return "".join(PLAIN.get(one) or one.encode("unicode_escape").decode() for one in lost), error.end


def let_go_of_streams() -> None:
    """What standard output could not take is dropped here, so that Python's own last flush has nothing to complain about."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError:
            with suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


@contextmanager
def stoppable() -> Generator[None]:
    """Inside the block SIGTERM raises Stopped, so that temporary files and workers go away as after Ctrl-C."""
    before = signal.getsignal(signal.SIGTERM)
    if before != signal.SIG_DFL or threading.current_thread() is not threading.main_thread():
        yield
        return
    signal.signal(signal.SIGTERM, _stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _stop(*_: object) -> None:
    raise Stopped


def answer(error: BaseException) -> tuple[str, int]:
    """What is said about whatever ended a command, and its exit code. Raises what nobody foresaw again where PLIANT_DEBUG is set."""
    match error:
        case PliantError():
            return str(error), 2
        case TyperException():
            return _usage(error), 2
        case KeyboardInterrupt():
            stopped = isinstance(error, Stopped) or isinstance(error.__context__, Stopped)
            return "; ".join(["stopped" if stopped else "interrupted", *map(str, error.args)]), 143 if stopped else 130
        case BrokenPipeError():  # `pliant show ... | head`
            return "", 0
        case SystemExit():  # also rich's answer to a broken pipe
            return "", 0 if isinstance(error.__context__, BrokenPipeError) else int(error.code or 0)
        case _ if os.environ.get("PLIANT_DEBUG"):
            raise error
        case OSError():
            return f"{error.filename or 'the system'}: {error.strerror or error}", 2
        case _:
            return f"an error that pliant did not foresee: {named(error).splitlines()[0]}\n{REPORT}", 1


REPORT = "Please report it with the command; PLIANT_DEBUG=1 shows where it happened. What was finished is kept."


def _usage(error: TyperException) -> str:
    """Typer's complaint, and where the command is explained; nothing where the help has been shown instead, as by `pliant` alone."""
    message, context = error.format_message(), getattr(error, "ctx", None)
    stop = "" if message.endswith((".", "?")) else "."
    return f"{message}{stop} See {context.command_path} --help." if message and context else message
