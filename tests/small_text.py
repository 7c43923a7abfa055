"""Real text for tests that train: the library's own sources, always there, 1 MB of them."""

from __future__ import annotations

import argparse
import ast
import inspect
import json
import typing
from pathlib import Path
from typing import Any

import pytest

from pliant.objectives import NextToken
from pliant.objectives.next_token import Crops


@pytest.fixture(scope="session")
def text_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A JSONL file of a few hundred short documents."""
    path = tmp_path_factory.mktemp("text") / "text.jsonl"
    texts = [text for module in (argparse, ast, inspect, typing) for text in inspect.getsource(module).split("\n\n\n")]
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts))
    return path


@pytest.fixture(scope="session")
def text(text_file: Path, tmp_path_factory: pytest.TempPathFactory):
    """Its training part, packed by the ascii tokenizer."""
    from pliant.data import Corpus, load_tokenizer, packed

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLIANT_CACHE", str(tmp_path_factory.mktemp("cache")))
        return packed(Corpus(source=str(text_file)), load_tokenizer("ascii"))


class Given(NextToken):
    """The next token of text that is packed already."""

    data: Any

    def examples(self, model, length):
        return Crops.of(self.data, model, length)

    def canonical(self):
        return {"kind": self.kind}


def given(packed) -> Given:
    return Given.model_construct(data=packed, part="train")


@pytest.fixture
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("PLIANT_CACHE", str(folder))
    return folder
