"""The five moments, seen from methods written here."""

import pytest
import torch

from pliant.data import load_tokenizer
from pliant.methods import METHODS, Method
from pliant.models import build
from pliant.spec.yaml import parse_yaml
from pliant.train import Diverged, Recipe, train
from pliant.train.schedules import Constant
from small_text import given

RECIPE = Recipe(lr=1e-2, steps=6, batch=4, length=16)


def fresh():
    return build("llama-16x2", load_tokenizer("ascii"))


def run(text, *methods, recipe=RECIPE, folder=None):
    model = fresh()
    return model, train(model, given(text), recipe, methods=methods, folder=folder, save_every=0, quiet=True)


class Diary(Method):
    """Notes every moment in a list of the test's own."""

    name: str
    diary: list

    def prepare(self, run, state):
        self.diary.append((self.name, "prepare", run.network.training))
        state.undo.callback(self.diary.append, (self.name, "undo"))

    def loss(self, run, state, forward, batch):
        losses = forward(batch)
        self.diary.append((self.name, "loss", len(batch), tuple(losses.output.logits.shape)))
        return losses

    def gradients(self, run, state, compute, batch):
        self.diary.append((self.name, "before gradients", run.step))
        loss = compute(batch)
        self.diary.append((self.name, "after gradients", run.step))
        return loss

    def after_step(self, run, state):
        self.diary.append((self.name, "after step", run.step, run.lr, run.progress))

    def finish(self, run, state):
        self.diary.append((self.name, "finish"))


def test_the_five_moments_in_their_order(text):
    diary = []
    first, second = (Diary.model_construct(name=name, diary=diary) for name in "ab")
    run(text, first, second, recipe=RECIPE.model_copy(update={"steps": 2, "batch": 2, "accumulate": 2, "warmup": 0}))
    loss = [(name, "loss", 2, (2, 16, 128)) for name in "ab"]
    step = lambda number, lr: [  # noqa: E731
        ("b", "before gradients", number),
        ("a", "before gradients", number),
        *loss,
        *loss,
        ("a", "after gradients", number),
        ("b", "after gradients", number),
        ("a", "after step", number, lr, number / 2),
        ("b", "after step", number, lr, number / 2),
    ]
    assert diary == [
        ("a", "prepare", True),
        ("b", "prepare", True),
        *step(0, 1e-2),
        *step(1, 0.5e-2),
        ("b", "finish"),
        ("a", "finish"),
        ("b", "undo"),
        ("a", "undo"),
    ]


def test_a_method_that_does_nothing_changes_nothing(text):
    plain, log = run(text)
    same, logged = run(text, Diary.model_construct(name="a", diary=[]))
    assert plain.weights() == same.weights()
    assert log.losses == logged.losses


class Broken(Method):
    """Makes the loss no number."""

    def gradients(self, run, state, compute, batch):
        return compute(batch) * float("nan")


def test_what_a_method_did_is_undone_when_the_run_fails(text):
    diary = []
    with pytest.raises(Diverged):
        run(text, Diary.model_construct(name="a", diary=diary), Broken())
    assert diary[-1] == ("a", "undo")
    assert ("a", "finish") not in diary


class Anchor(Method):
    """L2 penalty towards the start: `prepare` and `loss`."""

    strength: float

    def prepare(self, run, state):
        state.tensors.update({name: p.detach().clone() for name, p in run.parameters().items()})

    def loss(self, run, state, forward, batch):
        distance = sum((p - state.tensors[name]).square().sum() for name, p in run.parameters().items())
        return forward(batch).plus(self.strength / 2 * distance)


def distance(model):
    return sum((p - q).square().sum().item() for p, q in zip(model.network.parameters(), fresh().network.parameters(), strict=True))


def test_a_penalty_holds_the_weights_back(text):
    free, log = run(text)
    held, logged = run(text, Anchor(strength=100))
    zero, _ = run(text, Anchor(strength=0))
    assert distance(held) < 0.5 * distance(free)
    assert zero.weights() == free.weights()
    assert logged.losses[0] == log.losses[0], "the log holds the loss without the penalty"


