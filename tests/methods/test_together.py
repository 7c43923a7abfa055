"""Which methods go together: every pair is run for a step in an order that is allowed, or refused in both."""

from itertools import combinations

import pytest

from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.methods import METHODS, check_together
from pliant.models import build
from pliant.train import Recipe, train
from small_text import given

NEEDED = {
    "qat": {"weights": 8},
    "lora": {"rank": 2, "dropout": 0.1},
    "dora": {"rank": 2, "dropout": 0.1},
    "probe": {"train": "model.layers.1.*, lm_head.*"},
    "l2_start": {"strength": 1.0},
    "ema": {"decay": 0.5},
    "bi_drop": {"dropout": 0.1},
}
TRAINED = {"lora", "dora", "probe"}
AVERAGES = {"ema", "swa"}
STARTS = {"sfa", "wise_ft"}
MAKERS_OF_GRADIENTS = {"sam", "bi_drop", "adversarial_self_attention"}
REFUSED = {
    *(frozenset(pair) for group in (TRAINED, AVERAGES, STARTS, MAKERS_OF_GRADIENTS) for pair in combinations(sorted(group), 2)),
    *(frozenset((a, b)) for a in ("lora", "dora") for b in (*AVERAGES, "l2_start", "ewc")),
    *(frozenset((a, "progressive_layer_dropping")) for a in TRAINED),
    *(frozenset(("dora", b)) for b in STARTS),
}
"""What the methods' cards and `pliant.methods.method` say of each other."""


@pytest.fixture
def made(text_file, cache):
    old = {"ewc": {"old": {"next_token": {"data": str(text_file)}}, "strength": 1.0, "examples": 1, "length": 8}}
    return {kind: METHODS.parse(old if kind == "ewc" else {kind: NEEDED.get(kind, {})}) for kind in METHODS}


def test_every_pair_is_trained_or_refused(text, made):
    recipe = Recipe(lr=1e-3, steps=1, batch=2, length=4)
    model = build("llama-16x2", load_tokenizer("ascii"))  # one for all: nothing of a pair may be left for the next
    for pair in combinations(made, 2):
        methods, reasons = [made[kind] for kind in pair], []
        for order in (methods, methods[::-1]):
            try:
                check_together(order)
            except PliantError as error:
                reasons.append(str(error))
                continue
            start = model.weights()
            train(model, given(text), recipe, methods=order, quiet=True)
            assert model.weights() != start, pair
            assert all(p.requires_grad for p in model.network.parameters()), pair
            break
        assert (len(reasons) == 2) == (frozenset(pair) in REFUSED), (pair, reasons)


def test_three_that_are_used_together(text, made):
    recipe = Recipe(lr=1e-3, steps=4, batch=2, length=8)
    for kinds in (
        ("lora", "sam", "sfa"),
        ("probe", "ewc", "ema"),
        ("bi_drop", "l2_start", "wise_ft"),
        ("sfa", "progressive_layer_dropping", "swa"),
    ):
        model = build("llama-16x2", load_tokenizer("ascii"))
        start = model.weights()
        train(model, given(text), recipe, methods=[made[kind] for kind in kinds], quiet=True)
        assert model.weights() != start, kinds
        assert all(p.isfinite().all() for p in model.network.parameters()), kinds
