"""`compile: auto`: nothing without CUDA, part of a run's identity where it compiles, and the same sums."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from pliant.changes import Finetune
from pliant.data import load_tokenizer
from pliant.models import build
from pliant.objectives import NextToken
from pliant.study.ladders import parse_ladder
from pliant.train import Recipe, compiling, train


@pytest.fixture
def text(tmp_path, monkeypatch):
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "text.txt").write_text("\n\n".join(f"{number} and {number + 1} make {2 * number + 1}." for number in range(300)))
    return NextToken(data=str(tmp_path / "text.txt"), part="all")  # pyright: ignore[reportArgumentType]


def trained(text, folder=None, **fields):
    model = build("llama-16x1", load_tokenizer("ascii"), 0, context=16)
    log = train(model, text, Recipe(lr=1e-2, steps=6, batch=4, **fields), folder=folder, quiet=True)
    return log.compiled, model.weights()


def test_without_cuda_it_is_the_plain_run(text, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert trained(text, compile="auto") == trained(text) == (False, trained(text)[1])
    told = "compile: auto compiles nothing here: there is no CUDA device"
    assert Finetune(objective={"next_token": text.model_dump()}, lr=1e-3, compile="auto").notes()[-1:] == [told]  # pyright: ignore[reportArgumentType]
    ladder = {"model": "llama-16x1", "corpus": text.data.source, "steps": [2], "compile": "auto"}
    assert parse_ladder({"ladder": ladder}).remarks([]) == [told]
    assert parse_ladder({"ladder": ladder | {"compile": "never"}}).remarks([]) == []


def test_reasons(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(compiling.importlib.util, "find_spec", lambda _: object())
    monkeypatch.setattr(compiling.shutil, "which", lambda _: "/usr/bin/cc")
    long = compiling.LONG_ENOUGH
    assert compiling.why_plain("auto", long, (), "cuda") == "" == compiling.why_plain("auto", None, ())
    assert "shorter than the 5,000" in compiling.why_plain("auto", long - 1, (), "cuda")
    assert "the device is cpu" in compiling.why_plain("auto", long, (), "cpu")
    assert "methods" in compiling.why_plain("auto", long, ("lora",), "cuda")
    assert compiling.why_plain("never", long, (), "cuda")
    monkeypatch.setattr(compiling.shutil, "which", lambda _: None)
    assert "C compiler" in compiling.why_plain("auto", long, (), "cuda")


def test_a_compiled_run_makes_the_same_steps_and_is_another_run(text, monkeypatch, tmp_path):
    """PyTorch's tracing without its code generation rounds as the plain network does."""
    plain = trained(text)[1]
    monkeypatch.setattr("pliant.train.loop.why_plain", lambda choice, *_: "" if choice == "auto" else "plain")
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="eager"))
    assert trained(text, tmp_path / "run", compile="auto") == (True, plain)
    with pytest.raises(Exception, match="another run"):
        trained(text, tmp_path / "run")


def test_keys_from_before_there_was_a_choice_stay():
    assert "compile" not in Recipe(lr=1e-3, steps=2).canonical()
    assert (
        Recipe(lr=1e-3, steps=2, compile="never").hash()
        == Recipe(lr=1e-3, steps=2).hash()
        != Recipe(lr=1e-3, steps=2, compile="auto").hash()
    )
    assert Recipe(lr=1e-3, steps=2, compile="auto").trajectory(2) == Recipe(lr=1e-3, steps=2).trajectory(2)
