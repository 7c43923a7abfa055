"""What a configuration may not do: lead to other files, to the hub, or to code."""

import json
import os
import shutil
import socket

import pytest
import torch
from safetensors.torch import load_file, save_file

from pliant.errors import PliantError
from pliant.models import FolderLadder, load
from pliant.models.configuration import configuration

KERNELS = [
    {"attn_implementation": "somebody/kernel"},
    {"_attn_implementation": "kernels-community/flash-attn2@main:forward"},
    {"attn_implementation": "paged|somebody/kernel"},
    {"attn_implementation": "flash_attention_2"},
    {"attn_implementation": {"": "somebody/kernel"}},
    {"_attn_implementation_internal": "somebody/kernel"},
    {"experts_implementation": "somebody/kernel"},
]


@pytest.fixture
def copy(saved, tmp_path):
    """A model folder that may be altered."""
    return shutil.copytree(saved, tmp_path / "model")


@pytest.fixture
def asked(monkeypatch):
    """Every request to the hub that was tried, with the hub switched on."""
    from huggingface_hub import HfApi, constants

    tried = []

    def note(host, *arguments, **settings):
        tried.append(host)
        raise OSError("no hub here")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(socket, "getaddrinfo", note)
    with pytest.raises(Exception, match="no hub here"):
        HfApi().model_info("somebody/kernel")
    assert tried  # the trap works
    tried.clear()
    return tried


def edit(folder, **fields):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


@pytest.mark.parametrize("fields", KERNELS)
def test_kernels_are_not_fetched_and_change_no_number(copy, tiny, asked, capsys, fields):
    edit(copy, **fields)
    model = load(copy)
    assert asked == []
    assert "not fetched" in capsys.readouterr().err
    assert model.network.config._attn_implementation in ("sdpa", "eager")
    ids = torch.arange(20)[None]
    with torch.no_grad():
        assert torch.equal(model.network(ids).logits, tiny.network(ids).logits)


@pytest.mark.parametrize("name", ["attn_implementation", "_attn_implementation", "_attn_implementation_internal"])
def test_kernels_of_a_part_are_not_fetched(tmp_path, asked, capsys, name):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gemma3", "text_config": {name: "somebody/kernel"}}))
    config = configuration(tmp_path, trust_remote_code=False)
    assert config.text_config._attn_implementation is None
    assert "not fetched" in capsys.readouterr().err
    assert asked == []


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_the_ways_that_torch_has_are_kept(copy, capsys, attention):
    edit(copy, _attn_implementation=attention, attn_implementation=attention)
    assert load(copy).network.config._attn_implementation == attention
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    "fields",
    [
        {"transformers_weights": "other.safetensors"},
        {"transformers_weights": "other.safetensors.index.json"},
        {"transformers_weights": "../other.safetensors"},
        {"transformers_weights": "adapter_model.bin"},
        {"transformers_weights": ["model.safetensors"]},
        {"text_config": {"transformers_weights": "other.safetensors"}},
        {"configuration_files": ["config.4.0.0.json"]},
    ],
)
def test_other_files_are_not_read(copy, asked, fields):
    shutil.copy(copy / "model.safetensors", copy / "other.safetensors")
    shutil.copy(copy / "config.json", copy / "config.4.0.0.json")
    edit(copy, **fields)
    with pytest.raises(PliantError, match=r"config\.json: \w+ wants other files"):
        load(copy)
    assert asked == []


def test_an_adapter_beside_whole_weights_is_not_put_on_them(copy, asked):
    (copy / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "somebody/base", "peft_type": "LORA"}))
    (copy / "x.gguf").write_bytes(b"GGUF")
    for where in (copy, copy / "x.gguf"):
        with pytest.raises(PliantError, match=r"adapter|package"):
            load(where)
    assert asked == []


