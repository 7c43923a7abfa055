"""AutoFT's losses: each against its formula written out, the objective against autograd, and what is refused."""

import json

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.methods import METHODS, AutoFt, Lora
from pliant.methods.autoft import LOSSES, contrastive, predictions
from pliant.models import build
from pliant.objectives import OBJECTIVES, Answers, Label
from pliant.train import Recipe, train
from small_text import given

LOGITS = torch.tensor([[2.0, 1.0, 0.5], [0.1, 0.2, 3.0], [1.0, 1.5, -1.0]])
ANSWERS = torch.tensor([0, 1, 1])
PLAIN = {"optimizer": {"sgd": {"momentum": 0.0}}, "weight_decay": 0.0, "clip": 0.0, "schedule": "constant", "warmup": 0}


def entropies(logits):
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    return -(chances * np.log(chances)).sum(1)


def test_every_loss_of_predictions_is_its_formula():
    z, y = LOGITS.double().numpy(), ANSWERS.numpy()
    hinge = [sum(max(0.0, z[n, c] - z[n, y[n]] + 1) for c in range(3) if c != y[n]) for n in range(3)]
    expected = {"entropy": entropies(z), "dcm": (z.argmax(1) != y) * entropies(z), "hinge": hinge}
    for name, loss in LOSSES.items():
        assert torch.allclose(loss(LOGITS.double(), ANSWERS), torch.tensor(np.array(expected[name])), atol=1e-12), name


def test_dcm_takes_no_gradient_through_the_indicator_and_its_weight_makes_wrong_answers_surer():
    logits = LOGITS.double().requires_grad_()
    (found,) = torch.autograd.grad(LOSSES["dcm"](logits, ANSWERS).sum(), logits)
    (whole,) = torch.autograd.grad(LOSSES["entropy"](logits, ANSWERS).sum(), logits)
    assert torch.equal(found, whole * torch.tensor([[0.0], [1.0], [0.0]]))
    stepped = LOGITS.double() - 0.1 * found
    assert LOSSES["entropy"](stepped, ANSWERS)[1] < LOSSES["entropy"](LOGITS.double(), ANSWERS)[1]


def test_the_contrastive_loss_is_clips_both_ways():
    draw = np.random.default_rng(0)
    x, y = draw.normal(size=(5, 4)), draw.normal(size=(5, 4))
    similar = (x / np.linalg.norm(x, axis=1, keepdims=True)) @ (y / np.linalg.norm(y, axis=1, keepdims=True)).T / 0.07
    ways = [-np.mean(np.diag(s - np.log(np.exp(s).sum(1, keepdims=True)))) for s in (similar, similar.T)]
    assert contrastive(torch.tensor(x), torch.tensor(y)).item() == pytest.approx(np.mean(ways), rel=1e-5)


def classifier():
    needs = Label.parse({"data": "builtin:digits"}).needs()
    return build("cnn-8x2", images=needs.images, labels=needs.labels)


def step(model, objective, *methods, **changed):
    recipe = Recipe(**{**PLAIN, "lr": 0.1, "steps": 1, "batch": 16, **changed})
    train(model, objective, recipe, methods=methods, quiet=True)
    return {name: p.detach().clone() for name, p in model.network.named_parameters()}


def test_one_step_follows_the_gradient_of_the_whole_objective_as_autograd_has_it():
    """All eight at once, on digits, from weights that are off their start; and with the norms' gradients at the start."""
    objective = Label.parse({"data": "builtin:digits"})
    weights = {name: 0.3 + number for number, name in enumerate(AutoFt.model_fields)}
    model = classifier()
    start = {name: p.detach().clone() for name, p in model.network.named_parameters()}
    found = step(model, objective, AutoFt(**weights))

    model = classifier()
    batch = objective.examples(model, None).batch(0, 16, 0)
    vectors = []
    head = [module for module in model.network.modules() if isinstance(module, torch.nn.Linear)][-1]
    head.register_forward_hook(lambda _, inputs, __: vectors.append(inputs[0]))
    model.network.train()
    torch.manual_seed(0)
    z, y = model.network(**batch.inputs).logits, batch.targets
    p = dict(model.network.named_parameters())
    count = sum(one.numel() for one in p.values())
    total = cross_entropy(z, y) + weights["flyp"] * contrastive(vectors[0], head.weight[y])
    total = total + sum(weights[name] * LOSSES[name](z, y).mean() for name in ("dcm", "entropy", "hinge"))
    total = total + weights["l1_zero"] / count * sum(one.abs().sum() for one in p.values())
    total = total + weights["l2_zero"] / count * sum(one.square().sum() for one in p.values())
    expected = torch.autograd.grad(total, list(p.values()))
    for (name, before), gradient in zip(start.items(), expected, strict=True):
        assert torch.allclose(found[name], before - 0.1 * gradient, atol=1e-6), name


