"""Bi-Drop and progressive layer dropping: the identities of their sheets, what is really run, and resuming."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.methods import BiDrop, Ema, Lora, Method, MethodState, ProgressiveLayerDropping, Run, Sam
from pliant.models import build
from pliant.models.modules import blocks, dropouts
from pliant.objectives import Label, Masked
from pliant.train import Recipe, train
from pliant.train.new_model import NewModel
from small_text import given

SGD = {"optimizer": {"sgd": {"momentum": 0.9}}, "lr": 0.1}


class Spy(Method):
    """Keeps gradients and weights of every step, and stops where asked."""

    seen: list
    at: int = 99

    def gradients(self, run, state, compute, batch):
        loss = compute(batch)
        self.seen.append({name: None if p.grad is None else p.grad.clone() for name, p in run.parameters().items()})
        return loss

    def after_step(self, run, state):
        if run.step == self.at:
            raise KeyboardInterrupt

    def canonical(self):
        return {"kind": self.kind}


def spy(at=99):
    return Spy.model_construct(seen=[], at=at)


def run(text, *methods, preset="llama-16x2", folder=None, **changed):
    model = build(preset, load_tokenizer("ascii"))
    recipe = Recipe(**{"lr": 1e-2, "steps": 4, "batch": 4, "length": 16, **changed})
    log = train(model, given(text), recipe, methods=methods, folder=folder, save_every=0, quiet=True)
    return model, log


def test_equal_passes_select_by_the_gradient_alone():
    """Without spread the score is mu^2 / eps; with it, a quarter of the weight doubles the rank of mu."""
    draw = torch.Generator().manual_seed(0)
    mean, weight = torch.randn(8, 9, generator=draw), torch.randn(8, 9, generator=draw)
    moved = BiDrop(keep=0.25).moved(mean, torch.zeros(8, 9), weight)
    assert moved.sum() == 18
    assert mean[moved].abs().min() > mean[~moved].abs().max()
    spread = torch.rand(8, 9, generator=draw) + 0.1
    moved = BiDrop(keep=0.25).moved(mean, spread, weight)
    score = (mean.square() / (weight.abs() * spread)).numpy()
    assert set(np.flatnonzero(moved.numpy())) == set(np.argsort(-score, axis=None)[:18])
    mean[:6] = 0
    assert not BiDrop(keep=0.9).moved(mean, spread, weight)[:6].any(), "what has no gradient does not move"


def test_all_kept_is_the_mean_of_the_passes(text):
    first, second, both = spy(), spy(), spy()
    torch.manual_seed(0)
    run(text, first, BiDrop(dropout=0.3, keep=1.0), both, steps=1, preset="gpt-neox-16x2")
    assert len(first.seen) == 2
    assert not torch.equal(*(seen["gpt_neox.layers.1.mlp.dense_h_to_4h.weight"] for seen in first.seen))
    for name, grad in both.seen[0].items():
        assert torch.allclose(grad, (first.seen[0][name] + first.seen[1][name]) / 2, atol=1e-7), name
    assert not second.seen


def test_masked_entries_do_not_move_whatever_optimizer_and_decay(text):
    start = dict(build("gpt-neox-16x2", load_tokenizer("ascii")).network.named_parameters())
    for changed in (SGD, {"weight_decay": 0.5}):
        kept = spy()
        model, _ = run(text, BiDrop(dropout=0.2, keep=0.3), kept, steps=1, preset="gpt-neox-16x2", warmup=0, **changed)
        for name, p in model.network.named_parameters():
            moved = p != start[name]
            if p.dim() >= 2:
                assert torch.equal(moved, kept.seen[0][name] != 0), name
                assert moved.sum() <= round(0.3 * p.numel()), name
    assert all(rate == 0 for _, _, rate in dropouts(model.network)), "its dropout is undone"


def test_a_network_that_drops_nothing_is_one_line(text):
    with pytest.raises(PliantError, match="bi_drop: the network drops nothing"):
        run(text, BiDrop())
    with pytest.raises(PliantError, match="both decide on one thing"):
        run(text, BiDrop(dropout=0.1), Sam())
    with pytest.raises(PliantError, match="list bi_drop before it"):
        run(text, Ema(), BiDrop(dropout=0.1))
    run(text, Lora(rank=2, dropout=0.1), BiDrop(), steps=1)


@pytest.mark.parametrize("method", [BiDrop(dropout=0.2), BiDrop(dropout=0.2, by="random"), ProgressiveLayerDropping(gamma=1.0)])
def test_a_killed_run_goes_on_bit_for_bit(text, tmp_path, method):
    whole = run(text, spy(), method)[0].weights()
    with pytest.raises(KeyboardInterrupt):
        run(text, spy(1), method, folder=tmp_path)
    assert run(text, spy(), method, folder=tmp_path)[0].weights() == whole


def test_the_schedule_of_dropping():
    method = ProgressiveLayerDropping(keep=0.5)
    assert method.kept(0, 1000, 12) == [1.0] * 12
    steps = [method.kept(step, 1000, 12) for step in range(1000)]
    assert all(after[i] < before[i] for before, after in pairwise(steps[:100]) for i in range(12))
    last = steps[-1]
    assert last == pytest.approx([1 - i / 12 * 0.5 for i in range(1, 13)])
    assert sum(last) == pytest.approx((3 * 12 - 1) / 4)
    assert np.mean([kept[-1] for kept in steps]) == pytest.approx(0.505, abs=1e-3)
    assert ProgressiveLayerDropping(gamma=0.0).kept(7, 10, 3) == [1.0] * 3


def test_skipped_blocks_are_not_run_and_nothing_is_left_behind(text):
    """The number of calls of attention is that of open gates, near the sum of p; without dropping it is all."""
    model = build("llama-16x6", load_tokenizer("ascii"))
    called = []
    for block in blocks(model.network).values():
        block.self_attn.register_forward_hook(lambda *_: called.append(torch.is_grad_enabled()))
    method = ProgressiveLayerDropping(keep=0.2, gamma=100.0)
    skipped = spy()
    recipe = Recipe(lr=1e-3, steps=40, batch=1, length=8)
    train(model, given(text), recipe, methods=[method, skipped], quiet=True)
    expected = sum(sum(method.kept(step, 40, 6)) for step in range(40))
    variance = sum(p * (1 - p) for step in range(40) for p in method.kept(step, 40, 6))
    assert abs(sum(called) - expected) < 3 * variance**0.5
    without = [sum(step[f"model.layers.{i}.mlp.up_proj.weight"] is None for step in skipped.seen) for i in range(6)]
    assert sum(without) == 40 * 6 - sum(called)
    assert without[0] < without[5]
    for block in blocks(model.network).values():
        assert "forward" not in vars(block)
        assert not block.mlp.down_proj._forward_hooks


def gated(preset, text):
    """A network with gates, the first block, and what calls the network and gives that block's input and output."""
    model, state, seen = build(preset, load_tokenizer("ascii")), MethodState(), []
    rows = given(text).examples(model, 8)
    ProgressiveLayerDropping().prepare(Run(model, given(text), 1, 0, lambda step: rows.batch(step, 2, 0)), state)
    block = next(iter(blocks(model.network).values()))
    block.register_forward_hook(lambda _, inputs, named, output: seen.append((inputs[0], output)), with_kwargs=True)

    def call(open_, scale):
        first = state.objects["gates"][0]
        first.open, first.attention, first.mlp = open_, scale, scale
        with torch.no_grad():
            model.network(**rows.batch(0, 2, 0).inputs, use_cache=False)
        x, y = seen.pop()
        return x, y if isinstance(y, torch.Tensor) else y[0]

    return block, state, call


