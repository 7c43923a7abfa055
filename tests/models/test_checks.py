"""Tensors without a place, numbers that are none, weights that are not packed although it says so, tokens without a row."""

import json
import math
import runpy
import shutil
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, save_file

from pliant.data.pretrained import PretrainedTokenizer
from pliant.data.tokenizer import load_tokenizer
from pliant.errors import PliantError
from pliant.measures import MEASURES
from pliant.models import build, load, save
from pliant.models.checks import check_vocabulary, computed


@pytest.fixture
def copy(saved, tmp_path):
    """A model folder that may be altered."""
    return shutil.copytree(saved, tmp_path / "model")


def edit_config(folder, **fields):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def edit_weights(folder, **tensors):
    """Adds or replaces tensors (in whose names `__` stands for a dot)."""
    path = folder / "model.safetensors"
    new = {name.replace("__", "."): tensor for name, tensor in tensors.items()}
    save_file({**load_file(path), **new}, path, {"format": "pt"})


Q = "model__layers__0__self_attn__q_proj__"
SPARE = [
    {f"{Q}bias": torch.zeros(16)},
    {"model__layers__2__mlp__up_proj__weight": torch.ones(48, 16)},
    {"model__layers__0__self_attn__q_norm__weight": torch.ones(8)},
    {f"{Q}lora_A__weight": torch.ones(2, 16), f"{Q}lora_B__weight": torch.ones(16, 2)},
    {f"base_model__model__{Q}lora_A__default__weight": torch.ones(2, 16)},
    {"score__weight": torch.ones(1, 16)},
    {"v_head__summary__weight": torch.ones(1, 16)},
    {"model__layers__0__self_attn__bias": torch.ones(16)},  # has a mask's name and not its shape
    {f"{Q}weight_scale": torch.ones(1)},
    {"": torch.ones(1)},
]
COMPUTED = [
    {"model__layers__0__self_attn__rotary_emb__inv_freq": torch.ones(4)},
    {"model__rotary_emb__inv_freq": torch.ones(4)},
    {"model__layers__1__self_attn__rotary_emb__cos_cached": torch.ones(1, 1, 32, 8)},
    {"model__layers__0__attn__bias": torch.ones(1, 1, 32, 32, dtype=torch.uint8)},
    {"model__layers__0__attention__bias": torch.ones(1, 1, 32, 32, dtype=torch.bool)},
    {"model__layers__0__attn__masked_bias": torch.tensor(-1e4)},
    {"model__embeddings__position_ids": torch.arange(32)[None]},
]


@pytest.mark.parametrize("spare", SPARE)
def test_a_tensor_without_a_place_is_named(copy, spare):
    edit_weights(copy, **spare)
    with pytest.raises(PliantError, match="without a place in the network") as caught:
        load(copy)
    assert sorted(spare)[0].replace("__", ".") in str(caught.value)


@pytest.mark.parametrize("known", COMPUTED)
def test_what_networks_compute_for_themselves_may_be_stored(copy, tiny, known):
    edit_weights(copy, **known)
    assert load(copy).weights() == tiny.weights()


def test_a_bias_is_no_mask():
    assert not computed("h.0.attn.bias", {"shape": [768]})
    assert not computed("h.0.attn.bias", {"shape": [1, 2, 8, 8]})
    assert not computed("h.0.attn.c_attn.bias", {"shape": [1, 1, 8, 8]})
    assert not computed("h.0.attn.bias", None)


def test_a_stored_copy_of_a_tied_head(copy, tiny, capsys):
    embedding = load_file(copy / "model.safetensors")["model.embed_tokens.weight"]
    edit_weights(copy, lm_head__weight=embedding.clone())
    model = load(copy)
    assert model.weights() == tiny.weights()
    assert model.network.lm_head.weight is model.network.model.embed_tokens.weight
    assert capsys.readouterr().err == ""
    edit_weights(copy, lm_head__weight=embedding * 2)
    model = load(copy)
    assert torch.equal(model.network.lm_head.weight, embedding * 2)
    assert "head of its own" in capsys.readouterr().err


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_numbers_that_are_not_finite(copy, value, dtype):
    weight = torch.ones(48, 16)
    weight[7, 3] = value
    edit_weights(copy, model__layers__1__mlp__up_proj__weight=weight.to(dtype))
    with pytest.raises(PliantError, match=r"layers\.1\.mlp\.up_proj\.weight holds what is not a finite number"):
        load(copy)


def test_huge_numbers_are_numbers(copy):
    edit_weights(copy, model__layers__1__mlp__up_proj__weight=torch.full((48, 16), 3e38))
    assert load(copy).network.get_parameter("model.layers.1.mlp.up_proj.weight").max() == torch.tensor(3e38)


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64, torch.int8, torch.uint8, torch.int16, torch.bool])
@pytest.mark.parametrize("name", ["model__layers__1__mlp__up_proj__weight", "model__norm__weight", "model__embed_tokens__weight"])
def test_whole_numbers_are_no_weights(copy, dtype, name):
    weight = load_file(copy / "model.safetensors")[name.replace("__", ".")]
    edit_weights(copy, **{name: (weight * 100).to(dtype)})
    with pytest.raises(PliantError, match=f"{name.replace('__', '.')} holds [IUB].*, not weights"):
        load(copy)


