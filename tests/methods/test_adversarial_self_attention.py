"""Adversarial self-attention: its identities, and that nothing of it is left."""

import json

import numpy as np
import pytest
import torch
from torch.nn.functional import kl_div

from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.methods import AdversarialSelfAttention, Lora, Method, MethodState, Run, Sam
from pliant.methods.adversarial_self_attention import PARTS, adam, divergence
from pliant.models import build
from pliant.models.attention import linked
from pliant.models.heads import fit
from pliant.objectives import Answers, Label, Masked, Regression
from pliant.train import Recipe, train
from pliant.train.new_model import NewModel
from small_text import given

RECIPE = Recipe(lr=1e-2, steps=4, batch=2, accumulate=2, length=12)


class Forward(AdversarialSelfAttention):
    """With the sigmoid's gradient as it is, not reversed."""

    def links(self, state, name, hidden, blocked):
        reversed_ = super().links(state, name, hidden, blocked)
        return 2 * reversed_.detach() - reversed_


class Held(AdversarialSelfAttention):
    """Links that nobody learns."""

    def links(self, state, name, hidden, blocked):
        return super().links(state, name, hidden, blocked).detach()


class AllThere(AdversarialSelfAttention):
    """Cuts nothing."""

    def links(self, state, name, hidden, blocked):
        return torch.ones(len(hidden), *blocked.shape[1:])


def prepared(method, text, preset="llama-16x2"):
    """Gradients of what the method returns, less the loss where asked: of the network and of the adversary, by name."""
    model = build(preset, load_tokenizer("ascii"))
    objective = given(text)
    rows = objective.examples(model, 8).batch(0, 3, 0)
    run, state = Run(model, objective, 1, 0, lambda _: rows), MethodState()
    torch.manual_seed(1)
    method.prepare(run, state)
    adversary = {name: tensor.requires_grad_() for name, tensor in state.tensors.items() if name.endswith(PARTS)}
    losses = method.loss(run, state, lambda batch: objective.losses(model.network, batch), rows)
    plain = objective.losses(model.network, rows)
    return model, adversary, losses.mean(), plain.mean(), method


def grads(value, tensors):
    return torch.autograd.grad(value, list(tensors.values()), retain_graph=True, materialize_grads=True)


def test_the_divergence_is_half_the_sum_of_both_kls():
    one, other = torch.randn(2, 5, 7, generator=torch.Generator().manual_seed(0)).double()
    p, q = one.log_softmax(-1), other.log_softmax(-1)
    both = [kl_div(a, b, log_target=True, reduction="none").sum(-1) for a, b in ((p, q), (q, p))]
    assert torch.allclose(divergence(one, other), (both[0] + both[1]) / 2)
    assert divergence(one, one).abs().max() == 0


def test_all_links_kept_diverge_nowhere_and_cost_their_number(text):
    _, _, found, plain, method = prepared(AllThere(tau=0.5), text)
    links = 2 * 8 * 8  # both layers, of one row
    assert found.item() == pytest.approx(plain.item() + method.tau**2 * links, rel=1e-6)


def test_the_adversarys_gradient_is_reversed_and_the_network_has_none_through_the_links(text):
    """total = loss + x; the adversary follows -x, and the loss is none of its own."""
    model, adversary, total, plain, _ = prepared(AdversarialSelfAttention(), text)
    _, same, straight, loss, _ = prepared(Forward(), text)
    found, expected = grads(total, adversary), grads(straight - loss, same)
    assert all(torch.allclose(a, -b, rtol=1e-4, atol=1e-5 * b.abs().max()) for a, b in zip(found, expected, strict=True))
    assert any(grad.abs().max() > 0 for grad in found)
    held, _, without, _, _ = prepared(Held(), text)
    trunk = [grads(value, dict(network.network.named_parameters())) for value, network in ((total, model), (without, held))]
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(*trunk, strict=True))
    assert plain.item() == loss.item()


def test_kept_links_are_zero_or_one_and_never_open_the_future(text):
    model = build("llama-16x2", load_tokenizer("ascii"))
    ids, seen = torch.randint(0, 128, (2, 9), generator=torch.Generator().manual_seed(0)), []

    def some(layer, hidden, blocked):
        kept = (torch.rand(2, 9, 9, generator=torch.Generator().manual_seed(3)) > 0.5).float()
        seen.append(blocked)
        return kept

    with torch.no_grad(), linked(model.network.eval(), some):
        first = model.network(ids, use_cache=False).logits
        ids[:, -1] += 1
        second = model.network(ids, use_cache=False).logits
    assert torch.equal(first[:, :-1], second[:, :-1])
    assert all(torch.equal(blocked[0], torch.ones(9, 9).triu(1).bool()) for blocked in seen)


def test_rows_with_every_link_cut_see_all_alike(text):
    """As with scores of zero."""
    model = build("llama-16x1", load_tokenizer("ascii"))
    ids = torch.randint(0, 128, (1, 6), generator=torch.Generator().manual_seed(0))
    with torch.no_grad(), linked(model.network.eval(), lambda layer, hidden, blocked: torch.zeros(1, 6, 6)):
        cut = model.network(ids, use_cache=False).logits
    with torch.no_grad():
        model.network.model.layers[0].self_attn.q_proj.weight.zero_()
        assert torch.allclose(model.network(ids, use_cache=False).logits, cut, atol=1e-5)


