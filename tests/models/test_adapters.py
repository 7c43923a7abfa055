"""Adapter folders are checkpoints: PEFT's own, and those written here."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model

from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.models import build, load, save
from pliant.models.adapters import CONFIG, WEIGHTS


@pytest.fixture
def base(tmp_path):
    save(build("llama-16x2", load_tokenizer("ascii"), 0, context=32), tmp_path / "base")
    return tmp_path / "base"


@pytest.fixture
def adapter(base, tmp_path):
    """An adapter as PEFT makes and saves it, with an update that is not zero."""
    adapted = get_peft_model(load(base).network, LoraConfig(r=2, target_modules=["q_proj", "down_proj"], init_lora_weights=False))
    adapted.peft_config["default"].base_model_name_or_path = str(base)
    adapted.save_pretrained(tmp_path / "adapter")
    return adapted, tmp_path / "adapter"


def test_an_adapter_of_peft_is_a_checkpoint(base, adapter):
    adapted, folder = adapter
    model = load(folder)
    ids = torch.randint(0, 128, (2, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(model.network(ids).logits, adapted.eval()(ids).logits, atol=1e-5)
        assert not torch.allclose(model.network(ids).logits, load(base).network(ids).logits, atol=1e-3)
    assert model.checkpoint.name == str(folder)
    assert [name for name, _ in model.network.named_parameters()] == [name for name, _ in load(base).network.named_parameters()]


def damaged(folder, how):
    config = json.loads((folder / CONFIG).read_text())
    if how == "base on a hub":
        (folder / CONFIG).write_text(json.dumps(config | {"base_model_name_or_path": "lab/base"}))
    elif how == "no base":
        (folder / CONFIG).write_text(json.dumps({name: value for name, value in config.items() if name != "base_model_name_or_path"}))
    elif how == "no weights":
        (folder / WEIGHTS).unlink()
    elif how == "other layers":
        (folder / CONFIG).write_text(json.dumps(config | {"target_modules": ["nowhere"]}))
    elif how == "cut short":
        (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:200])


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("base on a hub", "its base 'lab/base' is no folder of this machine"),
        ("no base", "names no base"),
        ("no weights", "adapter_model.safetensors is missing"),
        ("other layers", "cannot be put on its base"),
        ("cut short", "cannot be put on its base"),
    ],
)
def test_what_is_wrong_with_an_adapter_is_one_line(adapter, how, message):
    damaged(adapter[1], how)
    with pytest.raises(PliantError, match=message) as caught:
        load(adapter[1])
    assert len(str(caught.value).splitlines()) == 1
