"""What a file holds decides, whatever its size and times say."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pliant.data import ByteTokenizer, Corpus, content, packed
from pliant.data.content import contents
from pliant.errors import PliantError

OLD = ["abc one", "def two", "ghi three"]
NEW = ["xyz one", "uvw two", "rst three"]


def texts(source: object) -> list[str]:
    return [document.text for document in Corpus.parse(str(source)).documents("all")]


def settle(monkeypatch: pytest.MonkeyPatch) -> None:
    """As if every file had been left alone for long, so that hashes are remembered."""
    monkeypatch.setattr(content, "_SETTLED", -1e9)


def copy_with_times(source: Path, target: Path) -> None:
    """Into the same file, as `cp -p` does."""
    shutil.copyfile(source, target)
    os.utime(target, ns=(source.stat().st_atime_ns, source.stat().st_mtime_ns))


def rename_with_times(source: Path, target: Path) -> None:
    """Another file under the same name, as `rsync -t` and `tar` do."""
    copy_with_times(source, target.with_name("temporary"))
    target.with_name("temporary").replace(target)


@pytest.mark.parametrize("replace", [copy_with_times, rename_with_times])
@pytest.mark.parametrize("how", ["file", "folder", "glob", "link"])
@pytest.mark.parametrize("settled", [True, False])
def test_a_file_replaced_with_size_and_time_kept_is_read_anew(
    jsonl: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    replace: Callable[[Path, Path], None],
    how: str,
    settled: bool,
) -> None:
    if settled:
        settle(monkeypatch)
    (tmp_path / "data").mkdir()
    first, second = Path(jsonl(OLD, "data/a.jsonl")), Path(jsonl(NEW, "other.jsonl"))
    (tmp_path / "link.jsonl").symlink_to(first)
    os.utime(second, ns=(first.stat().st_atime_ns, first.stat().st_mtime_ns))
    assert (first.stat().st_size, first.stat().st_mtime_ns) == (second.stat().st_size, second.stat().st_mtime_ns)
    source = {"file": first, "folder": first.parent, "glob": first.parent / "*.jsonl", "link": tmp_path / "link.jsonl"}[how]
    corpus = Corpus.parse(str(source))
    before = corpus.fingerprint(), packed(corpus, ByteTokenizer(), "all").fingerprint
    assert texts(source) == OLD
    replace(second, first)
    assert first.stat().st_mtime_ns == second.stat().st_mtime_ns
    assert texts(source) == NEW
    assert bytes(packed(corpus, ByteTokenizer(), "all").tokens).decode() == "".join(NEW)
    assert corpus.fingerprint() != before[0]
    first.write_bytes(b"".join(f'{{"text": "{text}"}}\n'.encode() for text in OLD))
    assert (corpus.fingerprint(), packed(corpus, ByteTokenizer(), "all").fingerprint) == before


def test_the_same_content_elsewhere_is_not_read_again(jsonl: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    expected = Corpus.parse(jsonl(OLD)).fingerprint()
    monkeypatch.setattr("pliant.data.corpus.read", None)
    assert Corpus.parse(jsonl(OLD, "copy.jsonl")).fingerprint() == expected


def test_hashes_are_those_of_the_bytes_and_are_remembered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)
    paths = [tmp_path / "a", tmp_path / "b", tmp_path / "empty"]
    for path, data in zip(paths, (b"x" * 3_000_000, b"y", b""), strict=True):
        path.write_bytes(data)
    expected = [hashlib.sha256(path.read_bytes()).hexdigest() for path in paths]
    assert contents(paths) == expected
    monkeypatch.setattr(content, "_hashed", None)
    assert contents(paths) == expected
    os.utime(paths[1], ns=(1, 1))
    with pytest.raises(TypeError, match="not callable"):
        contents(paths)


def test_a_file_written_a_moment_ago_is_not_remembered(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    contents([tmp_path / "a"])
    assert not list((cache / "contents").glob("*"))


def test_a_file_written_to_while_it_is_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1")
    hashed = content._hashed

    def written(file: Path, advance: Callable[[float], None]) -> str:
        file.write_bytes(b"22")
        return hashed(file, advance)

    monkeypatch.setattr(content, "_hashed", written)
    with pytest.raises(PliantError, match="changed while it was read"):
        contents([path])


def test_a_cache_that_cannot_be_written_costs_only_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settle(monkeypatch)
    (tmp_path / "file").write_bytes(b"1")
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "file"))
    assert contents([tmp_path / "file"]) == [hashlib.sha256(b"1").hexdigest()]


def test_pipes_devices_and_folders_are_no_files(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path, message in ((tmp_path / "pipe", "pipe or device"), (Path("/dev/zero"), "pipe or device"), (tmp_path, "is a folder")):
        with pytest.raises(PliantError, match=message):
            contents([path])
    with pytest.raises(PliantError, match="cannot be read"):
        contents([tmp_path / "gone"])
    for name in ("pipe", "pip*"):
        with pytest.raises(PliantError):
            texts(tmp_path / name)
    with pytest.raises(PliantError):
        texts("/dev/zero")


def test_a_document_that_is_not_the_one_that_was_hashed_is_never_given(jsonl: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Even when the files claim to be unchanged."""
    path = jsonl(OLD)
    corpus = Corpus.parse(path)
    fixed = contents([Path(path)])
    monkeypatch.setattr("pliant.data.corpus.contents", lambda paths, glance: fixed)
    corpus.fingerprint()
    for other in (NEW, OLD[:2], [*OLD, "more"], []):
        corpus.fingerprint()
        jsonl(other)
        with pytest.raises(PliantError, match="changed while it was read"):
            list(corpus.documents("all"))
        jsonl(OLD)
        assert texts(path) == OLD
