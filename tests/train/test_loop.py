import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from pliant.data import Corpus, load_tokenizer, packed
from pliant.errors import PliantError
from pliant.methods import Method
from pliant.models import build
from pliant.train import Diverged, Recipe, train
from pliant.train.schedules import Constant
from small_text import given

RECIPE = Recipe(lr=1e-2, steps=20, batch=8, length=32)


def fresh(seed=0, preset="llama-16x2"):
    return build(preset, load_tokenizer("ascii"), seed, context=64)


def trained(text, recipe=RECIPE, seed=0, preset="llama-16x2", **settings):
    model = fresh(preset=preset)
    log = train(model, given(text), recipe, seed=seed, quiet=True, **settings)
    return model, log


def weights(model):
    return {name: tensor.detach().clone() for name, tensor in model.network.named_parameters()}


def largest_difference(first, second):
    a, b = weights(first), weights(second)
    return max(float((a[name] - b[name]).abs().max()) for name in a)


def reference(text, steps, batch, length, lr, decay, clip, seed):
    """The same training written out by hand, AdamW and schedule included."""
    model = fresh()
    parameters = list(model.network.parameters())
    first, second = [torch.zeros_like(p) for p in parameters], [torch.zeros_like(p) for p in parameters]
    losses = []
    for step in range(steps):
        rate = lr * (step + 1) / (steps // 10) if step < steps // 10 else lr * 0.5
        rate = rate if step < steps // 10 else lr * (1 + np.cos(np.pi * (step - steps // 10) / (steps - steps // 10))) / 2
        rows = torch.from_numpy(text.batch(step, batch, length, seed))
        loss = cross_entropy(model.network(rows[:, :-1]).logits.flatten(0, 1), rows[:, 1:].flatten())
        gradients = torch.autograd.grad(loss, parameters)
        norm = torch.sqrt(sum(g.square().sum() for g in gradients))
        losses.append(loss.item())
        with torch.no_grad():
            for p, g, m, v in zip(parameters, gradients, first, second, strict=True):
                g = g * min(1.0, clip / (float(norm) + 1e-6))
                m.mul_(0.9).add_(0.1 * g)
                v.mul_(0.95).add_(0.05 * g * g)
                p.mul_(1 - rate * (decay if p.dim() > 1 else 0.0))
                p -= rate * (m / (1 - 0.9 ** (step + 1))) / ((v / (1 - 0.95 ** (step + 1))).sqrt() + 1e-8)
    return model, losses


def test_equals_a_loop_written_by_hand(text):
    model, log = trained(text, seed=3)
    expected, losses = reference(text, steps=20, batch=8, length=32, lr=1e-2, decay=0.1, clip=1.0, seed=3)
    assert log.losses == pytest.approx(losses, rel=2e-4)
    assert largest_difference(model, expected) < 2e-4  # weights have moved by about 0.1
    assert log.losses[-1] < log.losses[0] - 0.3


def test_what_the_log_says(text):
    _, log = trained(text, Recipe(lr=1e-2, tokens=8 * 32 * 20 + 100, batch=8, length=32))
    assert (log.steps, log.tokens, log.unique_tokens) == (20, 8 * 32 * 20, 8 * 32 * 20)
    assert (log.peak_lr, log.final_lr, log.schedule) == (1e-2, 0.0, "cosine")
    assert (len(log.losses), log.steps_a_loss) == (20, 1)
    assert log.tokens_per_second == pytest.approx(log.tokens / log.seconds)


@pytest.mark.parametrize("preset", ["llama-16x2", "gpt-neox-16x2"])
def test_accumulated_batches_equal_one_large_batch(text, preset):
    whole, one = trained(text, RECIPE, preset=preset)
    parts, many = trained(text, Recipe(lr=1e-2, steps=20, batch=2, accumulate=4, length=32), preset=preset)
    assert many.losses == pytest.approx(one.losses, rel=1e-4)
    assert largest_difference(whole, parts) < 1e-3
    other, _ = trained(text, Recipe(lr=1e-2, steps=20, batch=2, length=32), preset=preset)
    assert largest_difference(whole, other) > 1e-2


def test_the_same_seed_gives_the_same_weights(text):
    first, _ = trained(text)
    again, _ = trained(text)
    other, _ = trained(text, seed=1)
    assert first.weights() == again.weights() != other.weights()


def test_the_callers_random_state_and_mode_are_left_alone(text):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model = fresh()
    model.network.eval()
    facts = model.checkpoint
    train(model, given(text), RECIPE, quiet=True)
    assert torch.equal(torch.rand(3), expected)
    assert not model.network.training
    assert all(p.grad is None for p in model.network.parameters())
    assert model.checkpoint == facts


def test_weight_decay_is_for_matrices(text):
    recipe = RECIPE.model_copy(update={"weight_decay": 50.0, "schedule": Constant(), "warmup": 0})
    model, _ = trained(text, recipe)
    norms = {name: float(p.detach().norm()) for name, p in model.network.named_parameters()}
    start = {name: float(p.norm()) for name, p in weights(fresh()).items()}
    for name, norm in norms.items():
        assert (norm < 0.5 * start[name]) == ("norm" not in name)


def test_a_frozen_parameter_stays(text):
    model = fresh()
    before = weights(model)
    model.network.model.layers[0].requires_grad_(False)
    train(model, given(text), RECIPE, quiet=True)
    assert all(torch.equal(before[name], p) == name.startswith("model.layers.0") for name, p in model.network.named_parameters())


def test_bfloat16_learns_nearly_the_same_in_float32_weights(text):
    full, exact = trained(text, Recipe(lr=1e-2, steps=40, batch=8, length=32))
    half, rounded = trained(text, Recipe(lr=1e-2, steps=40, batch=8, length=32, precision="bf16"))
    assert {p.dtype for p in half.network.parameters()} == {torch.float32}
    assert rounded.losses != exact.losses
    assert rounded.losses == pytest.approx(exact.losses, rel=0.03)
    assert largest_difference(full, half) > 0


class Sabotage(Method):
    """Puts a NaN into the first parameter after a step."""

    step: int

    def after_step(self, run, memory):
        if run.step == self.step:
            with torch.no_grad():
                next(run.network.parameters()).view(-1)[0] = float("nan")


@pytest.mark.parametrize(("step", "found"), [(4, 5), (19, 19)])
def test_numbers_that_are_none_stop_the_run(text, step, found):
    with pytest.raises(Diverged, match=f"step {found}") as caught:
        trained(text, methods=[Sabotage(step=step)])
    assert caught.value.step == found


def test_a_learning_rate_far_too_high_is_reported(text):
    with pytest.raises(Diverged, match="lower the learning rate"):
        trained(text, Recipe(lr=100, steps=200, batch=8, length=32, clip=0, warmup=0, schedule="constant"))


def test_a_text_with_a_larger_vocabulary(text, text_file, cache):
    model = build("llama-16x2", load_tokenizer("ascii"))
    foreign = packed(Corpus(source=str(text_file)), load_tokenizer("bytes"))
    with pytest.raises(PliantError, match="vocabulary of 256 tokens, the model one of 128"):
        train(model, given(foreign), RECIPE, quiet=True)


@pytest.mark.parametrize(("fields", "message"), [({"length": 65}, "context of 64"), ({"batch": 10**6}, "fewer than one batch")])
def test_what_does_not_fit(text, fields, message):
    with pytest.raises(PliantError, match=message):
        trained(text, RECIPE.model_copy(update=fields))


def test_nothing_to_train(text):
    model = fresh()
    model.network.requires_grad_(False)
    with pytest.raises(PliantError, match="frozen"):
        train(model, given(text), RECIPE, quiet=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_on_a_gpu(text, precision, tmp_path):
    recipe = RECIPE.model_copy(update={"precision": precision})
    runs = []
    for folder in (tmp_path / "a", tmp_path / "b"):
        model = fresh()
        model.network.to("cuda")
        runs.append((model, train(model, given(text), recipe, folder=folder, save_every=0, quiet=True)))
    (first, log), (second, _) = runs
    assert first.device.type == "cuda"
    assert first.weights() == second.weights()
    _, on_cpu = trained(text)
    assert log.losses == pytest.approx(on_cpu.losses, rel=1e-3 if precision == "fp32" else 0.03)
