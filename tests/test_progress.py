"""Progress: lines for logs, and tasks inside tasks."""

import pytest

from pliant.progress import forwarded, progress


def test_what_is_forwarded_is_told_and_not_shown(capsys):
    told = []
    with forwarded(lambda label, share: told.append((label, share))):
        with progress("reading", 4) as advance:
            advance(1)
            advance(2)
            advance(5)
        with progress("nothing", 0) as advance:
            advance(1)
    assert told == [("reading", 0.25), ("reading", 0.75), ("reading", 1.0)]
    assert capsys.readouterr().err == ""


def test_forwarding_ends_with_its_block(monkeypatch, capsys):
    told = []
    with pytest.raises(KeyError), forwarded(lambda label, share: told.append(share)):
        raise KeyError
    monkeypatch.setattr("pliant.progress.time.monotonic", iter([0.0, 5.0]).__next__)
    with progress("reading", 2) as advance:
        advance(1)
    assert told == []
    assert capsys.readouterr().err == "reading:  50%, 5.0 s so far, about 5.0 s left\n"


def test_a_task_inside_a_shown_task_is_not_shown(monkeypatch, capsys):
    monkeypatch.setattr("pliant.progress.time.monotonic", iter([0.0, 5.0]).__next__)
    with progress("outer", 2) as advance:
        with progress("inner", 1) as inner:
            inner(1)
        advance(1)
    assert capsys.readouterr().err == "outer:  50%, 5.0 s so far, about 5.0 s left\n"


def test_no_time_is_told_before_there_is_something_to_go_on(monkeypatch, capsys):
    monkeypatch.setattr("pliant.progress.time.monotonic", iter([0.0, 2.0, 0.0, 11.0, 30.0]).__next__)
    with progress("early", 100) as advance:
        advance(3)
    with progress("slow", 100) as advance:
        advance(1)
        advance(9)
    lines = ["early:   3%, 2.0 s so far", "slow:   1%, 11 s so far", "slow:  10%, 30 s so far, about 4 min 30 s left"]
    assert capsys.readouterr().err.splitlines() == lines