@pytest.mark.parametrize("file", ["config.json", "tokenizer_config.json"])
def test_code_is_neither_fetched_nor_run(copy, asked, file):
    mark = copy / "ran"
    (copy / "code.py").write_text(f"open({str(mark)!r}, 'w')\n")
    for place in ("code", "somebody/repository--code"):
        fields = dict.fromkeys(("AutoConfig", "AutoModelForCausalLM"), f"{place}.Thing") | {"AutoTokenizer": [None, f"{place}.Thing"]}
        path = copy / file
        path.write_text(json.dumps({**json.loads(path.read_text()), "auto_map": fields, "custom_generate": f"{place}.Thing"}))
        load(copy)
    assert not mark.exists()
    assert asked == []


def test_what_is_hashed_is_what_is_loaded(copy, tiny):
    """Any byte of the weights that are loaded changes the identity, and leftovers change neither."""
    single = load_file(copy / "model.safetensors")
    names = sorted(single)
    for number, part in enumerate((names[:5], names[5:]), 1):
        save_file({name: single[name] for name in part}, copy / f"model-{number:05}-of-00002.safetensors", {"format": "pt"})
    index = {"metadata": {}, "weight_map": {name: f"model-{1 + (name in names[5:]):05}-of-00002.safetensors" for name in names}}
    (copy / "model.safetensors.index.json").write_text(json.dumps(index))
    (copy / "model.safetensors").unlink()
    (rung,) = FolderLadder.parse(str(copy)).rungs()
    before = rung.identity
    assert load(copy).weights() == tiny.weights()
    save_file({name: torch.zeros_like(single[name]) for name in names}, copy / "model-00001-of-00009.safetensors", {"format": "pt"})
    assert (load(copy).weights(), rung.identity) == (tiny.weights(), before)  # the index does not name it
    save_file({name: single[name] + 1 for name in names[:5]}, copy / "model-00001-of-00002.safetensors", {"format": "pt"})
    assert load(copy).weights() != tiny.weights()
    assert rung.identity != before
    save_file(
        {name: torch.zeros_like(single[name]) for name in names}, copy / "shard-00000-model-00001-of-00001.safetensors", {"format": "pt"}
    )
    with pytest.raises(PliantError, match=r"torch\.distributed"):  # transformers would read this one instead
        load(copy)


@pytest.mark.parametrize("field", ["dtype", "torch_dtype"])
@pytest.mark.parametrize("name", ["float33", "nn", "int8", "auto", 16, "torch.bfloat16", "__name__"])
def test_a_type_of_numbers_that_is_none(copy, field, name):
    config = json.loads((copy / "config.json").read_text())
    config.pop("dtype", None)
    (copy / "config.json").write_text(json.dumps({**config, field: name}))
    for dtype in (None, "auto"):
        with pytest.raises(PliantError, match=f"{field} is {name!r}"):
            load(copy, dtype=dtype)


@pytest.mark.parametrize("name", ["int8", "nn", "float8_e4m3fn", "float33", "__name__", ""])
def test_a_type_of_numbers_asked_for_that_is_none(copy, name):
    with pytest.raises(PliantError, match="unknown dtype"):
        load(copy, dtype=name)


def test_infinities_that_transformers_writes_are_read(copy, tiny):
    edit(copy, time_step_limit=[0.0, float("inf")])
    assert load(copy).weights() == tiny.weights()


@pytest.mark.parametrize("file", ["config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "deep", "number", "text", "binary"])
def test_what_is_no_such_file_is_one_line(copy, file, kind):
    path = copy / file
    path.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes({"deep": b"[" * 10**6, "number": b"1" + b"0" * 400, "text": b'"x\\u001b[31m"', "binary": b"\xff\xfe\0"}[kind])
    try:
        load(copy)
    except PliantError as error:
        message = str(error)
    else:
        message = "which nothing here needs"
        assert file in ("generation_config.json", "tokenizer_config.json")
    assert message.isprintable()
    assert len(message) < 700