def test_the_mean_over_gates_of_a_parallel_block_is_the_dense_block(text):
    """GPT-NeoX: x + attention(x) + MLP(x); p (x + attention / p + MLP / p) + (1 - p) x."""
    _, state, call = gated("gpt-neox-16x1", text)
    with state.undo:
        (x, dense), (_, opened), (_, closed) = call(True, 1.0), call(True, 1 / 0.3), call(False, 1 / 0.3)
    assert torch.equal(closed, x)
    assert torch.allclose(0.3 * opened + 0.7 * closed, dense, atol=1e-6)
    assert not torch.allclose(opened, dense, atol=1e-3)


def test_both_sums_of_a_block_are_scaled(text):
    """a = x + attention(x) / p; y = a + MLP(a) / p."""
    block, state, call = gated("llama-16x1", text)
    parts = []
    block.self_attn.o_proj.register_forward_pre_hook(lambda layer, inputs: parts.append(inputs[0] @ layer.weight.T))
    with state.undo:
        x, y = call(True, 2.0)
    with torch.no_grad():
        a = x + 2 * parts[-1]
        assert torch.allclose(y, a + 2 * block.mlp(block.post_attention_layernorm(a)), atol=1e-6)


def test_networks_with_norms_behind_are_refused(tmp_path, cache):
    (tmp_path / "text.txt").write_text("to be or not to be " * 60)
    model = build("bert-16x2", load_tokenizer("ascii"))
    before = model.weights()
    with pytest.raises(PliantError, match="norms stand behind them"):
        train(
            model,
            Masked(data=str(tmp_path / "text.txt"), part="all"),
            Recipe(lr=1e-3, steps=1, batch=2, length=16),
            methods=[ProgressiveLayerDropping()],
            quiet=True,
        )
    assert model.weights() == before
    assert all("forward" not in vars(block) for block in blocks(model.network).values())


@pytest.mark.parametrize("preset", ["vit-16x2", "llama-16x2"])
def test_images_and_labels_are_learned_with_fewer_blocks(preset, tmp_path, cache):
    objective = Label(data="builtin:digits")
    if preset == "llama-16x2":
        (tmp_path / "data.csv").write_text("text,label\n" + "".join(f"{n} is {('red', 'green')[n % 2]},{n % 2}\n" for n in range(40)))
        objective = Label(data=str(tmp_path / "data.csv"), part="all")
        model = build(preset, load_tokenizer("ascii"), context=32)
    else:
        model = NewModel(preset=preset).build(0, objective.needs())
    log = train(model, objective, Recipe(lr=1e-2, steps=12, batch=8), methods=[ProgressiveLayerDropping(gamma=1.0)], quiet=True)
    assert np.isfinite(log.losses).all()


def test_adapters_are_refused(text):
    with pytest.raises(PliantError, match="progressive_layer_dropping does not go with lora"):
        run(text, Lora(), ProgressiveLayerDropping())
