"""The one training loop, for pretraining and fine-tuning alike: read `train` from top to bottom.

Idea: AdamW on random crops of packed text. Everything a published method adds hangs on five calls (see `pliant.methods`).
Cost: 6 x parameters x tokens operations; the loop itself adds 1 to 2% at 8,784 parameters and nothing above.
What goes wrong: two runs agree bit for bit only on the same device and thread count; a high learning rate can undo in its
first steps what was learned before, or lose the run, which is why the loss is watched.
Source: AdamW, arXiv 1711.05101.
"""

from __future__ import annotations

import ctypes
import json
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING

from pliant.errors import PliantError
from pliant.methods import Compute, Memory, Method, Run
from pliant.progress import progress
from pliant.spec import digest
from pliant.train.log import Diverged, LossWatch, TrainingLog, thin
from pliant.train.recipe import Recipe
from pliant.train.state import State

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from pliant.data import Packed
    from pliant.models import Model

Attached = Sequence[tuple[Method, Memory]]
"""The methods of a run, each with what it keeps."""


def train(
    model: Model,
    packed: Packed,
    recipe: Recipe,
    *,
    seed: int = 0,
    methods: Sequence[Method] = (),
    folder: Path | None = None,
    save_every: float = 20.0,
    quiet: bool = False,
) -> TrainingLog:
    """Train `model.network` in place; its facts (`model.checkpoint`) are left to the caller, who finds the new ones in the log.

    Args:
        model: Network (any causal language model of transformers, on its device), tokenizer and facts.
        packed: The tokens of the training text.
        recipe: Budget, batch, learning rate, optimizer.
        seed: Decides data order, dropout and the methods' draws. The caller's random state is left untouched.
        methods: What alters training, innermost first.
        folder: Where the unfinished run is kept; one found there goes on, bit for bit as if never interrupted.
        save_every: Seconds between two saved states.
        quiet: Show no progress.

    Raises Diverged when the loss does, and PliantError when the text is too short, the vocabularies differ, or the state in
    `folder` is of another run or cannot be written. After an error the network holds the weights of the last step made.
    """
    _check(model, packed, recipe)
    _keep_freed_memory()
    run = Run(model, recipe.step_count(model.context), seed)
    state = State(folder, _identity(run, packed, recipe, methods) if folder else "", save_every)
    with _prepared(run, methods) as attached:  # moment 1: prepare
        optimizer = _adamw(run, recipe)
        parts = run, optimizer, [memory for _, memory in attached]
        watch = LossWatch(packed.vocab_size, state.load(*parts))
        compute = _compute(run, recipe, attached)  # moments 2 and 3: loss, gradients
        tokens_a_step = recipe.tokens_a_step(model.context)
        with progress(f"training {model.checkpoint.name}", run.steps * tokens_a_step, quiet=quiet) as advance:
            advance(len(watch.losses) * tokens_a_step)
            for step in range(len(watch.losses), run.steps):
                run.step, run.lr = step, recipe.rate(step, run.steps)
                loss = compute(_batch(packed, run, recipe))
                _step(optimizer, run.lr, recipe.clip)
                for method, memory in attached:
                    method.after_step(run, memory)  # moment 4
                watch.add(loss, run.lr)
                advance(tokens_a_step)
                if state.due():
                    state.save(*parts, watch.fetch())
        losses = watch.fetch()
        _check_weights(run)
        state.save(*parts, losses)
        for method, memory in reversed(attached):
            method.finish(run, memory)  # moment 5
    return _log(run, packed, recipe, losses, state.seconds)


def _compute(run: Run, recipe: Recipe, attached: Attached) -> Compute:
    """What makes a step's gradients: forward and backward passes of `recipe.batch` rows each, inside every method's `gradients`."""
    import torch
    from torch.nn.functional import cross_entropy

    network, parameters, device = run.network, list(run.parameters().values()), run.model.device

    def compute(tokens: Tensor) -> Tensor:
        for parameter in parameters:
            parameter.grad = None
        total = torch.zeros((), device=device)
        for rows in tokens.split(recipe.batch):
            with torch.autocast(device.type, torch.bfloat16, enabled=recipe.precision == "bf16"):
                logits = network(input_ids=rows[:, :-1], use_cache=False).logits
            plain = loss = cross_entropy(logits.float().flatten(0, 1), rows[:, 1:].flatten())
            for method, memory in attached:
                loss = method.loss(run, memory, rows, logits, loss)
            share = len(rows) / len(tokens)
            loss.backward(torch.full_like(loss, share))
            total += share * plain.detach()
        return total

    for method, memory in attached:
        compute = partial(method.gradients, run, memory, compute)
    return compute


