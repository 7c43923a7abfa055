"""Divergence from the unchanged model: exact identities, SciPy's formulas, and its way through changes, commands and studies."""

import copy
import json
from math import log

import numpy as np
import pytest
import torch
from scipy.special import rel_entr, softmax

from pliant.changes import Perturb, Quantize
from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.measures.divergence import PredictionDivergence, divergences
from pliant.models import build

TOKENS = [np.arange(5, 30), np.arange(40, 48), np.array([7, 9])]


def model(seed=0, preset="llama-16x2"):
    return build(preset, load_tokenizer("ascii"), seed, context=64)


def logits(network, ids):
    with torch.no_grad():
        return network(torch.tensor(ids)[None, :-1]).logits[0].double().numpy()


@pytest.mark.parametrize("preset", ["llama-16x2", "gpt-neox-16x2"])
def test_every_token_by_scipys_formulas(preset):
    first, second = model(0, preset).network, model(1, preset).network
    for head in (first, second):  # so that predictions are far from uniform
        head.get_output_embeddings().weight.data.mul_(30)
    for ids, found in zip(TOKENS, divergences(first, second, TOKENS, batch_tokens=30), strict=True):
        p, q = (softmax(logits(network, ids), axis=-1) for network in (first, second))
        m = (p + q) / 2
        expected = [
            rel_entr(p, q).sum(-1),
            rel_entr(q, p).sum(-1),
            (rel_entr(p, m).sum(-1) + rel_entr(q, m).sum(-1)) / 2,
            p.argmax(-1) != q.argmax(-1),
        ]
        assert found == pytest.approx(np.array(expected, float).T, rel=1e-4, abs=1e-6)


def test_identities():
    first, second = model(0).network, model(1).network
    assert all((found == 0).all() for found in divergences(copy.deepcopy(first), first, TOKENS))
    assert all((found == 0).all() for found in divergences(first, first, TOKENS)), "one network object"
    for there, back in zip(divergences(first, second, TOKENS), divergences(second, first, TOKENS), strict=True):
        assert there[:, [1, 0, 2, 3]] == pytest.approx(back, abs=1e-7), "the two ways change places, Jensen-Shannon is symmetric"
        assert (there >= 0).all()
        assert (there[:, 2] <= log(2)).all()
    for network, token in ((first, 3), (second, 4)):  # certain of different tokens: as far apart as can be
        head = network.get_output_embeddings().weight.data
        head[:] = 0
        network.model.norm.weight.data[:] = 0
        network.lm_head.bias = torch.nn.Parameter(torch.nn.functional.one_hot(torch.tensor(token), len(head)) * 80.0)
    (far,) = divergences(first, second, TOKENS[:1])
    assert far[:, 2] == pytest.approx(log(2), abs=1e-6)
    assert far[:, 0] == pytest.approx(80, rel=1e-6)
    assert (far[:, 3] == 1).all()


def test_networks_that_cannot_be_compared(tmp_path):
    other = build("llama-16x2", load_tokenizer("bytes"), 0, context=64)
    with pytest.raises(PliantError, match="one model has 128 tokens, the other 256"):
        divergences(model().network, other.network, TOKENS)
    damaged = model()
    damaged.network.lm_head.weight.data[0] = np.nan
    with pytest.raises(PliantError, match="not a finite number"):
        divergences(model().network, damaged.network, TOKENS)


@pytest.fixture
def text(tmp_path, monkeypatch):
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "text.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"{number} little birds sang all day. " * 4}) for number in range(60)))
    return str(path)


def test_a_change_is_compared_with_what_it_changed(text):
    base = model()
    measure = PredictionDivergence(data=text, part="all", samples=16)
    read = measure.against(base)
    with Quantize(bits=3).applied(base) as changed:
        found = read(changed)
    assert [reading.metric for reading in found] == ["kl", "kl_reverse", "jensen_shannon", "top1_flips"]
    assert found[0].estimate().value > 0
    assert all(not reading.values.any() for reading in (*measure.readings(base), *read(base))), "restored, it is the same again"
    pooled = Perturb(scale=0.05, draws=4, split=True).readings(base, measure)
    assert pooled[0].estimate().value > 0