LEFT_OVER = [
    {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4", "quant_method": "bitsandbytes"},
    {"group_size": 64, "bits": 4},
    {"quant_method": "gptq", "bits": 4},
    {"quant_method": "fp8", "weight_block_size": [128, 128]},
    {"quant_method": "a method that nobody knows"},
    {"quant_method": ["gptq"]},
    {},
]


@pytest.mark.parametrize("left_over", LEFT_OVER)
def test_weights_that_are_whole_are_not_packed_whatever_is_said(copy, tiny, capsys, left_over, tmp_path):
    edit_config(copy, quantization_config=left_over)
    model = load(copy)
    assert model.weights() == tiny.weights()
    assert "the weights are whole" in capsys.readouterr().err
    save(model, tmp_path / "again")
    assert "quantization_config" not in json.loads((tmp_path / "again" / "config.json").read_text())


@pytest.mark.parametrize("method", ["bitsandbytes", "gptq", None])
@pytest.mark.parametrize(
    "packed",
    [
        {"model__layers__1__mlp__up_proj__weight": torch.ones(384, 1, dtype=torch.uint8)},
        {"model__layers__1__mlp__up_proj__qweight": torch.ones(6, 16, dtype=torch.int32)},
        {"model__layers__1__mlp__up_proj__scales": torch.ones(1, 16)},
    ],
)
def test_weights_that_are_packed_are_not_taken_for_whole_ones(copy, method, packed):
    edit_config(copy, quantization_config={"quant_method": method, "bits": 4})
    edit_weights(copy, **packed)
    with pytest.raises(PliantError, match="its weights are packed"):
        load(copy)


@pytest.fixture
def words(tmp_path):
    """256 bytes and an end token, as a tokenizer of transformers: ids 0 to 256."""
    from transformers import AutoTokenizer

    load_tokenizer("bytes").save(tmp_path / "words")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "words")
    tokenizer.add_special_tokens({"eos_token": "<end>"})
    return tokenizer


def with_rows(rows, tokenizer, folder, fill=None):
    model = build("llama-16x1", load_tokenizer("bytes"), seed=3, context=32)
    torch.manual_seed(0)
    model.network.resize_token_embeddings(rows, mean_resizing=False)
    if fill is not None:
        model.network.get_input_embeddings().weight.data[fill:] = 0
    model.tokenizer = PretrainedTokenizer(tokenizer)
    save(model, folder)
    return folder


def test_a_special_token_without_a_row_matters_only_where_a_text_holds_it(words, tmp_path):
    plain = with_rows(257, words, tmp_path / "plain")
    words.add_special_tokens({"pad_token": "[PAD]", "additional_special_tokens": ["<mark>"]})
    added = with_rows(257, words, tmp_path / "added")
    text = tmp_path / "text.jsonl"
    text.write_text(json.dumps({"text": "There was once a tiny model. " * 9}))
    measure = MEASURES.parse({"loss": {"data": str(text), "part": "all"}})
    assert (measure(load(added)).values == measure(load(plain)).values).all()
    text = tmp_path / "other.jsonl"
    text.write_text(json.dumps({"text": "There was once a [PAD] model. " * 9}))
    measure = MEASURES.parse({"loss": {"data": str(text), "part": "all"}})
    with pytest.raises(PliantError, match=r"token 257 .*vocabulary of 257: the text holds '\[PAD\]'"):
        measure(load(added))
    with pytest.raises(PliantError, match=r"the text holds '<mark>'"):
        load(added).network(torch.tensor([[1, 258]]))


def test_a_word_added_without_a_row_is_named(words, tmp_path):
    words.add_tokens(["pliant", "bendy"])
    folder = with_rows(257, words, tmp_path / "added")
    with pytest.raises(PliantError, match=r"'pliant' and 1 more was added .* resize_token_embeddings\(259\)"):
        load(folder)


def test_a_doubled_embedding_is_padding_where_its_rows_are_all_the_same(words, tmp_path):
    assert load(with_rows(514, words, tmp_path / "zeros", fill=257)).tokenizer.vocab_size == 257
    with pytest.raises(PliantError, match=r"do not belong together.*resize_token_embeddings\(257\)"):
        load(with_rows(514, words, tmp_path / "drawn"))


@pytest.mark.parametrize("ids", [49_152, 10**12, 129])
def test_a_tokenizer_of_another_model(tiny, ids):
    with pytest.raises(PliantError, match=f"{ids} ids but the model 128; they do not belong together"):
        check_vocabulary(tiny.network, SimpleNamespace(vocab_size=ids), "here")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "folder", "loss"),
    [
        ("leftover-quant-config", "leftover_bnb", 1.4665),
        ("leftover-quant-config", "leftover_mlx", 1.4665),
        ("pad-token", "pad512", 1.4689),
    ],
)
def test_published_faults(shared_data, tmp_path, monkeypatch, fault, folder, loss):
    """The losses are those that the faults' own descriptions state."""
    source = shared_data / "faults" / fault / "make.py"
    if not source.exists():
        pytest.skip(f"the fault {fault} is absent")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(source.parent.parent))
    monkeypatch.delitem(__import__("sys").modules, "_gen", raising=False)
    runpy.run_path(str(source))
    measure = MEASURES.parse({"loss": {"data": str(shared_data / "faults" / "_stories.jsonl"), "part": "all"}})
    assert round(measure(load(tmp_path / folder)).estimate().value, 4) == loss