def _step(optimizer: Optimizer, lr: float, clip: float) -> None:
    """Clip the gradients together, and let AdamW step."""
    from torch.nn.utils import clip_grad_norm_

    if clip:
        clip_grad_norm_([parameter for group in optimizer.param_groups for parameter in group["params"]], clip)
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.step()


def _batch(packed: Packed, run: Run, recipe: Recipe) -> Tensor:
    """The tokens of one optimizer step: (rows, length + 1)."""
    import torch

    rows = packed.batch(run.step, recipe.batch * recipe.accumulate, recipe.length or run.model.context, run.seed)
    return torch.from_numpy(rows).to(run.model.device, non_blocking=True)


def _adamw(run: Run, recipe: Recipe) -> Optimizer:
    """AdamW with decay on matrices alone, fused where the device has that."""
    from torch.optim import AdamW

    parameters = list(run.parameters().values())
    if not parameters:
        raise PliantError("every parameter is frozen; leave something to train")
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": recipe.weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    fused = run.model.device.type in ("cpu", "cuda", "xpu", "mps")
    return AdamW([group for group in groups if group["params"]], lr=recipe.lr, betas=recipe.betas, eps=recipe.epsilon, fused=fused)


@contextmanager
def _prepared(run: Run, methods: Sequence[Method]) -> Generator[Attached]:
    """The network in training mode with its methods attached, and random draws of the run's own; all undone on the way out."""
    import torch

    device, training = run.model.device, run.network.training
    with ExitStack() as undo, torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(run.seed)
        undo.callback(run.network.train, training)
        undo.callback(run.network.zero_grad)
        run.network.train()
        attached = [(method, Memory()) for method in methods]
        for method, memory in attached:
            undo.enter_context(memory.undo)
            method.prepare(run, memory)
        yield attached


def _check(model: Model, packed: Packed, recipe: Recipe) -> None:
    vocabulary = len(model.network.get_input_embeddings().weight)  # pyright: ignore[reportArgumentType]
    if packed.vocab_size > vocabulary:
        raise PliantError(
            f"the text has a vocabulary of {packed.vocab_size} tokens, the model one of {vocabulary}; tokenise it with the model's own"
        )
    if recipe.length is not None and recipe.length > model.context:
        raise PliantError(f"length {recipe.length} is more than the model's context of {model.context} tokens")


def _check_weights(run: Run) -> None:
    """The last step's damage shows in no loss. Raises Diverged."""
    for name, parameter in run.parameters().items():
        if not parameter.isfinite().all():
            raise Diverged(f"{name} is not finite after step {run.step}; lower the learning rate", run.step, lr=run.lr)


def _identity(run: Run, packed: Packed, recipe: Recipe, methods: Sequence[Method]) -> str:
    """Names everything the first steps of a run depend on; what may be continued with what."""
    described = [method.canonical() for method in methods]
    # methods may look at the length of the run, so only a run without any is the beginning of a longer one
    parts = [recipe.trajectory(run.steps), described, run.steps if methods else 0, run.seed, packed.fingerprint, run.model.weights()]
    return digest(json.dumps(parts, sort_keys=True))


def _log(run: Run, packed: Packed, recipe: Recipe, losses: Sequence[float], seconds: float) -> TrainingLog:
    tokens = run.steps * recipe.tokens_a_step(run.model.context)
    kept, every = thin(losses)
    return TrainingLog(
        steps=run.steps,
        tokens=tokens,
        unique_tokens=min(tokens, len(packed)),
        peak_lr=recipe.peak_rate(run.steps),
        final_lr=recipe.rate(run.steps, run.steps),
        schedule=recipe.schedule,
        losses=kept,
        steps_a_loss=every,
        seconds=seconds,
        tokens_per_second=tokens / seconds,
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
