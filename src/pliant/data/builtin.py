"""Text that every machine has: the docstrings (`prose`) and the source (`code`) of the Python that runs here.

`prose` is every docstring of over 200 characters in the standard library and the installed packages; `code` is the
standard library without its tests. Nothing is imported; the text is transliterated to ASCII, cut into documents of 4096
characters, shuffled, and kept in the cache under the versions of what was read. With pliant's dependencies that is 33M and
12M characters; they take about two seconds and one.

What goes wrong: the text depends on what is installed (its fingerprint tells), and phrases recur across packages, so the
held-out loss is in-domain. Docstrings are found without parsing: the text between two `\"\"\"` is one when a line that
ends in a colon, or nothing but comments, stands before it. That finds 99% of what `ast` finds in a sixtieth of the time.
"""

from __future__ import annotations

import ast
import contextlib
import inspect
import json
import platform
import re
import sysconfig
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from pliant.data.content import contents
from pliant.data.once import read_once
from pliant.data.transliterate import transliterate
from pliant.errors import PliantError
from pliant.files import cache_folder, write_atomic
from pliant.progress import progress
from pliant.spec import digest, nearest

_FORMAT = 1  # raise it when other text would be taken
_CHUNK = 4096  # characters of a document
_LIMIT = 35_000_000  # characters of a corpus
_SHORTEST = 200  # characters of a docstring
_TESTS = {"test", "tests", "idle_test"}
_OPENING = re.compile(r":[ \t]*(?:#[^\n]*)?\n\s*([rRuU]?)\Z")
_FILE_OPENING = re.compile(r"(?:\s|#[^\n]*\n)*([rRuU]?)\Z")


def builtin(name: str) -> Path:
    """The JSONL file of a built-in corpus, made on first use. Raises PliantError for a name that is none."""
    if name not in ("prose", "code"):
        raise PliantError(f"unknown corpus builtin:{name[:40]}; {nearest(name, ('prose', 'code'))}")
    packages = _packages() if name == "prose" else []
    versions = [platform.python_version(), sysconfig.get_path("stdlib"), *(folder.name for folder in packages)]

    place = cache_folder() / "builtin" / f"{name}-{digest(json.dumps([_FORMAT, *versions]))}.jsonl"
    seal = place.with_suffix(".sha256")

    def build(target: Path) -> None:
        files = _library_files()
        for package in packages:
            files |= _package_files(package)
        if name == "code":
            files = {relative: file for relative, file in files.items() if not _TESTS & set(Path(relative).parts)}
        texts = _contents(name, files)
        if name == "prose":
            texts = _docstrings(texts)
        documents = _shuffled("\n\n".join(_limited(_unique(map(_plain, texts)))))
        target.write_text("".join(json.dumps({"text": text}) + "\n" for text in documents), encoding="ascii")
        write_atomic(seal, contents([target])[0])

    def read(path: Path) -> Path | None:
        whole = path.is_file() and seal.is_file() and seal.read_bytes() == contents([path])[0].encode()
        return path if whole else None

    return read_once(place, build, read)


def _packages() -> list[Path]:
    """The metadata folders of the installed packages, by name; pliant's own is left out, being no fixed text."""
    places = {Path(sysconfig.get_path("purelib")), Path(sysconfig.get_path("platlib"))}
    found = (folder for place in places for folder in place.glob("*.dist-info") if (folder / "RECORD").is_file())
    return sorted((folder for folder in found if not folder.name.startswith("pliant-")), key=lambda folder: folder.name)


def _package_files(metadata: Path) -> dict[str, Path]:
    """The Python files of a package, by their names in its record."""
    names = (line.partition(",")[0] for line in (metadata / "RECORD").read_text(encoding="utf-8").splitlines())
    return {name: metadata.parent / name for name in names if name.endswith(".py") and not name.startswith(("/", ".."))}


def _library_files() -> dict[str, Path]:
    """The Python files of the standard library, by their names within it."""
    library = Path(sysconfig.get_path("stdlib"))
    found = {file.relative_to(library): file for file in library.rglob("*.py")}
    return {name.as_posix(): file for name, file in found.items() if name.parts[0] not in ("site-packages", "dist-packages")}


def _contents(label: str, files: dict[str, Path]) -> Iterator[str]:
    """The text of each file, in an order that depends on the names alone and mixes the packages, so that a limit skips none of them."""
    with progress(f"collecting builtin:{label}", len(files)) as advance:
        for name in sorted(files, key=digest):
            with contextlib.suppress(OSError, UnicodeDecodeError):  # a broken installation, or a test of other encodings
                yield files[name].read_text(encoding="utf-8")
            advance(1)


def _docstrings(texts: Iterable[str]) -> Iterator[str]:
    """The docstrings of source files, cleaned as `inspect.cleandoc` does, if they are long enough."""
    with warnings.catch_warnings(action="ignore"):  # of invalid escapes in other people's strings
        for text in texts:
            parts = text.split('"""')
            for number in range(1, len(parts) - 1, 2):
                if len(parts[number]) <= _SHORTEST:
                    continue
                opening = _OPENING.search(parts[number - 1][-200:]) or (_FILE_OPENING.match(parts[0]) if number == 1 else None)
                docstring = _value(parts[number], opening[1]) if opening else ""
                if len(docstring) > _SHORTEST:
                    yield docstring


def _value(literal: str, prefix: str) -> str:
    """What a string literal stands for; nothing where it is not one, as after a quote within a comment."""
    if "\\" in literal and prefix not in ("r", "R"):
        try:
            literal = ast.literal_eval(f'"""{literal}"""')
        except (SyntaxError, ValueError):
            return ""
    return inspect.cleandoc(literal)


def _plain(text: str) -> str:
    return transliterate(text).replace("\r", "").replace("\t", "    ")


def _unique(texts: Iterable[str]) -> Iterator[str]:
    return iter(dict.fromkeys(texts))


def _limited(texts: Iterable[str]) -> Iterator[str]:
    """Texts until there are enough characters."""
    size = 0
    for text in texts:
        if size >= _LIMIT:
            return
        size += len(text)
        yield text


def _shuffled(text: str) -> list[str]:
    """The documents: equal pieces of the text, in an order drawn with seed 0."""
    pieces = [text[start : start + _CHUNK] for start in range(0, len(text), _CHUNK)]
    return [pieces[index] for index in np.random.default_rng(0).permutation(len(pieces))]
