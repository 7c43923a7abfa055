"""What moving a weight matrix would cost, predicted from gradients: no evaluation of the moved weights.

Idea: near a minimum the loss rises by 1/2 d' H d when the weights move by d, and H is close to the Fisher matrix
F = E g g', g the gradient of log p(y) for labels y drawn from the model itself. So the rise is 1/2 E (g . d)^2, one inner
product per sequence, for any number of displacements d at once and without forming F.
When to use it: to rank layers, or to choose bits per layer, from one pass instead of one evaluation per layer and bit width.
Cost: one forward and one backward pass over the text; each displacement is made anew for each sequence.
What goes wrong: it is a second-order prediction, too small for large moves (2-3 bits) and without interactions between
layers. With n sequences its relative error is about sqrt(2/n).
Source: Fisher identity as in arXiv 2210.14199 (Bartlett); use for rounding as in the second-order literature since Optimal
Brain Damage. Our per-sequence form is derived in the docstring of `predicted_rises`.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

import numpy as np

from pliant.errors import PliantError, within
from pliant.measures.likelihood import NOT_A_NUMBER
from pliant.models.modules import evaluating
from pliant.objectives.next_token import token_losses
from pliant.progress import progress
from pliant.statistics import Array

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn

    from pliant.models import Model

Displace = Callable[[str, "Tensor"], Mapping[Hashable, "Tensor"]]
"""From a parameter's name and value to the moves to be judged, each of the parameter's shape, under names of the caller's."""


def predicted_rises(model: Model, windows: Sequence[Sequence[int]], displace: Displace, seed: int = 0) -> dict[tuple[str, Hashable], Array]:
    """Predicted rise of the loss, nats/token, for each parameter and each of its displacements: one value per window.

    For a window of T predicted tokens let g = sum_t grad log p(y_t), y_t drawn from the model at each position given the
    true context. The summands are independent with mean zero, so E g g' = T F with F the mean Fisher matrix per token,
    and the rise of the loss per token is 1/2 d' F d = E (g . d)^2 / (2 T).

    The parameters `displace` returns an empty mapping for cost nothing. Means of the values over windows are the
    prediction; their spread gives its standard error. The model is left as it was. Raises PliantError for losses and gradients
    that are not finite.
    """
    import torch

    network = model.network
    wanted = {name: p for name, p in network.named_parameters() if displace(name, p.detach())}
    generator = torch.Generator(device=model.device).manual_seed(seed)
    values: dict[tuple[str, Hashable], list[float]] = {}
    before = [(p, p.requires_grad, p.grad) for p in network.parameters()]
    mode = ExitStack()
    mode.enter_context(evaluating(network))
    try:
        for parameter, _, _ in before:
            parameter.requires_grad_(False)
            parameter.grad = None
        for parameter in wanted.values():
            parameter.requires_grad_(True)
        with progress("sensitivity", len(windows)) as advance:
            for window in windows:
                with within(model.checkpoint.address):
                    _log_likelihood_of_own_labels(network, torch.tensor([window], device=model.device), generator).backward()
                _collect(values, wanted, displace, len(window))
                advance(1)
    finally:
        for parameter, requires_grad, gradient in before:
            parameter.grad = gradient
            parameter.requires_grad_(requires_grad)
        mode.close()
    found = {key: np.array(rises) for key, rises in values.items()}
    for (name, _), rises in found.items():
        if not np.isfinite(rises).all():
            raise PliantError(f"{model.checkpoint.address}: the gradient of {name} is not finite; measure in a wider number type")
    return found


def _log_likelihood_of_own_labels(network: nn.Module, tokens: Tensor, generator: Generator) -> Tensor:
    """sum_t log p(y_t), with y_t drawn from the model's own predictions."""
    import torch

    logits = network(input_ids=tokens, use_cache=False).logits[0]
    logs = torch.log_softmax(logits.detach().float(), dim=-1)
    if bool(logs.isnan().any()):
        raise PliantError(NOT_A_NUMBER)
    labels = torch.multinomial(logs.exp(), 1, generator=generator)
    return -token_losses(logits, labels[:, 0]).sum()


def _collect(values: dict[tuple[str, Hashable], list[float]], wanted: dict[str, nn.Parameter], displace: Displace, tokens: int) -> None:
    """Note (g . d)^2 / 2T of every displacement, and drop the gradients."""
    for name, parameter in wanted.items():
        gradient = parameter.grad
        for key, displacement in displace(name, parameter.detach()).items():
            slope = 0.0 if gradient is None else float((gradient.float() * displacement.detach().float()).sum())
            values.setdefault((name, key), []).append(slope**2 / (2 * tokens))
        parameter.grad = None