class Sam(Method):
    """Sharpness-aware minimisation: `gradients`."""

    rho: float

    def gradients(self, run, state, compute, batch):
        loss = compute(batch)
        parameters = list(run.parameters().values())
        norm = torch.stack([p.grad.norm() for p in parameters]).norm()
        steps = [self.rho * p.grad / norm for p in parameters]
        with torch.no_grad():
            for p, step in zip(parameters, steps, strict=True):
                p += step
        compute(batch)
        with torch.no_grad():
            for p, step in zip(parameters, steps, strict=True):
                p -= step
        return loss


def test_sam_uses_the_gradient_uphill(text):
    """One step of SAM against the same step by hand."""
    recipe = RECIPE.model_copy(update={"steps": 1, "clip": 0})
    found, _ = run(text, Sam(rho=0.05), recipe=recipe)
    by_hand = fresh()
    parameters = list(by_hand.network.parameters())
    rows = torch.from_numpy(text.batch(0, 4, 16, 0))

    def gradients():
        logits = by_hand.network(rows[:, :-1]).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), rows[:, 1:].flatten())
        return torch.autograd.grad(loss, parameters)

    start = [p.detach().clone() for p in parameters]
    first = gradients()
    norm = torch.sqrt(sum(g.square().sum() for g in first))
    with torch.no_grad():
        for p, g in zip(parameters, first, strict=True):
            p += 0.05 * g / norm
    uphill = gradients()
    for name, p, before, g, flat in zip(
        dict(by_hand.network.named_parameters()), found.network.parameters(), start, uphill, first, strict=True
    ):
        decayed = before * (1 - 1e-2 * 0.1) if p.dim() > 1 else before
        # Adam's first step is lr x g / (|g| + eps): the sign of the gradient at the point uphill
        expected = decayed - 1e-2 * g / (g.abs() + 1e-8)
        clear = g.abs() > 1e-5
        assert torch.allclose(p[clear], expected[clear], atol=1e-5), name
        assert not torch.equal(g, flat)


class HalfTheRows(Method):
    """A gradient mask, drawn once: `prepare`, `gradients`. Kept in state, so that a resumed run has the same one."""

    def prepare(self, run, state):
        state.tensors["mask"] = torch.rand(128, 1).round()

    def gradients(self, run, state, compute, batch):
        loss = compute(batch)
        run.network.get_input_embeddings().weight.grad.mul_(state.tensors["mask"])
        return loss


def test_a_masked_row_only_decays(text):
    """Rows without gradient are moved by weight decay alone: by the product of 1 - lr x 0.1."""
    model, _ = run(text, HalfTheRows())
    kept = 1.0
    for step in range(6):
        kept *= 1 - RECIPE.rate(step, 6) * 0.1
    before, after = fresh().network.get_input_embeddings().weight, model.network.get_input_embeddings().weight
    still = torch.isclose(after, kept * before, rtol=1e-5).all(1)
    torch.manual_seed(0)
    assert torch.equal(still, torch.rand(128, 1).round()[:, 0] == 0)
    assert 0 < still.sum() < 128


class Average(Method):
    """The mean of the weights after every step: `prepare`, `after_step`, `finish`."""

    def prepare(self, run, state):
        state.tensors.update({name: torch.zeros_like(p) for name, p in run.parameters().items()})

    def after_step(self, run, state):
        for name, p in run.parameters().items():
            state.tensors[name] += p.detach() / run.steps

    def finish(self, run, state):
        with torch.no_grad():
            for name, p in run.parameters().items():
                p.copy_(state.tensors[name])


def test_averaged_weights_are_delivered(text):
    constant = RECIPE.model_copy(update={"schedule": Constant(), "warmup": 0})
    averaged, log = run(text, Average(), recipe=constant)
    total = [torch.zeros_like(p) for p in averaged.network.parameters()]
    for steps in range(1, 7):  # at a constant rate a shorter run is the beginning of a longer one
        stage, _ = run(text, recipe=constant.model_copy(update={"steps": steps}))
        total = [t + p.detach() / 6 for t, p in zip(total, stage.network.parameters(), strict=True)]
    assert all(torch.allclose(a, p, atol=1e-6) for a, p in zip(total, averaged.network.parameters(), strict=True))
    assert log.losses == run(text, recipe=constant)[1].losses


