"""Atomic writes and paths that stay inside."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from filelock import FileLock, Timeout

from pliant import files
from pliant.errors import PliantError
from pliant.files import atomic_path, disk_errors, inside, write_atomic


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    target = tmp_path / "deep" / "file.txt"
    write_atomic(target, "old")
    with pytest.raises(ZeroDivisionError), atomic_path(target) as temporary:
        temporary.write_text(f"half{1 / 0}")
    assert target.read_text() == "old"
    assert list(target.parent.iterdir()) == [target]


@pytest.mark.parametrize(
    ("code", "words"), [(errno.ENOSPC, "no space left"), (errno.EROFS, "cannot write"), (errno.EACCES, "cannot write")]
)
def test_the_disk_s_complaints_are_one_line(tmp_path, code, words):
    with pytest.raises(PliantError, match=words), disk_errors(tmp_path):
        raise OSError(code, "x")


def test_a_file_where_a_folder_should_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PliantError, match="cannot write"):
        write_atomic(tmp_path / "file" / "below", "x")


def test_a_folder_where_a_file_should_be(tmp_path):
    with pytest.raises(PliantError, match="it is a folder"):
        write_atomic(tmp_path, "x")


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../../x"])
def test_a_name_cannot_leave_its_folder(tmp_path, name):
    with pytest.raises(PliantError, match="leave"):
        inside(tmp_path, name)


def test_a_link_cannot_leave_its_folder(tmp_path):
    (tmp_path / "link").symlink_to("/")
    with pytest.raises(PliantError, match="leave"):
        inside(tmp_path, "link/etc")
    assert inside(tmp_path, "a/b") == tmp_path.resolve() / "a" / "b"


KILLED = """
import sys, time
from pathlib import Path
from pliant.files import replace_folder, workplace
target = Path(sys.argv[1])
with workplace(target) as place:
    (place / "model").mkdir()
    (place / "model" / "config.json").write_text("half")
    if sys.argv[2] == "aside":
        (target).rename(place / "old")  # as `replace_folder` does in its first half
    print("working", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def worker():
    """Starts a process that works beside a target until it is killed."""
    processes = []

    def start(target, how=""):
        process = subprocess.Popen([sys.executable, "-c", KILLED, str(target), how], stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout.readline() == "working\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


def write_as_another_process_would(target, monkeypatch):
    monkeypatch.setattr(files, "_tidied", set())
    write_atomic(target, "x")


def test_what_a_killed_process_leaves_is_gone_when_another_works_there(tmp_path, monkeypatch, worker):
    process = worker(tmp_path / "out")
    write_as_another_process_would(tmp_path / "file", monkeypatch)
    assert len(list(tmp_path.glob(".out.*"))) == 1  # it still works
    process.kill()
    process.wait()
    (tmp_path / ".out.abc.tmp").mkdir()  # another program's
    write_as_another_process_would(tmp_path / "file", monkeypatch)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".out.abc.tmp", "file"]


def test_a_folder_put_aside_by_a_killed_process_comes_back(tmp_path, monkeypatch, worker):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_text("whole")
    process = worker(tmp_path / "out", "aside")
    assert not (tmp_path / "out").exists()
    process.kill()
    process.wait()
    write_as_another_process_would(tmp_path / "file", monkeypatch)
    assert (tmp_path / "out" / "config.json").read_text() == "whole"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "out"]


def test_a_folder_taken_for_rubbish_before_it_was_locked_is_left_to_who_took_it(tmp_path, monkeypatch):
    acquire, tries = FileLock.acquire, []

    def slower(lock, *arguments, **options):
        tries.append(Path(lock.lock_file).parent)
        if len(tries) == 1:
            raise Timeout(lock.lock_file)
        return acquire(lock, *arguments, **options)

    monkeypatch.setattr(FileLock, "acquire", slower)
    write_atomic(tmp_path / "file", "x")
    assert (tmp_path / "file").read_text() == "x"
    assert sorted(tmp_path.iterdir()) == [tries[0], tmp_path / "file"]


def test_where_there_are_no_locks_files_are_written_all_the_same(tmp_path, monkeypatch):
    def none(*arguments, **options):
        raise NotImplementedError

    monkeypatch.setattr("filelock.FileLock.acquire", none)
    write_atomic(tmp_path / "file", "x")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_written_file_has_the_rights_of_any_other(tmp_path):
    write_atomic(tmp_path / "file", "x")
    (tmp_path / "plain").write_text("x")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "plain").stat().st_mode
