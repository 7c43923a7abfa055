"""The domains that findings about data mix: the files of a folder, each a domain, or prose and code where there is none."""

from __future__ import annotations

from itertools import islice

from pliant.data import Corpus
from pliant.errors import PliantError
from pliant.files import expanded

BUILT_IN = {"prose": "builtin:prose", "code": "builtin:code"}


def domains(folder: str | None) -> dict[str, Corpus]:
    """By name, in the order of their names. Raises PliantError for a folder without two files."""
    if folder is None:
        return {name: Corpus.parse(source) for name, source in BUILT_IN.items()}
    files = sorted(path for path in expanded(folder).glob("*") if path.is_file() and ".jsonl" in path.name)
    if len(files) < 2:
        raise PliantError(f"{folder}: give a folder with a file of text for each of two domains or more")
    return {path.name.split(".")[0]: Corpus.parse(str(path)) for path in files}


def pieces(corpus: Corpus, length: int, most: int) -> list[str]:
    """The first `most` pieces of so many characters, which do not overlap, of a corpus's documents."""
    cut = (
        document.text[start : start + length]
        for document in corpus.documents("all")
        for start in range(0, len(document.text) - length + 1, length)
    )
    return list(islice(cut, most))