class Adapter(Method):
    """LoRA on the output projections, merged in the end: `prepare`, `finish`."""

    rank: int = 2

    def prepare(self, run, state):
        run.network.requires_grad_(False)
        state.objects["layers"] = [layer.self_attn.o_proj for layer in run.network.model.layers]
        for projection in state.objects["layers"]:
            projection.down = torch.nn.Parameter(torch.randn(self.rank, 16))
            projection.up = torch.nn.Parameter(torch.zeros(16, self.rank))
            hook = projection.register_forward_hook(lambda layer, inputs, output: output + inputs[0] @ layer.down.T @ layer.up.T)
            state.undo.callback(self._detach, projection, hook)
        state.undo.callback(run.network.requires_grad_, True)

    def _detach(self, projection, hook):
        hook.remove()
        del projection.down, projection.up

    def finish(self, run, state):
        with torch.no_grad():
            for projection in state.objects["layers"]:
                projection.weight += projection.up @ projection.down


def test_an_adapter_is_trained_alone_and_merged(text, tmp_path):
    merged, log = run(text, Adapter(), recipe=RECIPE.model_copy(update={"steps": 30}))
    assert log.losses[-1] < log.losses[0]
    before, after = dict(fresh().network.named_parameters()), dict(merged.network.named_parameters())
    assert before.keys() == after.keys()
    assert all(p.requires_grad for p in after.values())
    for name in before:
        change = after[name] - before[name]
        assert change.any() == ("o_proj" in name)
        if "o_proj" in name:
            assert torch.linalg.matrix_rank(change, atol=1e-5) == 2


def test_adapters_are_averaged_before_they_are_merged(text):
    constant = RECIPE.model_copy(update={"schedule": Constant(), "warmup": 0, "steps": 2, "clip": 0})
    averaged, _ = run(text, Adapter(), Average(), recipe=constant)
    first, second = (run(text, Adapter(), recipe=constant.model_copy(update={"steps": steps}))[0] for steps in (1, 2))
    before = fresh().network.model.layers[0].self_attn.o_proj.weight

    def change(model):
        return (model.network.model.layers[0].self_attn.o_proj.weight - before).detach()

    # after one step `up` has moved and `down` has not, so the product of means is not the mean of products; but it is close
    mean = (change(first) + change(second)) / 2
    assert torch.allclose(change(averaged), mean, atol=0.05 * mean.abs().max().item())
    assert not torch.allclose(change(averaged), change(second), atol=0.05 * mean.abs().max().item())


class KillAfter(Method):
    """Interrupts the run after a step."""

    step: int

    def after_step(self, run, state):
        if run.step == self.step:
            raise KeyboardInterrupt

    def canonical(self):
        return {}


@pytest.mark.parametrize("method", [HalfTheRows(), Anchor(strength=1.0), Average(), Adapter()], ids=lambda method: method.kind)
def test_methods_resume_with_what_they_kept(text, tmp_path, method):
    whole, _ = run(text, method, KillAfter(step=99))
    with pytest.raises(KeyboardInterrupt):
        run(text, method, KillAfter(step=3), folder=tmp_path)
    resumed, _ = run(text, method, KillAfter(step=99), folder=tmp_path)
    assert resumed.weights() == whole.weights()


def test_the_catalog_has_a_card_for_every_method():
    import inspect

    for kind, method in METHODS.specs().items():
        card = inspect.getmodule(method).__doc__
        assert all(word in card for word in ("Idea:", "When to use", "Cost:", "What goes wrong", "Source:")), kind
        assert all(field.description for field in method.model_fields.values()), kind


def test_what_is_tuned_about_a_method_is_a_field_of_it():
    for kind in METHODS.values():
        assert bool(kind.strength_field) == bool(kind.strengths)
        needed = {"old": "next_token: {data: builtin:prose}"} if "old" in kind.model_fields else {}
        needed = {name: parse_yaml(text, name) for name, text in needed.items()}
        for value in kind.strengths:
            assert getattr(kind.parse({**needed, kind.strength_field: value}), kind.strength_field) == value
    with pytest.raises(TypeError, match="strength_field names no field: 'pull'"):
        type("Pulled", (Method,), {"strength_field": "pull", "__module__": __name__})
