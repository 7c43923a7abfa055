"""Progressive layer dropping: blocks are skipped at random, more of them as training goes on and towards the top.

Idea: at step t block i of L is kept with p_i = 1 - (i / L) (1 - theta(t)), theta(t) = (1 - keep) exp(-gamma t) + keep, drawn once a step;
a block that is kept adds attention / p_i and MLP / p_i, so that nothing is to be scaled afterwards. gamma is 100 / steps unless it is
given.
When to use it: pretraining of deep networks whose norms stand in front (Llama, GPT-2, GPT-NeoX, ViT).
Cost: a skipped block is not run: with keep 0.5, (3 L - 1) / 4 of L blocks are in the end, 27% fewer of 12.
What goes wrong: networks with norms behind (BERT) are no identity without a block: refused, as is whatever is found not to be a sum. Few
blocks lose more than they save. DeepSpeed's released loop scales by the neighbour's p and never drops the first block; this one does as
the equation says.
Source: arXiv 2010.13369.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import exp
from typing import TYPE_CHECKING, Any

from pydantic import Field

from pliant.errors import PliantError
from pliant.methods.method import Compute, Method, MethodState, Run
from pliant.models.modules import blocks, evaluating, tensor_groups

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pliant.objectives import Batch

CACHES = ("past_key_values", "past_key_value", "layer_past")
"""What blocks call the keys and values of earlier tokens."""


@dataclass
class Gate:
    """Of one block: whether it is run, and by what its two sums are multiplied."""

    open: bool = True
    attention: float = 1.0
    mlp: float = 1.0
    extras: int = -1
    """What its answer holds beside hidden states; -1 where it answers with these alone."""


class ProgressiveLayerDropping(Method):
    """Skip blocks at random."""

    holds = frozenset({"blocks"})
    strength_field = "keep"
    strengths = (0.9, 0.7, 0.5)
    only_named = True
    refuses = (("trained", "a skipped block may hold all that is trained; it saves time where all weights are"),)
    keep: float = Field(0.5, gt=0, le=1, description="What theta falls to: the last block's probability of being kept in the end")
    gamma: float | None = Field(None, ge=0, description="How fast it falls, a step; 100 over the number of steps by default")

    def kept(self, step: int, steps: int, count: int) -> list[float]:
        """The probability of being kept of each of `count` blocks."""
        gamma = 100 / steps if self.gamma is None else self.gamma
        theta = (1 - self.keep) * exp(-gamma * step) + self.keep
        return [1 - number / count * (1 - theta) for number in range(1, count + 1)]

    def prepare(self, run: Run, state: MethodState) -> None:
        """Put a gate before each block. Raises PliantError for blocks that are not a sum of their input, attention and MLP."""
        stack = list(blocks(run.network).values())
        if not stack:
            raise PliantError(f"progressive_layer_dropping: {type(run.network).__name__} has no stack of blocks")
        state.objects["gates"] = gates = [Gate() for _ in stack]
        for block, gate in zip(stack, gates, strict=True):
            for part, layer in _writers(block).items():
                state.undo.callback(layer.register_forward_hook(_scaling(gate, part)).remove)
        for (block, call), gate in zip(_calls(run, stack), gates, strict=True):
            gate.extras = _check_sum(block, call, gate)
            state.undo.callback(delattr, block, "forward")
            block.forward = _gated(block.forward, gate)

    def gradients(self, run: Run, state: MethodState, compute: Compute, batch: Batch) -> Tensor:
        """With some of the blocks."""
        import torch

        gates: list[Gate] = state.objects["gates"]
        draws: list[float] = torch.rand(len(gates), dtype=torch.float64).tolist()
        for gate, p, draw in zip(gates, self.kept(run.step, run.steps, len(gates)), draws, strict=True):
            gate.open, gate.attention, gate.mlp = draw < p, 1 / p, 1 / p
        return compute(batch)


def _gated(forward: Callable[..., Any], gate: Gate) -> Callable[..., Any]:
    """A block's forward pass; of a closed gate its input."""

    def gated(*inputs: Any, **named: Any) -> Any:
        if gate.open:
            return forward(*inputs, **named)
        hidden = inputs[0] if inputs else named["hidden_states"]
        return hidden if gate.extras < 0 else (hidden, *[None] * gate.extras)

    return gated


def _scaling(gate: Gate, part: str) -> Callable[..., Any]:
    """A hook that multiplies what a layer adds to the sum."""

    def scaled(layer: nn.Module, inputs: Any, output: Tensor) -> Tensor | None:
        factor = getattr(gate, part)
        return None if factor == 1.0 else output * factor

    return scaled


def _writers(block: nn.Module) -> dict[str, nn.Module]:
    """The layers whose outputs enter a block's sum: the last of attention, and of the MLP."""
    groups = tensor_groups(block)
    if not {"attention", "mlp"} <= groups.keys():
        raise PliantError("progressive_layer_dropping: the network's blocks have no attention and MLP that could be told")
    return {part: block.get_submodule(groups[part][-1].rpartition(".")[0]) for part in ("attention", "mlp")}


def _calls(run: Run, stack: list[nn.Module]) -> list[tuple[nn.Module, Callable[[], Any]]]:
    """Each block with what calls it as two rows of the data do."""
    import torch

    seen: dict[nn.Module, tuple[Any, Any]] = {}

    def keep(block: nn.Module, inputs: Any, named: Any) -> None:
        seen[block] = inputs, {name: None if name in CACHES else value for name, value in named.items()}

    hooks = [block.register_forward_pre_hook(keep, with_kwargs=True) for block in stack]
    try:
        with evaluating(run.network), torch.no_grad():
            run.objective.losses(run.network, run.batch(0)[:2])
    finally:
        for hook in hooks:
            hook.remove()

    def call(block: nn.Module) -> Callable[[], Any]:
        inputs, named = seen[block]

        def again() -> Any:
            with evaluating(block), torch.no_grad():
                return inputs[0] if inputs else named["hidden_states"], block(*inputs, **named)

        return again

    return [(block, call(block)) for block in stack]


def _check_sum(block: nn.Module, call: Callable[[], Any], gate: Gate) -> int:
    """Without attention and MLP a block is to be its input, and twice as far from it with twice either of them; see `Gate.extras`."""
    import torch

    def added(attention: float, mlp: float) -> tuple[Tensor, int]:
        gate.attention, gate.mlp = attention, mlp
        hidden, answer = call()
        extras = len(answer) - 1 if isinstance(answer, tuple) else -1
        return (answer if extras < 0 else answer[0]) - hidden, extras

    nothing, extras = added(0, 0)
    once, twice = ([added(factor, 0)[0], added(0, factor)[0]] for factor in (1, 2))
    gate.attention = gate.mlp = 1.0
    near = [torch.allclose(2 * one, two, rtol=1e-2, atol=1e-3 * float(one.abs().max())) for one, two in zip(once, twice, strict=True)]
    if nothing.any() or not all(near):
        told = f"a block of {type(block).__name__} is not its input + attention + MLP (norms stand behind them), so it cannot be left out"
        raise PliantError(f"progressive_layer_dropping: {told}; it works where norms stand in front")
    return extras
