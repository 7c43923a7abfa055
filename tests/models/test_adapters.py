"""Adapter folders are checkpoints: PEFT's own, and those written here."""

import json
import shutil

import pytest
import torch
from peft import IA3Config, LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file

from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.models import FolderLadder, build, load, save
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
    elif how in ("a tensor less", "a tensor more", "names of another library"):
        tensors = {name: tensor.clone() for name, tensor in load_file(folder / WEIGHTS).items()}
        first = min(tensors)
        if how == "a tensor less":
            del tensors[first]
        elif how == "a tensor more":
            tensors[first.replace("layers.0", "layers.7")] = tensors[first].clone()
        else:
            tensors = {name.removeprefix("base_model.model."): tensor for name, tensor in tensors.items()}
        save_file(tensors, folder / WEIGHTS)


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ("base on a hub", "its base 'lab/base' is no folder of this machine"),
        ("no base", "names no base"),
        ("no weights", "adapter_model.safetensors is missing"),
        ("other layers", "cannot be put on its base"),
        ("cut short", "cannot be put on its base"),
        ("a tensor less", "which adapter_config.json says was trained; the adapter is incomplete"),
        ("a tensor more", r"layers\.7.* has no place in its base, so it would be left out"),
        ("names of another library", "has no place in its base, so it would be left out"),
    ],
)
def test_what_is_wrong_with_an_adapter_is_one_line(adapter, how, message):
    damaged(adapter[1], how)
    with pytest.raises(PliantError, match=message) as caught:
        load(adapter[1])
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "config",
    [
        LoraConfig(r=2, use_rslora=True, init_lora_weights=False),
        LoraConfig(r=2, use_dora=True, init_lora_weights=False),
        IA3Config(feedforward_modules=["down_proj"], init_ia3_weights=False),
    ],
    ids=["rslora", "dora", "ia3"],
)
def test_every_update_of_weights_is_measured(base, tmp_path, config):
    config.target_modules = {"q_proj", "down_proj"}
    adapted = get_peft_model(load(base).network, config)
    adapted.peft_config["default"].base_model_name_or_path = str(base)
    adapted.save_pretrained(tmp_path / "adapter")
    ids = torch.randint(0, 128, (2, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        found = load(tmp_path / "adapter").network(ids).logits
        assert torch.allclose(found, adapted.eval()(ids).logits, atol=1e-5)
        assert not torch.allclose(found, load(base).network(ids).logits, atol=1e-3)


def test_prompts_are_refused_in_one_line(adapter):
    config = json.loads((adapter[1] / CONFIG).read_text())
    (adapter[1] / CONFIG).write_text(json.dumps(config | {"peft_type": "PREFIX_TUNING"}))
    with pytest.raises(PliantError, match="PREFIX_TUNING learns prompts, not an update of weights"):
        load(adapter[1])


def test_adapter_checkpoints_of_the_trainer_are_rungs(base, adapter, tmp_path):
    for step in (100, 1000, 500):
        folder = tmp_path / "run" / f"checkpoint-{step}"
        shutil.copytree(adapter[1], folder)
        state = {"global_step": step, "log_history": [{"learning_rate": 1e-4, "step": step}]}
        (folder / "trainer_state.json").write_text(json.dumps(state))
        tensors = load_file(folder / WEIGHTS)
        save_file({name: tensor * step for name, tensor in tensors.items()}, folder / WEIGHTS, metadata={"format": "pt"})
    pickled = tmp_path / "run" / "checkpoint-2000"
    pickled.mkdir()
    (pickled / CONFIG).write_text((adapter[1] / CONFIG).read_text())
    (pickled / "adapter_model.bin").write_bytes(b"x")
    ladder = FolderLadder(folders=(str(tmp_path / "run" / "checkpoint-*"),))
    rungs = ladder.rungs()
    assert [rung.checkpoint.steps for rung in rungs] == [100, 500, 1000]
    assert ladder.along([rung.checkpoint for rung in rungs]) == "steps"
    assert [*ladder.skipped().values()] == [
        "holds an adapter, but no adapter_model.safetensors; save it with safetensors, or merge it with peft"
    ]
    assert len({rung.identity for rung in rungs}) == 3
    assert rungs[0].outline() is not None
    assert {rung.checkpoint.params for rung in rungs} == {load(base).checkpoint.params}
    with rungs[2].open() as model:
        assert (model.checkpoint.steps, model.checkpoint.name) == (1000, str(tmp_path / "run" / "checkpoint-1000"))


def test_an_adapter_that_was_dropped_on_the_way_is_said(base, adapter, capsys, monkeypatch):
    """Base plus change, worked out from the two files; an update of nothing, of one layer, and a merge that is none."""
    _, folder = adapter
    tensors = load_file(folder / WEIGHTS)
    plain, merged = (dict(load(place).network.named_parameters()) for place in (base, folder))
    for name, before in plain.items():
        path = f"base_model.model.{name.removesuffix('.weight')}.lora_"
        change = (
            8 / 2 * tensors[f"{path}B.weight"] @ tensors[f"{path}A.weight"] if f"{path}A.weight" in tensors else torch.zeros_like(before)
        )
        assert torch.allclose(merged[name], before + change, atol=1e-6), name
        assert bool(change.any()) == name.endswith(("q_proj.weight", "down_proj.weight"))
    assert "as before" not in capsys.readouterr().err
    first = min(name for name in tensors if ".lora_B." in name)
    save_file(tensors | {first: torch.zeros_like(tensors[first])}, folder / WEIGHTS, {"format": "pt"})
    load(folder)
    assert "leaves model.layers.0.mlp.down_proj of 4 layers as before" in capsys.readouterr().err
    save_file(tensors, folder / WEIGHTS, {"format": "pt"})
    monkeypatch.setattr("peft.tuners.lora.layer.Linear.merge", lambda *_, **__: None)  # as a library does that forgets to
    load(folder)
    assert f"{folder} leaves every layer as before: its update is zero there" in capsys.readouterr().err
