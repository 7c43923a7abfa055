"""Penalties towards the start, and averages: the identities of their sheets, resuming, and batch norm."""

import json

import pytest
import torch
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.methods import METHODS, Ema, Ewc, L2Start, Lora, Method, Sfa, Swa, WiseFt
from pliant.models import build
from pliant.models.batch_norm import norms_with_statistics
from pliant.objectives import Label
from pliant.train import Recipe, train
from pliant.train.new_model import NewModel
from small_text import given

RECIPE = Recipe(lr=1e-2, steps=8, batch=4, length=16, warmup=0)
LR = 0.1


def fresh():
    return build("llama-16x1", load_tokenizer("ascii"))


def weights(model):
    return {name: p.detach().clone() for name, p in model.network.named_parameters()}


START = weights(fresh())


def run(text, *methods, folder=None, **changed):
    model = fresh()
    recipe = Recipe(**{**RECIPE.model_dump(exclude_none=True), **changed})
    log = train(model, given(text), recipe, methods=methods, folder=folder, save_every=0, quiet=True)
    return model, log


def sgd(text, *methods, steps=3, lr=LR):
    optimizer = {"sgd": {"momentum": 0.0}}
    shape = {"optimizer": optimizer, "weight_decay": 0.0, "clip": 0.0, "steps": steps, "lr": lr, "schedule": "constant"}
    return weights(run(text, *methods, **shape)[0])


def close(found, expected, atol=1e-6):
    return all(torch.allclose(found[name], expected[name], atol=atol, rtol=1e-5) for name in expected)


class Spy(Method):
    """Shows gradients and weights, and stops where asked."""

    seen: list
    at: int = 99

    def gradients(self, run, state, compute, batch):
        loss = compute(batch)
        self.seen.append({name: p.grad.clone() for name, p in run.parameters().items()})
        return loss

    def after_step(self, run, state):
        self.seen.append(weights(run.model))
        if run.step == self.at:
            raise KeyboardInterrupt

    def canonical(self):
        return {"kind": self.kind}


def spy(at=99):
    return Spy.model_construct(seen=[], at=at)


def test_a_penalty_is_its_gradient_also_where_steps_accumulate(text):
    plain, held = spy(), spy()
    run(text, plain, steps=1, batch=2, accumulate=2)
    run(text, L2Start(strength=3, to="zero"), held, steps=1, batch=2, accumulate=2)
    assert close(held.seen[0], {name: grad + 3 * START[name] for name, grad in plain.seen[0].items()})


def test_no_strength_is_plain_training_and_much_holds_the_weights(text):
    plain, log = run(text)
    none, _ = run(text, L2Start(strength=0))
    held, logged = run(text, L2Start(strength=1e4))
    assert weights(none).keys() == weights(plain).keys()
    assert close(weights(none), weights(plain), 0)
    distance = [sum((p - START[name]).norm() for name, p in weights(model).items()) for model in (held, plain)]
    assert distance[0] < 0.5 * distance[1]
    assert logged.losses[0] == log.losses[0]


def test_averaging_at_each_step_is_proximal_gradient_descent(text):
    """argmin of |w - v|^2 / (2 lr) + strength / 2 |w - start|^2, v the weights after the plain step, step by step."""
    strength = 2.5
    beta = LR * strength / (1 + LR * strength)
    expected = START
    for step in range(3):
        model = fresh()
        model.network.load_state_dict({**model.network.state_dict(), **expected})
        objective = given(text)
        rows = objective.examples(model, 16).batch(step, 4, 0)
        objective.losses(model.network.train(), rows).mean().backward()
        moved = {name: p.detach() - LR * p.grad for name, p in model.network.named_parameters()}
        expected = {name: (v / LR + strength * START[name]) / (1 / LR + strength) for name, v in moved.items()}
    assert close(sgd(text, Sfa(p=1e-9, beta=beta)), expected)


def test_averaging_once_is_wise_ft_and_an_interpolation(text):
    trained = weights(run(text)[0])
    once, wise = (weights(run(text, method)[0]) for method in (Sfa(p=1, beta=0.25), WiseFt(alpha=0.75)))
    assert close(once, wise, 0)
    assert close(wise, {name: 0.25 * START[name] + 0.75 * p for name, p in trained.items()})
    assert close(weights(run(text, Sfa(beta=0))[0]), trained, 0)
    assert close(weights(run(text, Sfa(beta=1))[0]), START, 0)


def test_a_last_average_is_made_once(text):
    """8 steps: K = 4 divides them, K = 3 does not."""
    for p, merges in ((0.5, [3, 7]), (0.375, [2, 5])):
        seen = spy()
        final = weights(run(text, seen, Sfa(p=p, beta=0.5))[0])
        before = seen.seen[-1]  # of the last step, before Sfa's turn
        assert close(final, {name: 0.5 * START[name] + 0.5 * w for name, w in before.items()}), merges


def test_with_lora_the_whole_update_shrinks(text):
    plain, wise = (weights(run(text, Lora(rank=2), *more)[0]) for more in ((), (WiseFt(alpha=0.4),)))
    assert close(wise, {name: START[name] + 0.4 * (p - START[name]) for name, p in plain.items()})


class Averaged(Method):
    """torch's own averages."""

    kind_of: object
    kept: list
    after: int = 0

    def after_step(self, run, state):
        if not self.kept:
            self.kept.append(AveragedModel(run.network, multi_avg_fn=self.kind_of))
        if run.step >= self.after:
            self.kept[0].update_parameters(run.network)


