"""A tiny base and checkpoints tuned from it, as folders."""

from __future__ import annotations

from pathlib import Path

import pytest
from tuned_folders import tuned

from pliant.data import load_tokenizer
from pliant.models import build, save


@pytest.fixture(scope="session")
def family(tmp_path_factory) -> Path:
    """A folder with `base`, and `a`, `b` and `c` that were tuned from it."""
    folder = tmp_path_factory.mktemp("family")
    save(build("llama-16x2", load_tokenizer("ascii"), seed=0, context=32), folder / "base")
    for seed, name in enumerate("abc", 1):
        tuned(folder / "base", folder / name, seed)
    return folder