def test_distances_from_the_start_are_nothing_there_and_pull_back_afterwards():
    objective = Label.parse({"data": "builtin:digits"})
    plain, held = step(classifier(), objective), step(classifier(), objective, AutoFt(l1_init=100, l2_init=1e4))
    assert all(torch.equal(plain[name], held[name]) for name in plain)
    start = {name: p.detach() for name, p in classifier().network.named_parameters()}
    count = sum(p.numel() for p in start.values())
    twice, pulled = step(classifier(), objective, steps=2), step(classifier(), objective, AutoFt(l1_init=100, l2_init=1e4), steps=2)
    for name, before in start.items():
        away = plain[name] - before
        expected = twice[name] - 0.1 * (100 * away.sign() + 2e4 * away) / count
        assert torch.allclose(pulled[name], expected, atol=1e-5), name


def test_without_weights_nothing_changes_and_an_accumulated_step_is_the_step(text):
    fresh, recipe = lambda: build("llama-16x1", load_tokenizer("ascii")), {"lr": 0.1, "length": 16}
    plain, none = (step(fresh(), given(text), *methods, **recipe) for methods in ((), (AutoFt(),)))
    assert all(torch.equal(plain[name], none[name]) for name in plain)
    method = AutoFt(dcm=0.5, entropy=0.2, hinge=0.01, l2_zero=1)
    whole = step(fresh(), given(text), method, batch=8, **recipe)
    parts = step(fresh(), given(text), method, batch=2, accumulate=4, **recipe)
    assert all(torch.allclose(whole[name], parts[name], atol=1e-6) for name in whole)
    assert not all(torch.allclose(whole[name], plain[name], atol=1e-6) for name in whole)


def test_the_answers_of_language_models_are_matched_to_their_predictions(tmp_path, monkeypatch):
    """Cross-entropy made from what `predictions` finds is the objective's own, row by row, also where rows are sorted by length."""
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    rows = [{"question": f"what is {n}?", "answer": "x" * (1 + 7 * n % 31)} for n in range(24)]
    (tmp_path / "qa.jsonl").write_text("\n".join(map(json.dumps, rows)))
    model, objective = build("llama-16x1", load_tokenizer("ascii"), context=64), Answers.parse({"data": str(tmp_path / "qa.jsonl")})
    batch = objective.examples(model, None).batch(0, 8, 0)
    losses = objective.losses(model.network, batch)
    logits, answers, places = predictions(objective, losses, batch)
    sums = torch.zeros(8).index_add(0, places, cross_entropy(logits, answers, reduction="none"))
    assert torch.allclose(sums, losses.totals, atol=1e-4)


@pytest.mark.parametrize("method", [AutoFt(dcm=1, flyp=1), AutoFt(l2_init=1)])
def test_what_has_no_meaning_is_refused(text, method):
    others = (Lora(rank=2),) if method.l2_init else ()
    with pytest.raises(PliantError, match=r"LoRA's factors|flyp is for classifiers"):
        step(build("llama-16x1", load_tokenizer("ascii")), given(text), *others, method, length=16)


def test_labels_of_texts_work_with_a_decoder_and_probabilities_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "hard.csv").write_text("text,label\n" + "\n".join(f"{'good' if n % 2 else 'bad'} {n},{n % 2}" for n in range(60)))
    soft = [{"text": f"text {n}", "label": [0.25, 0.75]} for n in range(60)]
    (tmp_path / "soft.jsonl").write_text("\n".join(map(json.dumps, soft)))
    method = METHODS.parse({"autoft": {"dcm": 0.5, "flyp": 0.5}})
    hard = OBJECTIVES.parse({"label": {"data": str(tmp_path / "hard.csv")}})
    plain, found = (step(build("llama-16x1", load_tokenizer("ascii")), hard, *methods, batch=4, lr=0.1) for methods in ((), (method,)))
    assert not all(torch.allclose(plain[name], found[name], atol=1e-6) for name in plain)
    objective = OBJECTIVES.parse({"label": {"data": str(tmp_path / "soft.jsonl")}})
    for one in (AutoFt(dcm=1), AutoFt(flyp=1)):
        with pytest.raises(PliantError, match="probabilities"):
            step(build("llama-16x1", load_tokenizer("ascii")), objective, one, batch=4)
