from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pliant.data.once import built_once
from pliant.errors import PliantError


def test_a_file_is_made_once(tmp_path: Path) -> None:
    calls: list[int] = []

    def build(target: Path) -> None:
        calls.append(1)
        target.write_text("content")

    for _ in range(3):
        assert built_once(tmp_path / "deep" / "file", build).read_text() == "content"
    assert calls == [1]


def test_a_builder_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def build(target: Path) -> None:
        target.mkdir()
        (target / "half").write_text("half")
        raise PliantError("no")

    with pytest.raises(PliantError, match="no"):
        built_once(tmp_path / "folder", build)
    assert {path.name for path in tmp_path.iterdir()} <= {"folder.lock"}


def test_a_full_disk_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(PliantError, match="no space left"):
        built_once(tmp_path / "file", lambda target: target.touch())
    assert not (tmp_path / "file").exists()


def test_a_cache_that_is_no_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PliantError, match="cannot write"):
        built_once(tmp_path / "file" / "sub" / "target", lambda target: target.touch())