def test_its_steps_are_adams():
    tensor, theirs = torch.ones(3), torch.nn.Parameter(torch.ones(3))
    optimizer, moments = torch.optim.Adam([theirs], lr=0.1), [torch.zeros(3), torch.zeros(3)]
    for step in range(1, 5):
        theirs.grad = torch.tensor([1.0, -2.0, 0.1]) * step
        optimizer.step()
        adam(tensor, theirs.grad, *moments, 0.1, step)
    assert torch.allclose(tensor, theirs.detach(), atol=1e-6)


class Interrupt(Method):
    at: int = 99

    def after_step(self, run, state):
        if run.step == self.at:
            raise KeyboardInterrupt

    def canonical(self):
        return {"kind": self.kind}


def run(text, *methods, preset="llama-16x2", folder=None, at=99, recipe=RECIPE):
    model = build(preset, load_tokenizer("ascii"))
    train(model, given(text), recipe, methods=[Interrupt(at=at), *methods], folder=folder, save_every=0, quiet=True)
    return model


@pytest.mark.parametrize("preset", ["llama-16x2", "gpt-neox-16x2"])
def test_a_killed_run_goes_on_bit_for_bit_and_leaves_a_plain_network(text, tmp_path, preset):
    whole, other = (run(text, AdversarialSelfAttention(tau=tau), preset=preset) for tau in (0.5, 0.0))
    with pytest.raises(KeyboardInterrupt):
        run(text, AdversarialSelfAttention(), preset=preset, folder=tmp_path, at=1)
    assert run(text, AdversarialSelfAttention(), preset=preset, folder=tmp_path).weights() == whole.weights()
    assert other.weights() != whole.weights() != run(text, preset=preset).weights()
    names = [name for name, _ in whole.network.named_modules()]
    assert names == [name for name, _ in build(preset, load_tokenizer("ascii")).network.named_modules()]
    assert whole.network.config._attn_implementation == build(preset, load_tokenizer("ascii")).network.config._attn_implementation
    assert not any(module._forward_pre_hooks for module in whole.network.modules())


@pytest.fixture
def files(tmp_path, cache):
    rows = [
        {"text": f"{n} is {('red', 'green')[n % 2]}", "label": n % 2, "question": f"{n}?", "answer": "yes " * (1 + n % 5)}
        for n in range(40)
    ]
    (tmp_path / "labels.jsonl").write_text("\n".join(json.dumps({"text": row["text"], "label": row["label"]}) for row in rows))
    (tmp_path / "answers.jsonl").write_text("\n".join(json.dumps({name: row[name] for name in ("question", "answer")}) for row in rows))
    (tmp_path / "text.txt").write_text("to be or not to be " * 60)
    return tmp_path


def objectives(files):
    return [
        ("bert-16x2", Label(data=str(files / "labels.jsonl"), part="all")),
        ("llama-16x2", Label(data=str(files / "labels.jsonl"), part="all")),
        ("llama-16x2", Answers(data=str(files / "answers.jsonl"), part="all")),
        ("bert-16x2", Masked(data=str(files / "text.txt"), part="all")),
    ]


def test_any_objective_that_predicts_a_distribution_is_learned(files):
    for preset, objective in objectives(files):
        model = build(preset, load_tokenizer("ascii"), context=32)
        log = train(model, objective, Recipe(lr=3e-3, steps=6, batch=8), methods=[AdversarialSelfAttention()], quiet=True)
        assert np.isfinite(log.losses).all()
    objective = Label(data="builtin:digits")
    model = NewModel(preset="vit-16x1").build(0, objective.needs())
    train(model, objective, Recipe(lr=3e-3, steps=2, batch=8), methods=[AdversarialSelfAttention()], quiet=True)


def test_distributions_are_those_that_the_losses_are_of(files):
    """The negative log-probability of the targets, summed over a row's predictions, is the row's total."""
    for preset, objective in objectives(files):
        model = build(preset, load_tokenizer("ascii"), context=32)
        fit(model, objective.needs(), 0)
        batch = objective.examples(model, None).batch(0, 8, 0)
        with torch.no_grad():
            losses = objective.losses(model.network.eval(), batch)
        logits, rows = objective.distributions(losses, batch)
        totals = torch.zeros(8)
        for row in range(8):
            targets = batch.targets[row].flatten()
            own = logits[rows == row].log_softmax(-1)
            totals[row] = -own.gather(1, targets[targets >= 0][:, None]).sum()
        assert torch.allclose(totals, losses.totals, atol=1e-4), objective.kind


@pytest.mark.parametrize(
    ("methods", "message"),
    [([Sam(), AdversarialSelfAttention()], "both decide on one thing"), ([AdversarialSelfAttention(), Lora()], "list lora before it")],
)
def test_what_it_does_not_go_with(text, methods, message):
    with pytest.raises(PliantError, match=message):
        run(text, *methods)


def test_what_it_cannot_do_is_one_line(files):
    objective = Label(data="builtin:digits")
    model = NewModel(preset="mlp-16x1").build(0, objective.needs())
    with pytest.raises(PliantError, match="links cannot be cut"):
        train(model, objective, Recipe(lr=1e-3, steps=1, batch=2), methods=[AdversarialSelfAttention()], quiet=True)
    (files / "numbers.csv").write_text("text,value\n" + "".join(f"{n} is,{n / 7}\n" for n in range(20)))
    numbers = Regression(data=str(files / "numbers.csv"), part="all")
    model = build("llama-16x1", load_tokenizer("ascii"), context=32)
    with pytest.raises(PliantError, match="regression predicts no distribution"):
        train(model, numbers, Recipe(lr=1e-3, steps=1, batch=2), methods=[AdversarialSelfAttention()], quiet=True)
