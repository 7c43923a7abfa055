"""A fresh tiny model for each test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pliant.models import Model


@pytest.fixture
def model() -> Model:
    """8,784 float32 weights, untrained, tied embeddings."""
    from pliant.data import load_tokenizer
    from pliant.models.presets import build

    return build("llama-16x2", load_tokenizer("ascii"), seed=0)
