"""Several continuations of one context, read with it once: the same losses as each read by itself."""

import numpy as np
import pytest

from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.measures import branches
from pliant.measures.branches import Ending, ending_losses
from pliant.measures.likelihood import sequence_losses
from pliant.models import build, paths

GROUPS = [
    [("a question that is somewhat long:", " yes"), ("a question that is somewhat long:", " certainly not"), ("a question that is", " x")],
    [("one:", " A"), ("one:", " B"), ("one:", " C")],
    [("nothing", " in"), ("common", " here")],
    [("alone with a long context that is read", " once")],
    [("short?", " the same beginning, one end"), ("short?", " the same beginning, other end")],
]


def endings(groups):
    return [[Ending(np.frombuffer((context + text).encode(), np.uint8).astype(np.int32), len(text)) for context, text in g] for g in groups]


def plainly(model, groups):
    flat = [ending for group in groups for ending in group]
    return [loss[-ending.count :] for loss, ending in zip(sequence_losses(model.network, [e.tokens for e in flat]), flat, strict=True)]


@pytest.mark.parametrize("preset", ["llama-16x2", "gpt-neox-16x2"])
@pytest.mark.parametrize(("batch_tokens", "call_cost"), [(None, paths.CALL_COST), (60, paths.CALL_COST), (None, 0), (7, 10**9)])
def test_the_losses_are_those_of_each_sequence_by_itself(preset, batch_tokens, call_cost, monkeypatch):
    """Whatever shares a batch, or a call of attention: everything, some, or nothing; the network is seen to be read so."""
    model = build(preset, load_tokenizer("ascii"), 0, context=96)
    monkeypatch.setattr(paths, "CALL_COST", call_cost)
    groups = endings([*GROUPS, [("a", text) for text in ["b", "cc", "ddd", "eeee", "fffff", "gggggg", "hhhhhhh", "iiiiiiii"]]])
    plain = plainly(model, groups)
    found = [loss for group in ending_losses(model.network, groups, batch_tokens) for loss in group]
    assert branches._agreed[model.network] == max(len(ending.tokens) for group in groups for ending in group)
    assert len(found) == len(plain)
    for ours, theirs in zip(found, plain, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_a_context_is_read_once(monkeypatch):
    """As many tokens go through the network as the context and the answers have, less the last of each answer; across groups too."""
    model = build("llama-16x2", load_tokenizer("ascii"), 0, context=96)
    monkeypatch.setattr(branches, "_agrees", lambda *_: True)
    read = []

    def note(_, __, given):  # the head's own passes read no tokens
        read.append(given["input_ids"].numel() if given.get("position_ids") is not None else 0)

    model.network.get_decoder().register_forward_pre_hook(note, with_kwargs=True)
    context = "a context of some length, all of which is one stem:"
    ending_losses(model.network, endings([[(context, "1234"), (context, "5678")], [(context, "90ab"), (context + "123", "4")]]))
    assert sum(read) == len(context) + 3 * 3


def test_attention_by_products_is_that_of_the_kernel(monkeypatch):
    """Both ways to attend, with heads that share keys and runs of unlike length."""
    model = build("llama-16x2", load_tokenizer("ascii"), 0, context=96)
    groups = endings(GROUPS)
    products = [loss for group in ending_losses(model.network, groups) for loss in group]
    monkeypatch.setattr(paths, "PLAIN", set())
    kernel = [loss for group in ending_losses(model.network, groups) for loss in group]
    for ours, theirs in zip(products, kernel, strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_a_network_that_cannot_be_told_of_branches_is_read_plainly(monkeypatch):
    """One that ignores positions: branches would come out wrong, and are seen to."""
    model = build("llama-16x2", load_tokenizer("ascii"), 0, context=96)
    rotary = model.network.model.rotary_emb
    plain_forward = rotary.forward

    def from_zero(x, position_ids):
        import torch

        return plain_forward(x, torch.arange(x.shape[1])[None].expand(x.shape[0], -1))

    monkeypatch.setattr(rotary, "forward", from_zero)
    groups = endings(GROUPS)
    found = [loss for group in ending_losses(model.network, groups) for loss in group]
    for ours, theirs in zip(found, plainly(model, groups), strict=True):
        assert ours == pytest.approx(theirs, abs=1e-5)


def test_damaged_weights_are_no_numbers():
    model = build("llama-16x2", load_tokenizer("ascii"), 0, context=96)
    model.network.lm_head.weight.data[:] = np.nan
    with pytest.raises(PliantError, match="not a finite number"):
        ending_losses(model.network, endings(GROUPS))
    assert ending_losses(model.network, []) == []
