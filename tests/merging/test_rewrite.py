"""Merging files: the same numbers as in memory, whatever the inputs are; and every misfit found, in one line."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import GPT2Config, GPT2LMHeadModel
from tuned_folders import tuned

from pliant.changes import Merge
from pliant.data.tokenizer import load_tokenizer
from pliant.errors import PliantError
from pliant.merging import rewrite
from pliant.merging.formulas import FORMULAS
from pliant.models import Checkpoint, ImageInput, Model, build, load, save
from pliant.models.heads import with_head
from pliant.models.stored_model import StoredModel

Q = "model.layers.0.self_attn.q_proj.weight"


def merge(*others: Path, method="task_arithmetic", weight=0.5, **fields) -> Merge:
    return Merge.parse({"with": [str(other) for other in others], "method": method, "weight": weight, **fields})


def written(change: Merge, base: Path, out: Path, **loading) -> dict:
    found = change.rewrite(StoredModel(address=str(base), **loading), out, 0)
    assert found is not None
    return found


def edited(source: Path, target: Path, config: dict | None = None, **tensors) -> Path:
    """A copy with other entries of its configuration, and other tensors (`__` in names stands for a dot; None takes one away)."""
    shutil.copytree(source, target)
    held = load_file(target / "model.safetensors")
    for name, tensor in tensors.items():
        held.pop(name.replace("__", "."), None)
        if tensor is not None:
            held[name.replace("__", ".")] = tensor
    save_file(held, target / "model.safetensors", {"format": "pt"})
    path = target / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | (config or {})))
    return target


@pytest.fixture
def adapter(family, tmp_path) -> Path:
    adapted = get_peft_model(load(family / "base").network, LoraConfig(r=2, target_modules=["q_proj"], init_lora_weights=False))
    adapted.peft_config["default"].base_model_name_or_path = str(family / "base")
    adapted.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter"


# the same numbers


@pytest.mark.parametrize("method", FORMULAS)
def test_files_are_what_the_change_makes_in_memory(family, tmp_path, method):
    others = [family / "a"] if FORMULAS[method].single else [family / "a", family / "b", family / "c"]
    change = merge(*others, method=method, density=0.3)
    told = written(change, family / "base", tmp_path / "out")
    model = load(family / "base")
    before = model.weights()
    with change.applied(model) as merged:
        assert merged.weights() == told["weights"] == load(tmp_path / "out").weights() != before
    assert model.weights() == before
    assert told["tensors"] == told["changed"] == len(load_file(family / "base" / "model.safetensors"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(path.name for path in (family / "base").iterdir())


def test_task_arithmetic_of_files_is_base_plus_changes(family, tmp_path):
    written(merge(family / "a", family / "b", weights=[1, -2]), family / "base", tmp_path / "out")
    base, a, b, out = (load_file(folder / "model.safetensors") for folder in (*(family / n for n in ("base", "a", "b")), tmp_path / "out"))
    for name, tensor in base.items():
        expected = tensor.double() + 0.5 * (a[name].double() - tensor.double()) - (b[name].double() - tensor.double())
        assert torch.equal(out[name], expected.float())


def test_an_adapter_is_merged_into_its_base_first(family, adapter, tmp_path):
    written(merge(adapter, method="wise_ft", weight=1), family / "base", tmp_path / "out")
    assert load(tmp_path / "out").weights() == load(adapter).weights() != load(family / "base").weights()
    written(merge(adapter, family / "a", method="ties", density=0.2), family / "base", tmp_path / "both")
    assert merge(family / "a").rewrite(StoredModel(address=str(adapter)), tmp_path / "never", 0) is None  # is loaded instead
    assert not (tmp_path / "never").exists()


def test_types_are_the_bases_unless_said_otherwise(family, tmp_path):
    half = load(family / "base", dtype="bfloat16")
    save(half, tmp_path / "half")
    written(merge(family / "a"), tmp_path / "half", tmp_path / "out")
    assert load(tmp_path / "out", dtype="auto").network.dtype == torch.bfloat16
    written(merge(family / "a"), tmp_path / "half", tmp_path / "wide", dtype="float32")
    assert {tensor.dtype for tensor in load_file(tmp_path / "wide" / "model.safetensors").values()} == {torch.float32}
    assert load(tmp_path / "wide", dtype="auto").network.dtype == torch.float32
    for name, wide in load_file(tmp_path / "wide" / "model.safetensors").items():
        assert torch.equal(load_file(tmp_path / "out" / "model.safetensors")[name], wide.bfloat16())
    with pytest.raises(PliantError, match="unknown dtype 'int4'"):
        written(merge(family / "a"), family / "base", tmp_path / "four", dtype="int4")


def test_several_files_are_read_and_written(family, tmp_path, monkeypatch):
    monkeypatch.setattr(rewrite, "SHARD", 10_000)
    one = written(merge(family / "a"), family / "base", tmp_path / "first")
    assert len(list((tmp_path / "first").glob("model-*-of-*.safetensors"))) > 1
    monkeypatch.undo()
    back = written(merge(tmp_path / "first", method="wise_ft", weight=1), family / "base", tmp_path / "second")
    assert back["weights"] == one["weights"] == load(tmp_path / "first").weights()
    assert back["weights"] == load(tmp_path / "second").weights()


# what is said


def test_an_input_that_adds_nothing_is_named(family, tmp_path, capsys):
    written(merge(family / "a", family / "base"), family / "base", tmp_path / "out")
    said = capsys.readouterr().err
    assert f"{family / 'base'} holds the same weights as {family / 'base'}: it adds nothing" in said
    assert str(family / "a") not in said


def test_an_update_below_the_last_digit_is_said(family, tmp_path, capsys):
    half = load(family / "base", dtype="bfloat16")
    with torch.no_grad():
        half.network.model.norm.weight.fill_(1.0)
    save(half, tmp_path / "half")
    norm = torch.full((16,), 1.001)
    other = edited(tmp_path / "half", tmp_path / "other", model__norm__weight=norm)
    told = written(merge(other, weight=1), tmp_path / "half", tmp_path / "out")
    assert told["changed"] == 0
    assert "model.norm.weight: the update is below the last digit of their type" in capsys.readouterr().err


def test_statistics_of_batch_norm_are_said(tmp_path, capsys):
    def network(name: str, seed: int) -> Path:
        save(build("resnet-8x8", images=ImageInput((8, 8), 1), labels=["a", "b"], seed=seed), tmp_path / name)
        return tmp_path / name

    base = network("one", 0)
    held = {n for n, t in load_file(base / "model.safetensors").items() if n.endswith("running_var")}
    variances = {name.replace(".", "__"): torch.full_like(load_file(base / "model.safetensors")[name], 0.1) for name in held}
    other = edited(network("two", 1), tmp_path / "three", **variances)
    written(merge(other, weight=3), base, tmp_path / "sum")  # 1 + 3 (0.1 - 1) would be below zero
    assert "running means and variances of batch norm are the base's" in capsys.readouterr().err
    assert all(bool((load_file(tmp_path / "sum" / "model.safetensors")[name] == 1).all()) for name in held)
    written(merge(other, method="wise_ft"), base, tmp_path / "mean")
    assert "were merged like weights" in capsys.readouterr().err
    assert all(torch.allclose(load_file(tmp_path / "mean" / "model.safetensors")[name], torch.tensor(0.55)) for name in held)


# what does not fit


def misfits(family: Path, place: Path) -> dict[str, tuple[Path, str]]:
    """Other checkpoints that cannot be merged with the base, and what is said of them."""
    a = family / "a"
    held = load_file(a / "model.safetensors")
    table = held["model.embed_tokens.weight"]
    more = torch.cat([table, table[:2]])
    nan = held[Q].clone()
    nan[3, 3] = float("nan")
    untied = {"tie_word_embeddings": False}
    return {
        "padded": (edited(a, place / "padded", {"vocab_size": len(more)}, model__embed_tokens__weight=more), r"resize_token_embeddings\(1"),
        "nan": (edited(a, place / "nan", **{Q.replace(".", "__"): nan}), "not a finite number"),
        "heads": (edited(a, place / "heads", {"num_attention_heads": 2, "num_key_value_heads": 2}), "head_dim is|num_attention_heads is 2"),
        "untied": (edited(a, place / "untied", untied, lm_head__weight=table.clone()), "has lm_head.weight, which .*base has not"),
        "short": (edited(a, place / "short", **{Q.replace(".", "__"): None}), "missing from the weight files"),
        "nothing": (place / "nowhere", "no such folder"),
    }


@pytest.mark.parametrize("what", ["padded", "nan", "heads", "untied", "short", "nothing"])
def test_what_does_not_fit_is_one_line_and_nothing_is_written(family, tmp_path, what):
    other, message = misfits(family, tmp_path)[what]
    with pytest.raises(PliantError, match=message) as caught:
        written(merge(family / "b", other), family / "base", tmp_path / "out")
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "out").exists()
    assert not list(tmp_path.glob(".out*"))
    with pytest.raises(PliantError, match=message), merge(family / "b", other).applied(load(family / "base")):
        pass


def test_other_shapes_tasks_labels_and_tokens_are_refused(family, tmp_path):
    words = load_tokenizer("ascii")
    save(build("llama-16x3", words, 0, context=32), tmp_path / "deep")
    save(build("llama-32x2", words, 0, context=32), tmp_path / "wide")
    save(with_head(load(family / "a"), "sequence", ["x", "y"], 0), tmp_path / "classifier")
    save(with_head(load(family / "a"), "sequence", ["y", "x"], 0), tmp_path / "swapped")
    tokens = edited(family / "a", tmp_path / "tokens")
    text = json.loads((tokens / "tokenizer.json").read_text())
    vocabulary = text["model"]["vocab"]
    one, two = [name for name, number in vocabulary.items() if number in (65, 66)]
    vocabulary[one], vocabulary[two] = vocabulary[two], vocabulary[one]
    (tokens / "tokenizer.json").write_text(json.dumps(text))
    for base, other, message in (
        ("base", "deep", "and 8 more tensors, which .* has not: they are not of one architecture"),
        ("base", "wide", "they are not of one shape|vocabularies"),
        ("base", "classifier", "which .* has not: they are not of one architecture"),
        ("classifier", "swapped", "its labels are not those of"),
        ("base", "tokens", "token 65 is 'B', in .* 'A'"),
    ):
        place = family if base == "base" else tmp_path
        with pytest.raises(PliantError, match=message):
            written(merge(tmp_path / other), place / base, tmp_path / "out")


def test_what_else_differs_is_said(family, tmp_path, capsys):
    other = edited(family / "a", tmp_path / "longer", {"max_position_embeddings": 64})
    written(merge(other), family / "base", tmp_path / "out")
    assert f"{other}: max_position_embeddings differs from {family / 'base'}, whose config.json is kept" in capsys.readouterr().err


def test_files_that_name_their_tensors_otherwise_are_loaded(family, tmp_path):
    """GPT-2's own files leave out the trunk's name."""
    config = GPT2Config(vocab_size=128, n_positions=32, n_embd=16, n_layer=2, n_head=2, bos_token_id=0, eos_token_id=0)
    save(Model(GPT2LMHeadModel(config), load_tokenizer("ascii"), Checkpoint(name="made")), tmp_path / "one")
    tuned(tmp_path / "one", tmp_path / "two", 1)
    bare = shutil.copytree(tmp_path / "two", tmp_path / "bare")
    renamed = {name.removeprefix("transformer."): tensor for name, tensor in load_file(bare / "model.safetensors").items()}
    save_file(renamed, bare / "model.safetensors", {"format": "pt"})
    results = [written(merge(tmp_path / name), tmp_path / "one", tmp_path / f"out-{name}")["weights"] for name in ("two", "bare")]
    assert results[0] == results[1]


def test_killed_while_writing_leaves_nothing_half(family, tmp_path):
    """The process is stopped between two pieces, then killed; the next merge clears up."""
    code = f"""
import sys, time
from pliant.changes import Merge
from pliant.merging import rewrite
from pliant.models.stored_model import StoredModel
pieces = rewrite.blended
def slowly(*arguments):
    for number, piece in enumerate(pieces(*arguments)):
        if number == 5:
            print("half", flush=True)
            time.sleep(600)
        yield piece
rewrite.blended = slowly
change = Merge.parse({{"with": [{str(family / "a")!r}], "method": "ties", "weight": 1}})
change.rewrite(StoredModel(address={str(family / "base")!r}), __import__("pathlib").Path({str(tmp_path / "out")!r}), 0)
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=dict(os.environ), text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == "half"
    process.send_signal(signal.SIGKILL)
    process.wait()
    time.sleep(0.01)
    assert not (tmp_path / "out").exists()
    assert list(tmp_path.glob(".out*"))
    written(merge(family / "a", method="ties"), family / "base", tmp_path / "out")
    assert not list(tmp_path.glob(".out*"))
    assert load(tmp_path / "out").weights()
