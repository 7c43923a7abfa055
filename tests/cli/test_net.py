"""The net under every command: whatever it meets, it ends with a line or two and the right exit code."""

import json
import os
import resource
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

from pliant.cli import main
from synthetic_ledger import synthetic_ledger

PROGRAM = [sys.executable, "-P", "-c", "from pliant.cli import main; main()"]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ledger") / "é"
    synthetic_ledger(folder, seeds=[0], samples=4, tokens=[500_000, 1_000_000])
    return folder


@pytest.fixture(scope="module")
def ended():
    """Runs the command as a shell would: exit code, standard output, standard error."""

    def command(*arguments, environment=(), **settings):
        settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | settings
        process = subprocess.run([*PROGRAM, *map(os.fspath, arguments)], env=os.environ | dict(environment), check=False, **settings)
        return process.returncode, process.stdout, process.stderr

    return command


class Panic(BaseException):
    """As what is written in Rust raises."""


ERRORS = [RecursionError("maximum"), MemoryError(), Panic("a\nb\nc"), ValueError("x" * 10_000), KeyError("\x1b[31m")]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_an_error_that_nobody_foresaw_is_two_lines(error, pliant, monkeypatch, tmp_path):
    def fails(*_):
        raise error

    monkeypatch.setattr("pliant.ledger.ledger.Ledger.__init__", fails)
    code, out, errors = pliant("show", tmp_path)
    assert (code, out, len(errors.splitlines())) == (1, "", 2)
    assert len(errors) < 1_100
    assert type(error).__name__ in errors
    assert "report it" in errors
    assert all(line.isprintable() for line in errors.splitlines())
    monkeypatch.setenv("PLIANT_DEBUG", "1")
    monkeypatch.setattr(sys, "argv", ["pliant", "show", str(tmp_path)])
    with pytest.raises(type(error)):
        main()


@pytest.mark.parametrize("value", ["a\0b", "\udcff", "x" * 100_000, "\x1b[2J", "[" * 50_000, "\u2028", "~nobody-here/x"])
@pytest.mark.parametrize(
    "command",
    [
        ("run", "{}"),
        ("show", "{}"),
        ("measure", "loss", "--model", "m", "--data", "{}"),
        ("measure", "loss", "--model", "{}"),
        ("measure", "loss", "--model", "m", "--samples", "{}"),
        ("change", "quantize", "--model", "m", "--bits", "{}", "-o", "out"),
        ("change", "chain", "--model", "m", "--links", "[{}", "-o", "out"),
        ("decide", "tokens", "--fit", "{}"),
        ("{}",),
    ],
    ids=" ".join,
)
def test_whatever_is_on_the_command_line_is_answered_in_a_line(command, value, pliant, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, errors = pliant(*(word.replace("{}", value) for word in command))
    assert (code, out) == (2, ""), errors
    assert len(errors.splitlines()) <= 4
    assert len(errors) <= 1_100
    assert all(line.isprintable() for line in errors.splitlines())


@pytest.mark.parametrize("narrow", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}], ids=str)
def test_narrow_standard_output_takes_everything(narrow, ended, ledger):
    code, out, errors = ended("show", ledger, environment=narrow)
    assert (code, errors) == (0, b"")
    assert b"+/- s.e." in out or "± s.e.".encode() in out
    sql = "select '±\u2028' as \"é\", 'nan'::float as b, ['inf'::double] as c, 2::hugeint as d, date '2001-01-01' as e"
    code, out, errors = ended("show", ledger, "--json", "--sql", sql, environment=narrow)
    assert code == 0, errors
    assert json.loads(out, parse_constant=pytest.fail) == [{"é": "±\u2028", "b": None, "c": [None], "d": 2, "e": "2001-01-01"}]


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)], ids=str)
def test_closed_streams_are_no_failure(closed, ended, ledger, tmp_path):
    def close():
        for number in closed:
            os.close(number)

    page = tmp_path / "page.html"
    code, _, errors = ended("report", ledger, "-o", page, preexec_fn=close)
    assert (code, b"Traceback" in errors) == (0, False)
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
    assert ended("show", ledger, preexec_fn=close)[0] == 0


def test_output_that_has_no_room_is_one_line(ended, ledger):
    with Path("/dev/full").open("wb") as full:
        code, _, errors = ended("show", ledger, "--json", stdout=full)
        assert (code, len(errors.splitlines())) == (2, 1)
        assert b"No space left" in errors
        assert ended("report", ledger, "--text", stderr=full)[0] == 0


def test_a_limit_on_file_sizes_is_one_line_and_leaves_no_half_file(ended, ledger, tmp_path):
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (1024, 1024))
    code, _, errors = ended("report", ledger, "-o", tmp_path / "page.html", preexec_fn=limit)
    assert (code, len(errors.splitlines())) == (2, 1)
    assert b"ulimit -f" in errors
    assert list(tmp_path.iterdir()) == []


def test_devices_and_pipes_are_never_replaced(pliant, ledger, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for place in ("/dev/null", "/dev/stdout", tmp_path / "pipe"):
        code, _, errors = pliant("report", ledger, "-o", place)
        assert (code, len(errors.splitlines())) == (2, 1)
        assert "it is a pipe or device" in errors
    assert Path("/dev/null").is_char_device()
    assert (tmp_path / "pipe").is_fifo()


def test_sigterm_is_answered_like_ctrl_c(pliant, monkeypatch, tmp_path):
    monkeypatch.setattr("pliant.ledger.ledger.Ledger.__init__", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    before = signal.getsignal(signal.SIGTERM)
    assert pliant("show", tmp_path) == (143, "", "pliant: stopped\n")
    assert signal.getsignal(signal.SIGTERM) == before


def test_tables_show_what_a_terminal_would_act_on(pliant, ledger):
    _, out, _ = pliant("show", ledger, "--sql", "select 'a' || chr(27) || '[2J' || chr(8232) as x")
    assert out.splitlines()[1] == r"a\x1b[2J"
