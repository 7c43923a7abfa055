"""Progress on standard error: a bar with the time left in a terminal, plain lines elsewhere; and remarks for people."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Generator
from contextvars import ContextVar

from pliant.errors import message, visible
from pliant.numbers import format_seconds

Advance = Callable[[float], None]
"""Call it with the amount of work just done, in the unit of `total`."""
Listener = Callable[[str, float], None]
"""Told the label of a task and the share of it that is done."""
_listener: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextlib.contextmanager
def progress(label: str, total: float, *, quiet: bool = False) -> Generator[Advance]:
    """Show how far a task of `total` units is. Nothing is shown for what ends within two seconds, nor for tasks inside this one."""
    listener = _listener.get()
    if total <= 0 or (quiet and listener is None):
        yield lambda amount: None
    elif listener is not None:
        yield _told(listener, label, total)
    elif sys.stderr.isatty():
        with _bar(label, total) as advance, forwarded(lambda label, share: None):
            yield advance
    else:
        with forwarded(lambda label, share: None):
            yield _lines(label, total)


@contextlib.contextmanager
def forwarded(listener: Listener) -> Generator[None]:
    """Inside the block nothing is shown; `listener` is told instead, so that one bar can stand for tasks inside tasks."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


def remark(text: str) -> None:
    """A remark for people; none inside a task whose progress another shows, who says what is to be said."""
    if _listener.get() is None:
        say(f"note: {text}")


def say(text: str) -> None:
    """Lines for people on standard error, bounded and safe to print. Where nobody listens any more, the work goes on."""
    with contextlib.suppress(OSError):
        print(message(text), file=sys.stderr, flush=True)


def _told(listener: Listener, label: str, total: float) -> Advance:
    done = 0.0

    def advance(amount: float) -> None:
        nonlocal done
        done += amount
        listener(label, min(1.0, done / total))

    return advance


@contextlib.contextmanager
def _bar(label: str, total: float) -> Generator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(visible(label), total=total)
        yield lambda amount: bar.advance(task, amount)


def _lines(label: str, total: float, every: float = 10.0) -> Advance:
    """A line after two seconds and then every `every` seconds, for logs."""
    start = time.monotonic()
    state = {"done": 0.0, "next": start + 2.0}

    def advance(amount: float) -> None:
        state["done"] += amount
        now = time.monotonic()
        if now >= state["next"] and state["done"] > 0:
            state["next"] = now + every
            share = min(1.0, state["done"] / total)
            spent = now - start
            known = share >= 0.02 and spent >= 3.0  # before that the start, which is slower, would be taken for the pace
            left = f", about {format_seconds(spent * (1 - share) / share)} left" if known else ""
            say(f"{label}: {share:4.0%}, {format_seconds(spent)} so far{left}")

    return advance
