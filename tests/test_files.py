"""Atomic writes and paths that stay inside."""

import errno

import pytest

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
