"""Rounded weights: few values, near the old ones, and the same again when rounded again."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pliant.changes import CHANGES, Quantize
from pliant.errors import PliantError
from pliant.models import Model

settings_ = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
options: dict[str, Any] = {
    "bits": st.integers(2, 8),
    "scheme": st.sampled_from(["symmetric", "asymmetric"]),
    "group": st.sampled_from(["tensor", "channel", 4, 16]),
}


def matrices(model: Model) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.network.named_parameters() if p.ndim == 2}


def sliced(weight: torch.Tensor, group: Any) -> torch.Tensor:
    return weight.reshape(1, -1) if group == "tensor" else weight if group == "channel" else weight.reshape(-1, group)


@given(**{**options, "scheme": st.sampled_from(["symmetric", "full_range", "asymmetric"])})
@settings_
def test_each_slice_takes_few_values_near_the_old_ones(model: Model, bits: int, scheme: Any, group: Any) -> None:
    before = matrices(model)
    with Quantize(bits=bits, scheme=scheme, group=group).applied(model):
        after = matrices(model)
    for name, weight in before.items():
        old, new = sliced(weight, group).double(), sliced(after[name], group).double()
        low, high = old.amin(1).clamp(max=0), old.amax(1).clamp(min=0)
        steps = {"symmetric": 2 ** (bits - 1) - 1, "full_range": 2 ** (bits - 1) - 0.5, "asymmetric": 2**bits - 1}[scheme]
        step = (high - low if scheme == "asymmetric" else old.abs().amax(1)) / steps
        reach = 1.0 if scheme == "asymmetric" else 0.5  # zero is moved onto an asymmetric grid, by up to half a step, and its ends with it
        assert bool(((old - new).abs().amax(1) <= step * (reach + 1e-4)).all())
        for row, width in zip(new, step, strict=True):
            levels = ((row - row.min()) / width).round().unique()
            assert len(levels) <= 2**bits


@given(**options)
@settings_
def test_rounding_what_is_rounded_changes_nothing(model: Model, bits: int, scheme: Any, group: Any) -> None:
    change = Quantize(bits=bits, scheme=scheme, group=group)
    with change.applied(model):
        once = matrices(model)
        with change.applied(model):
            twice = matrices(model)
    for name, weight in once.items():
        assert torch.allclose(weight, twice[name], rtol=1e-6, atol=1e-7)


def test_more_bits_lie_nearer(model: Model) -> None:
    before, errors = matrices(model), []
    for bits in range(2, 9):
        with Quantize(bits=bits).applied(model):
            errors.append(sum(float((after - before[name]).square().sum()) for name, after in matrices(model).items()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] > 0


def test_channels_are_rows_of_outputs_also_where_weights_are_stored_transposed() -> None:
    from transformers import AutoModelForCausalLM, GPT2Config

    from pliant.data import load_tokenizer
    from pliant.models import Checkpoint

    config = GPT2Config(vocab_size=64, n_embd=32, n_layer=1, n_head=2, n_positions=64, bos_token_id=0, eos_token_id=0)
    network: Any = AutoModelForCausalLM.from_config(config)
    model = Model(network, load_tokenizer("ascii"), Checkpoint(name="gpt2"))
    with Quantize(bits=2).applied(model):
        weight = network.transformer.h[0].mlp.c_fc.weight.detach()  # (in 32, out 128)
        assert max(len(column.unique()) for column in weight.T) <= 3
        assert max(len(row.unique()) for row in weight) > 3


def test_linear_leaves_embeddings_alone(model: Model) -> None:
    before = matrices(model)
    with Quantize(bits=3, tensors="linear").applied(model):
        moved = {name for name, after in matrices(model).items() if not torch.equal(after, before[name])}
    assert moved == {name for name in before if "embed" not in name}


def test_it_does_not_depend_on_the_seed(model: Model) -> None:
    change = Quantize(bits=3)
    hashes = set[str]()
    for seed, draw in ((0, 0), (1, 3)):
        with change.applied(model, seed, draw):
            hashes.add(model.weights())
    assert len(hashes) == 1
    assert not change.stochastic
    assert change.draws == 1


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"bits": 1}, "bits"),
        ({"bits": 9}, "bits"),
        ({"bits": 4, "group": 0}, "group|groups"),
        ({"bits": 4, "group": "row"}, "group"),
        ({"bits": 4, "method": "magic"}, "method"),
        ({"bits": 4, "grup": 3}, "did you mean 'group'"),
    ],
)
def test_wrong_fields_are_said(model: Model, form: dict[str, Any], message: str) -> None:
    with pytest.raises(PliantError, match=message), CHANGES.parse({"quantize": form}).applied(model):
        pass


def test_a_group_that_does_not_divide_a_row_names_the_tensor(model: Model) -> None:
    before = model.weights()
    with (
        pytest.raises(PliantError, match=r"embed_tokens\.weight: groups of 5 do not divide rows of 16"),
        Quantize(bits=4, group=5).applied(model),
    ):
        pass
    assert model.weights() == before


@pytest.mark.parametrize("value", [torch.inf, torch.nan])
def test_damaged_weights_are_said(model: Model, value: float) -> None:
    with torch.no_grad():
        model.network.get_input_embeddings().weight[3, 3] = value
    with pytest.raises(PliantError, match=r"embed_tokens.*infinite or undefined"), Quantize(bits=4).applied(model):
        pass


def test_a_sweep_over_methods_makes_no_change_twice():
    """What a method does not look at is no part of the change."""
    swept = {"bits": 4, "method": ["rtn", "gptq", "awq"], "act_order": [False, True], "calibration": "builtin:prose", "samples": [8, 16]}
    found = {change.hash(): change for change in CHANGES.expand({"quantize": swept})}.values()
    assert sorted((change.method, change.act_order, change.samples) for change in found if change.method != "rtn") == [
        ("awq", False, 8),
        ("awq", False, 16),
        ("gptq", False, 8),
        ("gptq", False, 16),
        ("gptq", True, 8),
        ("gptq", True, 16),
    ]
    assert [change for change in found if change.method == "rtn"] == [Quantize(bits=4)]


def test_shapes_alone_tell_what_cannot_be_done(model):
    """What `check` refuses, `applied` refuses as well, and the other way round."""
    refused = ({"group": 32}, {"tensors": "*.mlpp.*"}, {"exceptions": {"*.mlpp.*": 8}}, {"group": 48}, {"group": 9})
    allowed = (
        {"group": 16},
        {"group": 48, "tensors": "*down_proj*"},
        {"group": 48, "exceptions": {"*down_proj*": 8, "*": 16}},
        {"exceptions": {"*": 16}},
    )
    for fields in (*refused, *allowed):
        change = Quantize(bits=4, **fields)
        assert change.needs_shapes
        for attempt in (lambda change=change: change.check(model.network), lambda change=change: change.applied(model).__enter__()):
            if fields in refused:
                with pytest.raises(PliantError):
                    attempt()
            else:
                attempt()
    assert not any(
        Quantize(bits=4, tensors=tensors, group=group).needs_shapes for tensors in ("matrices", "linear") for group in ("tensor", "channel")
    )
