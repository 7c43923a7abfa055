"""LoRA: exact identities, and PEFT's own reading of what is left."""

import pytest
import torch

from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.methods import Dora, Lora, Method
from pliant.models import build
from pliant.train import Recipe, train
from small_text import given

RECIPE = Recipe(lr=1e-2, steps=20, batch=4, length=16, weight_decay=0.0)
ENDS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def fresh(preset="llama-16x2"):
    return build(preset, load_tokenizer("ascii"))


class Keep(Method):
    """Shows the run to the test, and stops it where asked."""

    runs: list
    at: int = 99

    def after_step(self, run, state):
        if run.step == self.at:
            raise KeyboardInterrupt

    def finish(self, run, state):
        self.runs.append(run)

    def canonical(self):
        return {"kind": self.kind}


def trained(text, method, recipe=RECIPE, preset="llama-16x2", folder=None, at=99):
    model, runs = fresh(preset), []
    keep = Keep.model_construct(runs=runs, at=at)
    log = train(model, given(text), recipe, methods=[keep, method], folder=folder, save_every=0, quiet=True)
    return model, runs[0], log


def changes(model, preset="llama-16x2"):
    before = dict(fresh(preset).network.named_parameters())
    return {name: (p - before[name]).detach() for name, p in model.network.named_parameters()}


@pytest.mark.parametrize("preset", ["llama-16x2", "gpt-neox-16x2"])
def test_the_update_has_the_rank_and_touches_linear_layers_alone(text, preset):
    model, _, log = trained(text, Lora(rank=2), preset=preset)
    assert log.losses[-1] < log.losses[0] - 0.1
    moved = {name for name, change in changes(model, preset).items() if change.any()}
    matrices = {
        name for name, p in fresh(preset).network.named_parameters() if p.dim() == 2 and "embed" not in name and "lm_head" not in name
    }
    assert moved == matrices
    assert all(torch.linalg.matrix_rank(changes(model, preset)[name], atol=1e-5) == 2 for name in moved)
    assert all(p.requires_grad for p in model.network.parameters())
    assert type(model.network.get_submodule(min(matrices).removesuffix(".weight"))) is torch.nn.Linear


def test_no_steps_change_nothing_and_the_scale_is_alpha_over_rank(text):
    model, _, _ = trained(text, Lora(rank=4, alpha=12), RECIPE.model_copy(update={"steps": 1, "lr": 1e-30}))
    assert all(change.abs().max() < 1e-20 for change in changes(model).values())
    for stabilised, scale in ((False, 12 / 4), (True, 12 / 2)):
        model, run, _ = trained(text, Lora(rank=4, alpha=12, rank_stabilised=stabilised))
        name = "model.layers.0.self_attn.q_proj"
        down, up = (run.adapter.tensors[f"{name}.lora_{part}.weight"] for part in "AB")
        assert torch.allclose(changes(model)[f"{name}.weight"], scale * up @ down, atol=1e-6)


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        ("attention", ENDS[:4]),
        ("query-key", ENDS[:2]),
        ("q_proj, down_proj", ["q_proj", "down_proj"]),
        ("model.layers.1.mlp.up_proj", ["up_proj"]),
    ],
)
def test_layers_are_chosen_by_the_ends_of_their_names(text, modules, expected):
    model, _, _ = trained(text, Lora(rank=2, modules=modules), RECIPE.model_copy(update={"steps": 3}))
    moved = {name.split(".")[-2] for name, change in changes(model).items() if change.any()}
    assert moved == set(expected)


def test_a_layer_that_is_not_there_is_one_line_and_leaves_the_network(text):
    model = fresh()
    with pytest.raises(PliantError, match=r"no linear layer is called 'q_prj'; did you mean 'q_proj'"):
        train(model, given(text), RECIPE, methods=[Lora(modules="q_prj,k_proj")], quiet=True)
    assert model.weights() == fresh().weights()


def test_queries_and_keys_that_share_a_layer_with_values_have_none_of_their_own(text):
    with pytest.raises(PliantError, match="no linear layer is for query-key alone here; give names: dense, dense_4h_to_h"):
        trained(text, Lora(modules="query-key"), preset="gpt-neox-16x2")


def test_a_run_that_fails_leaves_the_networks_own_layers(text):
    model = fresh()
    with pytest.raises(KeyboardInterrupt):
        train(model, given(text), RECIPE, methods=[Keep.model_construct(runs=[], at=3), Lora(rank=2)], quiet=True)
    assert model.weights() == fresh().weights()
    assert [name for name, _ in model.network.named_modules()] == [name for name, _ in fresh().network.named_modules()]


def test_a_killed_run_goes_on_bit_for_bit(text, tmp_path):
    whole, _, _ = trained(text, Lora(rank=2, dropout=0.1))
    with pytest.raises(KeyboardInterrupt):
        trained(text, Lora(rank=2, dropout=0.1), folder=tmp_path, at=7)
    again, _, _ = trained(text, Lora(rank=2, dropout=0.1), folder=tmp_path)
    assert again.weights() == whole.weights()


@pytest.mark.parametrize("method", [Lora(rank=2), Dora(rank=2)])
def test_peft_reads_what_is_left(text, tmp_path, method):
    """The adapter on the fresh network, as PEFT applies it, gives the merged network's logits."""
    from peft import LoraConfig, PeftModel
    from safetensors.torch import save_file

    model, run, _ = trained(text, method)
    LoraConfig(**{**run.adapter.config, "task_type": "CAUSAL_LM"}).save_pretrained(tmp_path)
    save_file({f"base_model.model.{name}": tensor for name, tensor in run.adapter.tensors.items()}, tmp_path / "adapter_model.safetensors")
    adapted = PeftModel.from_pretrained(fresh().network, str(tmp_path))
    ids = torch.randint(0, 128, (2, 16), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(adapted(ids).logits, model.network(ids).logits, atol=1e-5)


def test_dora_starts_from_the_network_learns_lengths_and_goes_on_when_killed(text, tmp_path):
    still, _, _ = trained(text, Dora(rank=2), RECIPE.model_copy(update={"steps": 1, "lr": 1e-30}))
    assert all(change.abs().max() < 1e-6 for change in changes(still).values())
    model, run, log = trained(text, Dora(rank=2))
    assert log.losses[-1] < log.losses[0] - 0.1
    name = "model.layers.0.self_attn.q_proj"
    lengths = run.adapter.tensors[f"{name}.lora_magnitude_vector"]
    assert torch.allclose(model.network.get_parameter(f"{name}.weight").norm(dim=1), lengths, atol=1e-5)
    assert not torch.allclose(lengths, fresh().network.get_parameter(f"{name}.weight").norm(dim=1), rtol=1e-3)
    with pytest.raises(KeyboardInterrupt):
        trained(text, Dora(rank=2), folder=tmp_path, at=7)
    assert trained(text, Dora(rank=2), folder=tmp_path)[0].weights() == model.weights()
    assert [name for name, _ in model.network.named_modules()] == [name for name, _ in fresh().network.named_modules()]


def test_a_network_without_linear_layers_is_refused_in_one_line(tmp_path, monkeypatch):
    from pliant.models.images import ImageInput
    from pliant.objectives import Label

    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    model = build("cnn-4x1", images=ImageInput((8, 8), 1), labels=tuple("0123456789"))
    with pytest.raises(PliantError, match="no linear layer besides its head"):
        train(model, Label(data="builtin:digits"), Recipe(lr=1e-3, steps=1, batch=2), methods=[Lora(rank=2)], quiet=True)
