"""A tiny text, two tiny checkpoints, and a cache of their own for the tests of studies."""

import random
from pathlib import Path

import pytest

from pliant.models import build, save


@pytest.fixture(scope="session", autouse=True)
def _own_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLIANT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def text(tmp_path_factory) -> Path:
    """300 short documents of a language of twelve words."""
    generator, folder = random.Random(0), tmp_path_factory.mktemp("text")
    words = ["the", "model", "learns", "a", "little", "more", "each", "day", "and", "then", "forgets", "some"]
    lines = ['{"text": "' + " ".join(generator.choices(words, k=30)) + '"}' for _ in range(300)]
    (folder / "text.jsonl").write_text("\n".join(lines))
    return folder / "text.jsonl"


@pytest.fixture(scope="session")
def folders(tmp_path_factory) -> Path:
    """Two untrained checkpoints, as folders that tell their tokens."""
    from pliant.data import load_tokenizer

    parent = tmp_path_factory.mktemp("checkpoints")
    for seed, name in enumerate(("step1-tokens1M", "step2-tokens2M")):
        model = build("llama-16x1", load_tokenizer("ascii"), seed, context=32)
        model.checkpoint = model.checkpoint.model_copy(update={"tokens": (seed + 1) * 1_000_000})
        save(model, parent / name)
    return parent


@pytest.fixture
def form(text, folders) -> dict:
    """A study of stored checkpoints: 2 x (none, 2 perturbs, 1 quantize) with two seeds."""
    return {
        "name": "stored",
        "checkpoints": [str(folders / "step*")],
        "changes": [{"perturb": {"scale": [0.1, 0.2], "draws": 2}}, {"quantize": {"bits": 3}}],
        "measures": {"generic": {"loss": {"data": str(text), "samples": 8}}},
        "seeds": [0, 1],
    }


@pytest.fixture
def trained(text) -> dict:
    """A study of a ladder trained here: two budgets, fine-tuning and a chain among the changes."""
    finetune = {"finetune": {"data": str(text), "steps": 2, "batch": 2, "length": 16, "lr": 1e-3}}
    return {
        "name": "trained",
        "checkpoints": {
            "ladder": {
                "model": {"preset": "llama-16x1", "tokenizer": "ascii", "context": 32},
                "corpus": str(text),
                "tokens": ["4k", "8k"],
                "batch": 4,
                "lr": 1e-2,
            }
        },
        "changes": [finetune, [finetune, {"quantize": {"bits": 4}}]],
        "measures": {"generic": {"loss": {"data": str(text), "samples": 8}}},
        "seeds": [0, 1],
    }
