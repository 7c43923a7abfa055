"""Merging as a change: its forms and titles, its keys, and that everything comes back."""

from __future__ import annotations

import shutil

import pytest
import torch

from pliant.changes import CHANGES, Merge, parse_changes
from pliant.errors import PliantError
from pliant.models import Model, load, save
from pliant.spec.content import described


@pytest.fixture
def other(model, tmp_path):
    """A checkpoint with the model's weights doubled."""
    save(model, tmp_path / "start")
    doubled = load(tmp_path / "start")
    with torch.no_grad():
        for parameter in doubled.network.parameters():
            parameter.mul_(2)
    save(doubled, tmp_path / "doubled")
    return tmp_path / "doubled"


def of(other, **fields) -> Merge:
    return Merge.parse({"with": str(other), "method": "wise-ft", "weight": 0.5, **fields})


def test_forms_sweeps_and_titles():
    found = parse_changes([{"merge": {"with": ["runs/law", "runs/code"], "method": "ties", "weight": [0.3, 0.5], "density": 0.2}}])
    assert [change.strength for change in found] == [0.3, 0.5]
    assert found[0].name() == "Merging, with law, code, ties, density 0.2: weight 0.3"
    assert found[0].title() == found[1].title()
    several = parse_changes([{"merge": {"with": [["a"], ["b"]], "method": ["slerp", "linear"], "weight": 0.5}}])
    assert [(change.others[0].address, change.method) for change in several] == [
        ("a", "slerp"),
        ("a", "linear"),
        ("b", "slerp"),
        ("b", "linear"),
    ]
    for change in (*found, *several):
        assert CHANGES.parse(change.canonical()) == change


def test_fields_that_a_method_does_not_look_at_make_no_change_twice():
    plain = of("a")
    assert of("a", density=0.2, draws=3, weights=[2]) == plain
    assert not plain.stochastic
    assert of("a", method="dare_ties", density=0.2, draws=3).draws == 3
    assert of("a", method="dare_ties", density=1).stochastic


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"with": []}, "with: give at least one"),
        ({"method": "tise"}, "did you mean 'ties'"),
        ({"with": ["a", "b"], "method": "slerp"}, "slerp is of the model and one other checkpoint, not of 2"),
        ({"weight": 1.5}, "wise_ft takes a weight from 0"),
        ({"weight": float("nan")}, "weight: a finite number is needed"),
        ({"method": "ties", "density": 0}, "density: a number above 0"),
        ({"method": "ties", "weights": [1, 2]}, "weights are one for each of the other checkpoints: 1, not 2"),
        ({"method": "ties", "weights": [-1]}, "weights are above 0 with ties"),
        ({"method": "dare_ties"}, "dare_ties needs a density"),
        ({"method": "linear", "weight": -1}, "weight is at least 0 with linear"),
        ({"with": [3]}, "with, item 1"),
    ],
)
def test_what_makes_no_sense_is_said(fields, message):
    with pytest.raises(PliantError, match=message):
        of("a", **{"with": "a", **fields})


@pytest.mark.parametrize("method", ["wise_ft", "ties"])
def test_all_comes_back_bit_for_bit(model: Model, other, method):
    before, tied = model.weights(), model.network.lm_head.weight is model.network.model.embed_tokens.weight
    with of(other, method=method).applied(model) as merged:
        for name, weight in merged.network.named_parameters():
            assert torch.equal(weight, 1.5 * load(other.parent / "start").network.get_parameter(name))
        assert (merged.network.lm_head.weight is merged.network.model.embed_tokens.weight) == tied
    assert model.weights() == before


def test_a_failure_leaves_the_model_as_it_was(model: Model, other):
    damaged = load(other)
    with torch.no_grad():
        damaged.network.model.norm.weight[2] = float("inf")  # the last tensor
    damaged.network.save_pretrained(other)
    before = model.weights()
    with pytest.raises(PliantError, match=r"model\.norm\.weight holds what is not a finite number"), of(other).applied(model):
        pass
    assert model.weights() == before


def test_the_content_of_the_checkpoints_is_part_of_the_key(model: Model, other, tmp_path):
    change = of(other)
    first = described(change)
    assert [content.fingerprint() for content in change.content()]
    kept = shutil.copytree(other, tmp_path / "kept")
    altered = load(other)
    with torch.no_grad():
        altered.network.model.norm.weight[0] += 1
    save(altered, other)
    assert described(change) != first
    assert next(of(kept).content()).fingerprint() in first


def test_draws_and_seeds_choose_what_is_dropped(model: Model, other):
    change = of(other, method="dare_linear", density=0.5, draws=2)
    found = []
    for seed, draw in ((0, 0), (0, 0), (0, 1), (1, 0)):
        with change.applied(model, seed, draw) as merged:
            found.append(merged.weights())
    assert found[0] == found[1]
    assert len(set(found)) == 3


def test_fine_tuning_and_merging_with_the_start_is_a_chain(model: Model, other):
    """WiSE-FT: what perturbing did is halved by merging with the start."""
    start = other.parent / "start"
    noise = CHANGES.parse({"perturb": {"scale": 0.2}})
    (chain,) = parse_changes([[{"perturb": {"scale": 0.2}}, {"merge": {"with": str(start), "method": "wise_ft", "weight": 0.5}}]])
    with noise.applied(model) as noisy:
        moved = noisy.network.model.embed_tokens.weight.detach().clone()
    with chain.applied(model) as merged:
        half = (moved.double() + load(start).network.model.embed_tokens.weight.double()) / 2
        assert torch.equal(merged.network.model.embed_tokens.weight, half.float())


def test_shapes_are_looked_at_before_anything_is_loaded(model: Model, other):
    from pliant.data import load_tokenizer
    from pliant.models import build

    of(other).check(model.network)
    with pytest.raises(PliantError, match="not of one architecture"):
        of(other).check(build("llama-16x3", load_tokenizer("ascii")).network)
