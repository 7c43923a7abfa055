"""Paths that exist are themselves; only the rest of them are patterns."""

import pytest

from pliant.data.corpus import Corpus
from pliant.data.locate import locate
from pliant.data.patterns import matching
from pliant.errors import PliantError


@pytest.fixture
def place(tmp_path, monkeypatch):
    for name in ("run[lr=1e-4,bs=8]/checkpoint-100", "run[lr=1e-4,bs=8]/checkpoint-200", "run1/checkpoint-1", "a*b/checkpoint-7", "axb"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("run[1]-a", "run1-a", ".hidden"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("run[lr=1e-4,bs=8]/checkpoint-100", ["run[lr=1e-4,bs=8]/checkpoint-100"]),
        ("./run[lr=1e-4,bs=8]/checkpoint-*", ["run[lr=1e-4,bs=8]/checkpoint-100", "run[lr=1e-4,bs=8]/checkpoint-200"]),
        ("run[lr=1e-4,bs=8]/checkpoint-[12]00", ["run[lr=1e-4,bs=8]/checkpoint-100", "run[lr=1e-4,bs=8]/checkpoint-200"]),
        ("run[lr=1e-4*/checkpoint-?00", ["run[lr=1e-4,bs=8]/checkpoint-100", "run[lr=1e-4,bs=8]/checkpoint-200"]),
        ("a*b", ["a*b"]),  # not axb as well
        ("a*b/*", ["a*b/checkpoint-7"]),
        ("a?b", ["a*b", "axb"]),
        ("run[1]-*", ["run[1]-a"]),  # as it is written, before what it could mean
        ("run[0-9]/*", ["run1/checkpoint-1"]),
        ("*/checkpoint-1", ["run1/checkpoint-1"]),
        ("**/checkpoint-?", ["a*b/checkpoint-7", "run1/checkpoint-1"]),
        ("run1/**", ["run1", "run1/checkpoint-1"]),
        ("run1/../a*b", ["run1/../a*b"]),
        ("*idden", []),
        ("nowhere/*", []),
        ("nowhere", []),
        ("*/" * 2000, []),
        ("x" * 5000, []),
        ("a\0b*", []),
    ],
)
def test_what_exists_is_itself_part_by_part(place, pattern, expected):
    assert [str(path) for path in matching(pattern)] == expected
    if pattern[0] not in "./" and expected:
        assert matching(place / pattern) == [place / name for name in expected]


@pytest.mark.parametrize(("pattern", "message"), [("~nobody-of-this-name/x", "nobody here"), ("", "empty")])
def test_paths_of_nobody_are_one_line(pattern, message):
    with pytest.raises(PliantError, match=message):
        matching(pattern)


def test_data_is_found_where_it_is_written_to_be(place):
    for folder, count in (("run[lr=1e-4,bs=8]", 30), ("run1", 20)):
        (place / folder / "text[en].jsonl").write_text("".join(f'{{"text": "document {n} of {folder}"}}\n' for n in range(count)))
    exact = "run[lr=1e-4,bs=8]/text[en].jsonl"
    assert [str(path) for path in locate(exact)] == [exact]
    assert locate("run[lr=1e-4,bs=8]/*.jsonl") == locate("run[lr=1e-4,bs=8]") == locate(exact)
    assert len(list(Corpus(source=exact).documents("all"))) == 30
    assert len(locate("run*/*.jsonl")) == 2


def test_folders_that_a_pattern_matches_are_read_as_if_they_were_named(place):
    for name in ("shards/en/a.jsonl", "shards/fr/b.jsonl", "shards/c.jsonl"):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_text('{"text": "x"}\n')
    (place / "shards" / "empty").mkdir()
    assert [path.name for path in locate("shards/*")] == ["c.jsonl", "a.jsonl", "b.jsonl"]
    assert sorted(locate("shards/**")) == sorted(locate("shards/*"))
    for source, message in (("shards/e*y", "no text"), ("shards/*.txt", "no file has such a name"), ("shards/c.json", "did you mean")):
        with pytest.raises(PliantError, match=message):
            locate(source)
