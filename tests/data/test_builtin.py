from __future__ import annotations

import ast
import json
import sysconfig
import warnings
from pathlib import Path

import pytest

from pliant.data import ByteTokenizer, Corpus, builtin, packed
from pliant.data.split import held_out_share


def parsed_docstrings(source: str) -> set[str]:
    """What `ast` finds: the slow way."""
    with warnings.catch_warnings(action="ignore"):
        tree = ast.parse(source)
    owners = (node for node in ast.walk(tree) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)))
    return {text for owner in owners if (text := ast.get_docstring(owner)) and len(text) > 200}


def test_docstrings_are_found_as_the_parser_finds_them() -> None:
    library = Path(sysconfig.get_path("stdlib"))
    files = [*library.glob("*.py"), *(library / "asyncio").glob("*.py"), *(library / "email").glob("*.py")]
    sources = [file.read_text(encoding="utf-8") for file in files]
    expected = set().union(*map(parsed_docstrings, sources))
    found = set(builtin._docstrings(sources))
    assert len(expected) > 500
    assert len(found & expected) > 0.97 * len(expected)
    assert len(found - expected) < 0.01 * len(expected)


def test_docstrings_of_every_kind() -> None:
    long = "words " * 40
    source = f'''#!/usr/bin/env python
# a comment
"""Module {long}"""
QUERY = """Not one {long}"""
def f(a: int) -> int:  # comment
    r"""Raw \\d {long}"""
class C:

    """Class \\\\ escaped {long}
        indented
    """
    def short(self):
        """Too short."""
        return """ Nor this {long}"""
'''
    found = list(builtin._docstrings([source]))
    assert set(found) == parsed_docstrings(source)
    assert len(found) == 3


@pytest.mark.parametrize("name", ["prose", "code"])
def test_a_built_in_corpus(name: str, cache: Path) -> None:
    corpus = Corpus.parse(f"builtin:{name}")
    documents = list(corpus.documents("all"))
    assert all(document.text.isascii() and len(document.text) <= 4096 for document in documents)
    assert not any("\t" in document.text or "\r" in document.text for document in documents)
    characters = sum(len(document.text) for document in documents)
    assert characters > 2_000_000  # of the standard library alone
    held = sum(len(document.text) for document in corpus.documents("heldout"))
    expected = held_out_share(characters) * characters
    assert abs(held - expected) < 5 * 4096 * (expected / 4096) ** 0.5  # five standard deviations of the count of documents
    assert len(packed(corpus, ByteTokenizer("ascii"), "all")) == characters
    assert [file.name.split("-")[0] for file in (cache / "builtin").glob("*.jsonl")] == [name]


def test_the_same_installation_gives_the_same_text(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(builtin, "_packages", list)
    first = builtin.builtin("prose")
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path))
    second = builtin.builtin("prose")
    assert first != second
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()


def test_another_package_gives_another_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / "example-1.0.dist-info"
    package.mkdir()
    (package / "RECORD").write_text("example/a.py,,\nexample/data.txt,,\n../../bin/run.py,,\n")
    (tmp_path / "example").mkdir()
    text = "An unmistakable docstring of the example package. " * 90
    (tmp_path / "example" / "a.py").write_text(f'"""{text}"""\n')
    monkeypatch.setattr(builtin, "_library_files", dict)
    monkeypatch.setattr(builtin, "_packages", lambda: [package])
    path = builtin.builtin("prose")
    texts = [json.loads(line)["text"] for line in path.read_text().splitlines()]
    assert sorted(map(len, texts)) == [len(text) - 4096, 4096]
    assert all("unmistakable" in text for text in texts)
    monkeypatch.setattr(builtin, "_packages", list)
    assert builtin.builtin("prose") != path


def test_where_a_package_is_installed_does_not_matter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(builtin, "_library_files", dict)
    contents = []
    for place in ("here", "and there"):
        package = tmp_path / place / "example-1.0.dist-info"
        package.mkdir(parents=True)
        (package / "RECORD").write_text("".join(f"module{number}.py,,\n" for number in range(20)))
        for number in range(20):
            (package.parent / f"module{number}.py").write_text(f'"""{f"Module {number}. " * 100}"""\n')
        monkeypatch.setattr(builtin, "_packages", lambda package=package: [package])
        monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / place / "cache"))
        contents.append(builtin.builtin("prose").read_bytes())
    assert contents[0] == contents[1]


def test_the_limit_keeps_whole_texts_of_every_package(monkeypatch: pytest.MonkeyPatch) -> None:
    assert list(builtin._limited(["aaa", "bbb", "ccc"])) == ["aaa", "bbb", "ccc"]
    monkeypatch.setattr(builtin, "_LIMIT", 4)
    assert list(builtin._limited(["aaa", "bbb", "ccc"])) == ["aaa", "bbb"]
