"""A change leaves nothing behind: not a bit, not a mode, not a tie."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pliant.changes import CHANGES, Change, parse_changes
from pliant.changes.restore import restored, sweep
from pliant.errors import PliantError
from pliant.models import Model


def state(model: Model) -> Any:
    """Everything that must come back: contents, identities, flags, gradients, ties, module tree, transforms."""
    network = model.network
    return (
        {name: (id(p), p.data_ptr(), p.dtype, p.requires_grad, p.detach().numpy().tobytes()) for name, p in network.named_parameters()},
        {name: (id(b), b.numpy().tobytes()) for name, b in network.named_buffers()},
        {name: None if p.grad is None else (id(p.grad), p.grad.numpy().tobytes()) for name, p in network.named_parameters()},
        [(name, id(module), module.training) for name, module in network.named_modules()],
        network.get_input_embeddings().weight is network.get_output_embeddings().weight,
        list(model.transforms),
        model.weights(),
    )


one_change = st.one_of(
    st.builds(
        lambda scale, unit, tensors: {"perturb": {"scale": scale, "unit": unit, "tensors": tensors}},
        st.floats(1e-3, 10),
        st.sampled_from(["init", "rms", "snr_db"]),
        st.sampled_from(["matrices", "linear", "*.mlp.*"]),
    ),
    st.builds(
        lambda bits, scheme, group: {"quantize": {"bits": bits, "scheme": scheme, "group": group}},
        st.integers(2, 8),
        st.sampled_from(["symmetric", "asymmetric"]),
        st.sampled_from(["tensor", "channel", 8]),
    ),
)


@given(form=st.one_of(one_change, st.lists(one_change, min_size=2, max_size=3)), seed=st.integers(0, 5), draw=st.integers(0, 5))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_every_change_is_undone_to_the_last_bit(model: Model, form: Any, seed: int, draw: int) -> None:
    (change,) = parse_changes([form])
    before = state(model)
    with change.applied(model, seed, draw) as changed:
        assert changed is model
        assert changed.weights() != before[-1]
        assert changed.network.get_input_embeddings().weight is changed.network.get_output_embeddings().weight
    assert state(model) == before


class Wrecker(Change):
    """Does to a model everything that a change might, and then perhaps fails."""

    fails: bool

    def apply(self, model: Model, seed: int, draw: int, undo: ExitStack) -> None:
        network: Any = model.network
        layer = network.model.layers[0]
        layer.self_attn.q_proj.weight.data = torch.zeros(2, 2, dtype=torch.bfloat16)  # another storage, shape and type
        layer.self_attn.k_proj.weight = torch.nn.Parameter(torch.ones(16, 16))  # another object
        layer.mlp.up_proj = torch.nn.Identity()  # another module
        layer.mlp.register_parameter("adapter", torch.nn.Parameter(torch.ones(3)))
        layer.mlp.register_buffer("scales", torch.ones(3))
        network.lm_head.weight = torch.nn.Parameter(network.lm_head.weight.detach().clone())  # unties
        with torch.no_grad():
            for tensor in (*network.parameters(), *network.buffers()):
                tensor.mul_(torch.nan)
        network.train()
        network.requires_grad_(False)
        network.model.norm.weight.grad = torch.ones(16)
        hook = network.register_forward_hook(lambda *arguments: None)
        undo.callback(hook.remove)
        model.transforms.append("wrecked")
        if self.fails:
            raise PliantError("wrecked")


@pytest.mark.parametrize("fails", [False, True])
def test_whatever_a_change_does_is_undone_also_when_it_fails(model: Model, fails: bool) -> None:
    network: Any = model.network
    network.eval()
    network.model.layers[1].train()
    network.model.norm.weight.requires_grad_(False)
    network.lm_head.weight.grad = torch.full_like(network.lm_head.weight, 2.0)
    model.transforms.append("known")
    before, hooks = state(model), len(network._forward_hooks)
    with pytest.raises(PliantError, match="wrecked") if fails else pytest.raises(KeyboardInterrupt), Wrecker(fails=fails).applied(model):
        assert "wrecked" in model.transforms
        raise KeyboardInterrupt
    assert state(model) == before
    assert len(network._forward_hooks) == hooks


def test_a_sweep_copies_the_weights_once_and_restores_from_it(model: Model, monkeypatch: Any) -> None:
    before, copied = state(model), []
    clone = torch.Tensor.clone
    monkeypatch.setattr(torch.Tensor, "clone", lambda tensor, *told, **named: copied.append(tensor) or clone(tensor, *told, **named))
    with sweep(model):
        once = len(copied)
        for number in range(3):
            with restored(model), torch.no_grad():
                for p in model.network.parameters():
                    p.mul_(number + 2.0)
                assert len(copied) == once
                changed = model.weights()
                with restored(model):  # of the changed weights, which the sweep's copy is none of
                    model.network.get_input_embeddings().weight.zero_()
                assert model.weights() == changed
                copied[once:] = []
            assert state(model) == before
        with pytest.raises(KeyboardInterrupt), Wrecker(fails=False).applied(model):
            raise KeyboardInterrupt
        assert state(model) == before
    copied.clear()
    with restored(model):
        assert copied, "a copy of its own again"


def test_gradients_do_not_leak_in_or_out(model: Model) -> None:
    weight: Any = model.network.get_input_embeddings().weight
    gradient = torch.ones_like(weight)
    weight.grad = gradient
    with CHANGES.parse("none").applied(model):
        assert weight.grad is None
        weight.grad = torch.zeros_like(weight)
    assert weight.grad is gradient
    assert bool((gradient == 1).all())


def test_the_restored_state_is_what_the_test_compares(model: Model) -> None:
    """Negative control: one flipped bit, one flipped flag are seen."""
    before = state(model)
    with torch.no_grad():
        model.network.get_input_embeddings().weight[0, 0] += 1e-8
    assert state(model) != before
    before = state(model)
    model.network.train(not model.network.training)
    assert state(model) != before


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_any_number_type(model: Model, dtype: torch.dtype) -> None:
    model.network.to(dtype)
    before = model.weights()
    for form in ({"perturb": {"scale": 0.1}}, {"quantize": {"bits": 4}}):
        with CHANGES.parse(form).applied(model):
            assert model.weights() != before
            assert {p.dtype for p in model.network.parameters()} == {dtype}
        assert model.weights() == before


def test_a_changed_model_can_be_saved(model: Model, tmp_path: Any) -> None:
    from pliant import models

    before = model.weights()
    change = parse_changes([[{"perturb": {"scale": 0.1}}, {"quantize": {"bits": 4}}]])[0]
    with change.applied(model, seed=1, draw=2):
        expected = model.weights()
    change.save(model, tmp_path / "changed", seed=1, draw=2)
    assert model.weights() == before
    assert models.load(str(tmp_path / "changed")).weights() == expected
