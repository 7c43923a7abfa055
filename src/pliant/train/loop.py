"""The one training loop, for pretraining and fine-tuning alike: read `train` from top to bottom.

Idea: what is learned is an objective's (see `pliant.objectives`), how a recipe's, and everything a published method adds hangs on
five calls (see `pliant.methods`).
Cost: 6 x parameters x tokens operations; the loop itself adds 1 to 2% at 8,784 parameters and nothing above.
What goes wrong: two runs agree bit for bit only on the same device and thread count; a high learning rate can undo in its
first steps what was learned before, or lose the run, which is why the loss is watched.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError
from pliant.methods import Compute, Forward, Method, MethodState, Run, check_together
from pliant.models.heads import fit
from pliant.models.modules import in_mode
from pliant.objectives import Batch, Examples, Losses, Objective
from pliant.progress import progress
from pliant.spec import content_form, digest
from pliant.train.compiling import compiled, why_plain
from pliant.train.log import ADVICE, Diverged, LossWatch, TrainingLog, thin
from pliant.train.recipe import Recipe
from pliant.train.state import State

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from pliant.models import Model

Attached = Sequence[tuple[Method, MethodState]]
"""The methods of a run, each with what it keeps."""


def train(
    model: Model,
    objective: Objective,
    recipe: Recipe,
    *,
    seed: int = 0,
    methods: Sequence[Method] = (),
    folder: str | Path | None = None,
    save_every: float = 20.0,
    until: int | None = None,
    quiet: bool = False,
) -> TrainingLog:
    """Train `model.network` in place; its facts (`model.checkpoint`) are left to the caller, who finds the new ones in the log.

    A network of another task than the objective's gets a fresh head, by the seed (see `pliant.models.heads`).

    Args:
        model: Network (on its device), what makes its input, and facts.
        objective: What it is trained on: data, and what an example costs.
        recipe: Budget, batch, learning rate, optimizer.
        seed: Decides data order, dropout and the methods' draws. The caller's random state is left untouched.
        methods: What alters training, innermost first.
        folder: Where the unfinished run is kept; one found there goes on, bit for bit as if never interrupted.
        save_every: Seconds between two saved states.
        until: Stop after so many steps of the run as if they were all; from `folder` it goes on later.
        quiet: Show no progress.

    Raises Diverged when the loss does, and PliantError when the data is too short or not the model's, when the model cannot get the
    head that the objective needs, when two methods do not go together, or the state in
    `folder` is of another run or cannot be written. After an error the network holds the weights of the last step made.
    """
    check_together(methods)
    fit(model, objective.needs(), seed)
    _keep_freed_memory()
    run, examples = begun(model, objective, recipe, seed)
    end = run.steps if until is None else min(until, run.steps)
    plain = why_plain(recipe.compile, run.steps, methods, model.device.type)
    state = state_of(run, examples, recipe, methods, folder, save_every, compiles=not plain)
    with prepared(run, methods) as attached:  # moment 1: prepare
        optimizer = optimizer_of(run, recipe)
        parts = run, optimizer, [kept for _, kept in attached]
        watch = LossWatch(examples.chance, state.load(*parts), advice := _advice(methods))
        compute = _compute(run, run.network if plain else compiled(run.network), recipe, attached)  # moments 2 and 3: loss, gradients
        with progress(f"training {model.checkpoint.name}", end, quiet=quiet) as advance:
            advance(len(watch.losses))
            for step in range(len(watch.losses), end):
                run.step, run.lr = step, recipe.rate(step, run.steps)
                loss = compute(run.batch(step))
                _step(optimizer, run.lr, recipe.clip)
                for method, kept in attached:
                    method.after_step(run, kept)  # moment 4
                watch.add(loss, run.lr)
                advance(1)
                if state.due():
                    state.save(*parts, watch.fetch())
        losses = watch.fetch()
        _check_weights(run, advice)
        state.save(*parts, losses)
        run.step = len(losses) - 1  # also where a resumed run had made every step
        for method, kept in reversed(attached):
            method.finish(run, kept)  # moment 5
        model.adapter = run.adapter
    return _log(run, examples, recipe, losses, state.seconds, not plain)


def begun(model: Model, objective: Objective, recipe: Recipe, seed: int) -> tuple[Run, Examples]:
    """A run before its first step, and the examples it draws from. Raises PliantError for data that cannot be read or does not suffice."""
    examples = objective.examples(model, recipe.length)
    rows = recipe.batch * recipe.accumulate
    steps = recipe.step_count(model.context, objective.row_tokens)
    examples = objective.planned(examples, steps * rows)
    return Run(model, objective, steps, seed, lambda step: examples.batch(step, rows, seed).to(model.device)), examples


def state_of(
    run: Run,
    examples: Examples,
    recipe: Recipe,
    methods: Sequence[Method],
    folder: str | Path | None,
    every: float,
    *,
    compiles: bool = False,
) -> State:
    """Where the run's state is kept, every so many seconds."""
    named = _identity(run, recipe, methods, compiles=compiles) if folder else str
    rows = recipe.batch * recipe.accumulate
    return State(folder, lambda steps: named(run.objective.seen(examples, steps * rows)), every)


