"""The bits one model can stand, on a small network that was really trained."""

import pytest
import torch

from pliant.changes import Quantize
from pliant.data import load_tokenizer
from pliant.decide.model.bits import allocation, layer_sensitivity, lowest_bits, predict
from pliant.errors import PliantError
from pliant.measures import Loss
from pliant.models import build
from pliant.models.modules import tensor_groups
from pliant.train import Recipe, train
from small_text import given


@pytest.fixture(scope="module")
def model(text):
    made = build("llama-16x4", load_tokenizer("ascii"), seed=0, context=64)
    train(made, given(text), Recipe(lr=1e-2, steps=300, batch=16, length=64), seed=0, quiet=True)
    return made


@pytest.fixture(scope="module")
def loss(text_file):
    return Loss(data=str(text_file), samples=100, part="all")


def test_groups_hold_every_matrix_once(model):
    groups = tensor_groups(model.network)
    assert set(groups) == {"embedding", "attention", "mlp"}
    names = [name for group in groups.values() for name in group]
    assert len(names) == len(set(names)) == 1 + 4 * 7


def test_a_lower_floor_never_gives_fewer_bits_and_the_whole_stays_under_it(model, loss):
    before = {name: tensor.clone() for name, tensor in model.network.state_dict().items()}
    found = {floor: lowest_bits(model, loss, floor, Quantize(bits=4)) for floor in (1e-7, 0.02, 1.0)}
    assert all(result.together["high"] <= floor or set(result.together["bits"].values()) == {16} for floor, result in found.items())
    for group in ("embedding", "attention", "mlp"):
        bits = [result.together["bits"][group] for result in found.values()]
        assert bits == sorted(bits, reverse=True)
    assert found[1.0].verdict == "answered"
    assert min(found[1.0].together["bits"].values()) <= 3
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.network.state_dict().items())


def test_the_allocation_keeps_its_limit_and_beats_the_uniform_one(model, loss):
    found = allocation(model, loss, Quantize(bits=4), limit=5.2)
    assert found["bits_per_weight"] <= 5.2
    assert found["uniform"]["bits"] == 4
    assert found["measured"]["value"] < found["uniform"]["measured"]["value"]


def test_predicted_rises_of_blocks_are_of_the_measured_size(model, loss):
    layers, correlation = layer_sensitivity(model, loss, Quantize(bits=4, tensors="linear"))
    assert len(layers) == 4
    assert correlation is not None
    assert -1 <= correlation <= 1
    predicted, measured = (sum(values) for values in zip(*((x["predicted"], x["measured"]["value"]) for x in layers), strict=True))
    assert 0.3 < predicted / measured < 3


def test_a_weight_stored_the_other_way_round_is_moved_the_right_way(loss):
    """GPT-2's square projection, whose shape does not tell: as much is predicted of it as of the same layer stored as others are."""
    from transformers import GPT2Config, GPT2LMHeadModel

    from pliant.models import Checkpoint, Model

    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=128, n_positions=64, n_embd=16, n_layer=1, n_head=2, initializer_range=0.3, bos_token_id=0, eos_token_id=0
    )
    network = GPT2LMHeadModel(config)
    subject = Model(network, load_tokenizer("ascii"), Checkpoint(name="gpt2"))
    template = Quantize(bits=3, tensors="*.attn.c_proj.weight")
    stored = predict(subject, loss, template, [3])["transformer.h.0.attn.c_proj.weight"][3]
    projection = network.transformer.h[0].attn.c_proj
    plain = torch.nn.Linear(16, 16)
    plain.weight, plain.bias = torch.nn.Parameter(projection.weight.detach().T.contiguous()), projection.bias
    network.transformer.h[0].attn.c_proj = plain
    assert predict(subject, loss, template, [3])["transformer.h.0.attn.c_proj.weight"][3] == pytest.approx(stored, rel=1e-3)


def test_a_floor_of_nothing_is_refused(model, loss):
    with pytest.raises(PliantError, match="above 0"):
        lowest_bits(model, loss, 0.0, Quantize(bits=4))
