"""What every training method is: five moments of one plain loop.

A method is a frozen description (its fields are its YAML form). What it keeps while a run lasts lives in a `Memory` that the
loop makes for it, so the same description serves many runs, and a killed run resumes with the method's tensors. Override the
moments you need; the others do nothing. The loop in `pliant.train.loop` shows the five calls. How known methods map to them:

| method | moments |
|---|---|
| LoRA | `prepare`: freeze the network, put adapters in (taken out by `memory.undo`); `finish`: merge them into the weights |
| quantization-aware training | `prepare`: linear layers round in their forward pass; `finish`: record the bits |
| SAM | `gradients`: compute, climb rho along the gradient, compute again, step back down; per example: row by row |
| Bi-Drop | `gradients`: compute several times under dropout, compare, mask what is unstable |
| gradient mask | `prepare`: draw or read the mask into `memory.tensors`; `gradients`: compute, then multiply |
| L2 to the start, EWC | `prepare`: copy the anchor; `loss`: add the penalty |
| penalty on activations | `prepare`: hook that keeps them in `memory.objects`; `loss`: add the penalty |
| layer dropping | `prepare`: wrap the layers with gates; `gradients`: draw the gates for `run.share`, then compute |
| weight averaging, SFA | `prepare`: copy; `after_step`: average every so often; `finish`: put the average in place |

Methods nest in the order they are listed: the first one prepares first and finishes last, and its `gradients` is innermost; so
adapters come before what averages them. `loss` and `after_step` go in the order of the list.
Random draws use torch's global generators, which the loop seeds and saves. What goes wrong: a method that keeps tensors in
`memory.objects` loses them when the run is killed; use `memory.tensors`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pliant.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter
    from transformers import PreTrainedModel

    from pliant.models import Model

Compute = Callable[["Tensor"], "Tensor"]
"""From tokens (rows, length + 1) to their mean loss; leaves fresh mean gradients in `.grad` of every trained parameter."""


@dataclass
class Run:
    """What a method may see of the run it is part of."""

    model: Model
    steps: int
    """Optimizer steps of the whole run."""
    seed: int
    step: int = 0
    """The step being made, counted from 0."""
    lr: float = 0.0
    """Learning rate of this step."""
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the method makes true of the resulting checkpoint, by `Checkpoint` field: `{"training_bits": 4}`."""

    @property
    def network(self) -> PreTrainedModel:
        """The network being trained."""
        return self.model.network

    @property
    def share(self) -> float:
        """How much of the run is done before this step: 0 at the first one, below 1 at the last."""
        return self.step / self.steps

    def parameters(self) -> dict[str, Parameter]:
        """The parameters being trained, tied ones once, by name."""
        return {name: parameter for name, parameter in self.network.named_parameters() if parameter.requires_grad}


@dataclass
class Memory:
    """What one method keeps during one run."""

    tensors: dict[str, Tensor] = field(default_factory=dict[str, "Tensor"])
    """Saved with the run's state and put back, over what `prepare` made, when the run resumes."""
    objects: dict[str, Any] = field(default_factory=dict[str, Any])
    """Hooks, modules, captured activations: made anew by `prepare` when the run resumes."""
    undo: ExitStack = field(default_factory=ExitStack)
    """Closed when the run ends, whether it finished, diverged or was interrupted: what must not outlive the run."""


class Method(Spec):
    """Base of all training methods: five moments, each optional."""

    def prepare(self, run: Run, memory: Memory) -> None:
        """Before the optimizer is made: alter the network, freeze parameters, copy anchors. Called again when a run resumes."""

    def loss(self, run: Run, memory: Memory, tokens: Tensor, logits: Tensor, loss: Tensor) -> Tensor:
        """The loss to minimise, given the one so far (scalar, nats/token): add to it.

        tokens: (rows, length + 1), inputs and the last target; logits: (rows, length, vocabulary).
        """
        return loss

    def gradients(self, run: Run, memory: Memory, compute: Compute, tokens: Tensor) -> Tensor:
        """Make the gradients of this step: `compute(tokens)` once, several times, in parts, or with something done between.

        Leaves them in `.grad` and returns the loss to be logged.
        """
        return compute(tokens)

    def after_step(self, run: Run, memory: Memory) -> None:
        """After the optimizer's step."""

    def finish(self, run: Run, memory: Memory) -> None:
        """After the last step: leave in the network what is to be kept, and tell `run.facts`."""