def _compute(run: Run, network: Any, recipe: Recipe, attached: Attached) -> Compute:
    """What makes a step's gradients: forward and backward passes of `recipe.batch` rows each, inside every method's `gradients`.

    `network` is the run's own, or that compiled.
    """
    import torch

    parameters, device = list(run.parameters().values()), run.model.device
    plain: list[Tensor] = []

    def forward(batch: Batch) -> Losses:
        with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
            losses = run.objective.losses(network, batch)
        plain.append(losses.mean().detach())
        return losses

    passing: Forward = forward
    for method, kept in attached:
        passing = partial(method.loss, run, kept, passing)

    def compute(batch: Batch) -> Tensor:
        for parameter in parameters:
            parameter.grad = None
        total, whole = torch.zeros((), device=device), batch.weights.sum()
        for rows in batch.split(recipe.batch):
            plain.clear()
            loss, share = passing(rows).mean(), rows.weights.sum() / whole
            loss.backward(share.to(loss.dtype))
            total += share * plain[0]
        return total

    computing: Compute = compute
    for method, kept in attached:
        computing = partial(method.gradients, run, kept, computing)
    return computing


def _step(optimizer: Optimizer, lr: float, clip: float) -> None:
    """Clip the gradients together, and let AdamW step."""
    from torch.nn.utils import clip_grad_norm_

    if clip:
        clip_grad_norm_([parameter for group in optimizer.param_groups for parameter in group["params"]], clip)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()


def optimizer_of(run: Run, recipe: Recipe) -> Optimizer:
    """The recipe's optimizer, with decay on matrices alone."""
    parameters = list(run.parameters().values())
    if not parameters:
        raise PliantError("every parameter is frozen; leave something to train")
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return recipe.optimizer.build([group for group in groups if group["params"]], recipe.lr, recipe.betas, recipe.epsilon)


@contextmanager
def prepared(run: Run, methods: Sequence[Method]) -> Generator[Attached]:
    """The network in training mode with its methods attached, and random draws of the run's own; all undone on the way out."""
    import torch

    device = run.model.device
    with ExitStack() as undo, torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(run.seed)
        undo.enter_context(in_mode(run.network, training=True))
        undo.callback(run.network.zero_grad)
        attached = [(method, MethodState()) for method in methods]
        for method, kept in attached:
            undo.enter_context(kept.undo)
            method.prepare(run, kept)
        yield attached


def _advice(methods: Sequence[Method]) -> str:
    """What a run with these methods may be made with where it diverges: a lower rate, or less of what drives weights as far."""
    also = [f"{method.kind}'s {name} ({getattr(method, name):g})" for method in methods for name in method.steep if getattr(method, name)]
    return ", or ".join([ADVICE, *also])


def _check_weights(run: Run, advice: str) -> None:
    """The last step's damage shows in no loss. Raises Diverged."""
    for name, parameter in run.parameters().items():
        if not parameter.isfinite().all():
            raise Diverged(f"{name} is not finite after step {run.step}; {advice}", run.step, lr=run.lr)


def _identity(run: Run, recipe: Recipe, methods: Sequence[Method], *, compiles: bool) -> Callable[[str], str]:
    """Names everything the first steps of a run depend on, given the data they saw; what may be continued with what."""
    described = [run.objective.described(), *map(content_form, methods)]
    # methods may look at the length of the run, so only a run without any is the beginning of a longer one
    before, behind = [recipe.trajectory(run.steps), described, run.steps if methods else 0, run.seed], [run.model.weights()]
    behind += ["compiled"] if compiles else []
    return lambda seen: digest(json.dumps([*before, seen, *behind], sort_keys=True))


def _log(run: Run, examples: Examples, recipe: Recipe, losses: Sequence[float], seconds: float, compiles: bool) -> TrainingLog:
    steps = len(losses)
    tokens = round(steps * recipe.batch * recipe.accumulate * examples.row_tokens)
    kept, every = thin(losses)
    return TrainingLog(
        steps=steps,
        tokens=tokens,
        unique_tokens=min(tokens, examples.unique),
        peak_lr=recipe.peak_rate(run.steps),
        final_lr=recipe.rate(steps, run.steps),
        schedule=recipe.schedule.kind,
        losses=kept,
        steps_a_loss=every,
        seconds=seconds,
        tokens_per_second=tokens / seconds,
        compiled=compiles,
        facts=run.facts,
    )


@cache
def _keep_freed_memory() -> None:
    """Let the C library keep up to 256 MB that a step frees for the next step, instead of giving it back to the system.

    Worth about 5% of the time of tiny models, whose steps otherwise fetch the same pages again and again. Linux only.
    """
    if sys.platform == "linux":
        mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
        if mallopt is not None:
            trim_threshold, mmap_threshold = -1, -3
            mallopt(trim_threshold, 1 << 28)
            mallopt(mmap_threshold, 1 << 25)
