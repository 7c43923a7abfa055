"""Messages: bounded, visible, and with both of their ends."""

import pytest

from pliant.errors import CHARACTERS, LINES, PliantError, message, visible


def test_what_fits_is_left_alone():
    assert str(PliantError("study.yaml: unknown field 'bits'; déjà vu ± 1")) == "study.yaml: unknown field 'bits'; déjà vu ± 1"
    assert message("one\ntwo") == "one\ntwo"


@pytest.mark.parametrize("long", ["x" * 10_000_000, "x\n" * 100_000, "\x1b[31m" * 10_000, "\u2028" * 10_000, "\udcff" * 10_000])
def test_a_message_is_bounded_and_keeps_its_beginning_and_its_end(long):
    text = str(PliantError(f"study.yaml: {long}; did you mean 'bits'?").within("here").within("there"))
    assert text.startswith("there: here: study.yaml: ")
    assert len(text) <= CHARACTERS
    assert len(text.splitlines()) <= LINES
    assert all(line.isprintable() for line in text.splitlines())
    text.encode()
    if "\n" not in long:
        assert text.endswith("; did you mean 'bits'?")


def test_what_cannot_be_seen_is_spelled_out():
    assert visible("a\x1b[0m\u2028\u202e\udcff\x00\n\x85b") == r"a\x1b[0m\u2028\u202e\udcff\x00\n\x85b"