@pytest.mark.parametrize(("method", "theirs", "after"), [(Ema(decay=0.8), get_ema_multi_avg_fn(0.8), 0), (Swa(start=0.5), None, 4)])
def test_averages_are_torchs(text, method, theirs, after):
    kept = []
    model, log = run(text, Averaged.model_construct(kind_of=theirs, kept=kept, after=after), method)
    assert close(weights(model), dict(kept[0].module.named_parameters()))
    assert log.losses == run(text)[1].losses
    assert not close(weights(model), weights(run(text)[0]), 1e-4)


@pytest.mark.parametrize("method", [L2Start(strength=1), Sfa(p=0.25, beta=0.5), WiseFt(), Ema(decay=0.5), Swa(start=0.25, every=2)])
def test_a_killed_run_goes_on_bit_for_bit(text, tmp_path, method):
    whole = run(text, spy(), method)[0].weights()
    for at in (4, 7):  # 7: every step is made, and nothing finished
        with pytest.raises(KeyboardInterrupt):
            run(text, spy(at), method, folder=tmp_path / str(at))
        assert run(text, spy(), method, folder=tmp_path / str(at))[0].weights() == whole


@pytest.fixture
def labelled(tmp_path, cache):
    records = [{"text": f"{n} is {('red', 'green')[n % 2]}", "label": n % 2} for n in range(40)]
    (tmp_path / "data.jsonl").write_text("\n".join(map(json.dumps, records)))
    return Label(data=str(tmp_path / "data.jsonl"), part="all")


def test_fisher_information_is_the_mean_of_squared_gradients(labelled):
    """Of a linear head on frozen features h: (p - y) h, squared, over rows; from the head's inputs."""
    model = build("llama-16x1", load_tokenizer("ascii"), context=32)
    train(model, labelled, Recipe(lr=1e-2, steps=1, batch=4), quiet=True)
    before = weights(model)
    found = {}

    class Look(Method):
        def prepare(self, run, state):
            found.update(Ewc(old=labelled, strength=1, examples=20).fisher(run))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(model, labelled, Recipe(lr=1e-2, steps=1, batch=4), methods=[Look()], quiet=True)
    batch = labelled.examples(model, None).batch(0, 20, 0)
    kept = []
    hook = model.network.score.register_forward_pre_hook(lambda _, inputs: kept.append(inputs[0]))
    with torch.no_grad():
        logits = model.network.eval()(**batch.inputs).logits
    hook.remove()
    last = batch.inputs["attention_mask"].sum(1) - 1
    features = kept[0][torch.arange(20), last]
    error = logits.softmax(-1) - torch.nn.functional.one_hot(batch.targets, 2)
    expected = (error[:, :, None] * features[:, None, :]).square().mean(0)
    assert torch.allclose(found["score.weight"], expected, atol=1e-7)
    assert close(weights(model), before, 0)


def test_ewc_holds_what_old_data_depends_on(text, tmp_path, cache):
    (tmp_path / "old.txt").write_text("aaaa bbbb " * 100)
    old = {"next_token": {"data": str(tmp_path / "old.txt"), "part": "all"}}
    method = METHODS.parse({"ewc": {"old": old, "strength": 1e5, "examples": 4, "length": 16}})
    held, free, start = weights(run(text, method)[0]), weights(run(text)[0]), START["model.embed_tokens.weight"]
    moved = {"held": held["model.embed_tokens.weight"] - start, "free": free["model.embed_tokens.weight"] - start}
    a, e = (ord(letter) for letter in "ae")  # tokens of the ascii tokenizer; the old text has no e
    assert moved["held"][a].norm() < 0.5 * moved["free"][a].norm()
    assert moved["held"][e].norm() > 0.5 * moved["free"][e].norm() > 0
    assert [part.label() for part in method.content()], "the old data enters keys"


def test_ewc_refuses_another_head(text, labelled):
    with pytest.raises(PliantError, match="ewc: label needs a head for another task"):
        run(text, Ewc(old=labelled, strength=1))


def test_batch_norm_is_of_the_averaged_weights():
    objective = Label(data="builtin:digits")
    recipe = Recipe(lr=3e-2, steps=6, batch=32)
    start, found = (NewModel(preset="resnet-8x4").build(0, objective.needs()) for _ in range(2))
    train(found, objective, recipe, methods=[WiseFt(alpha=0.0)], quiet=True)
    assert close(weights(found), weights(start), 0)
    inputs = torch.cat([objective.examples(start, None).batch(step, 32, 0).inputs["pixel_values"] for step in range(6)])
    seen = start.network.get_submodule("trunk" if hasattr(start.network, "trunk") else "resnet").conv(inputs)
    first = norms_with_statistics(found.network)[0]
    assert torch.allclose(first.running_mean, seen.mean((0, 2, 3)), atol=1e-5)


@pytest.mark.parametrize(
    ("methods", "message"),
    [
        ([Ema(), Lora()], "does not go with lora: an average of LoRA's factors"),
        ([Lora(), L2Start(strength=1)], "the penalty would be on LoRA's factors"),
        ([Sfa(), Lora()], "sfa builds on what lora does: list lora before it"),
        ([Ema(), Swa()], "ema and swa both decide on one thing"),
        ([Ema(), Sfa()], "list sfa before it"),
    ],
)
def test_what_does_not_go_together_is_one_line(text, methods, message):
    with pytest.raises(PliantError, match=message):
        run(text, *methods)
