"""What every training method is: five moments of one plain loop.

A method is a frozen description (its fields are its YAML form). What it keeps while a run lasts lives in a `MethodState` that the
loop makes for it, so the same description serves many runs, and a killed run resumes with the method's tensors. Override the
moments you need; the others do nothing. The loop in `pliant.train.loop` shows the five calls. How known methods map to them:

| method | moments |
|---|---|
| LoRA | `prepare`: freeze the network, put adapters in (taken out by `state.undo`); `finish`: merge them into the weights |
| quantization-aware training | `prepare`: linear layers round in their forward pass; `finish`: record the bits |
| SAM | `gradients`: compute, climb rho along the gradient, compute again, step back down; per example: row by row |
| Bi-Drop | `gradients`: compute several times under dropout, compare, mask what is unstable |
| gradient mask | `prepare`: draw or read the mask into `state.tensors`; `gradients`: compute, then multiply |
| L2 to the start, EWC | `prepare`: copy the anchor; `gradients`: compute, then add the penalty's |
| example weights, robust losses | `loss`: reweigh the rows of `forward(batch)` |
| adversarial inputs | `loss`: `forward(perturbed batch)`, with or without `forward(batch)` beside it |
| penalty on activations | `prepare`: hook that keeps them in `state.objects`; `loss`: add the penalty |
| adversarial self-attention | `loss`: two forward passes; `gradients`: the adversary's own step |
| layer dropping | `prepare`: wrap the layers with gates; `gradients`: draw the gates for `run.progress`, then compute |
| AutoFT | `loss`: add losses of the pass's predictions; `gradients`: compute, then add the norms' |
| weight averaging, SFA | `prepare`: copy; `after_step`: average every so often; `finish`: put the average in place |

Two moments wrap what they are part of: `gradients` a whole optimizer step, `loss` one forward pass. A step that accumulates makes
several passes, and `loss` sees the rows of each before and after they go through the network; so an adversary never meets the
rows of another pass. Methods nest in the order they are listed: the first one prepares first and finishes last, and its `loss` and
`gradients` are innermost; so adapters come before what averages them. `after_step` goes in the order of the list.
What does not go together is refused before anything is read (`check_together`): each method says what it holds, of which there can be one,
what it refuses to be beside, and what it has to be listed behind:

| methods | hold | refuse beside them |
|---|---|---|
| lora, dora, probe | which parameters are trained | each other |
| l2_start, ewc | nothing | lora, dora |
| sfa, wise_ft | the pull to the start | each other, dora |
| ema, swa | the average | each other, lora, dora |
| sam, bi_drop, adversarial_self_attention | how gradients are made | each other |
| progressive_layer_dropping | the blocks | lora, dora, probe |
| adversarial | the inputs | each other |
| activation_penalty, qat, autoft | nothing | nothing |

Random draws use torch's global generators, which the loop seeds and saves. What goes wrong: a method that keeps tensors in
`state.objects` loses them when the run is killed; use `state.tensors`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

from pliant.errors import PliantError
from pliant.spec import Spec

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter
    from transformers import PreTrainedModel

    from pliant.models import Model
    from pliant.models.adapters import Adapter
    from pliant.objectives import Batch, Losses, Objective

Forward = Callable[["Batch"], "Losses"]
"""One forward pass: from a batch to what each of its rows cost."""

Compute = Callable[["Batch"], "Tensor"]
"""From a batch of any size to its mean loss; leaves fresh mean gradients in `.grad` of every trained parameter."""


@dataclass
class Run:
    """What a method may see of the run it is part of."""

    model: Model
    objective: Objective
    steps: int
    """Optimizer steps of the whole run."""
    seed: int
    batch: Callable[[int], Batch]
    """The rows of a step, on the model's device."""
    step: int = 0
    """The step being made, counted from 0; in `finish` the last one that was made."""
    lr: float = 0.0
    """Learning rate of this step."""
    facts: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the method makes true of the resulting checkpoint, by `Checkpoint` field: `{"training_bits": 4}`."""
    adapter: Adapter | None = None
    """What a method that adapts leaves beside the merged weights."""

    linear_in: set[str] | None = None
    """The trained parameters in which the network's weights are linear, where that is not all of them: of LoRA's factors, one."""

    @property
    def network(self) -> PreTrainedModel:
        """The network being trained."""
        return self.model.network

    @property
    def progress(self) -> float:
        """The fraction of the run that is done before this step: 0 at the first one, below 1 at the last."""
        return self.step / self.steps

    def parameters(self) -> dict[str, Parameter]:
        """The parameters being trained, tied ones once, by name."""
        return {name: parameter for name, parameter in self.network.named_parameters() if parameter.requires_grad}


@dataclass
class MethodState:
    """What one method keeps during one run."""

    tensors: dict[str, Tensor] = field(default_factory=dict[str, "Tensor"])
    """Saved with the run's state and put back, over what `prepare` made, when the run resumes."""
    objects: dict[str, Any] = field(default_factory=dict[str, Any])
    """Hooks, modules, captured activations: made anew by `prepare` when the run resumes."""
    undo: ExitStack = field(default_factory=ExitStack)
    """Closed when the run ends, whether it finished, diverged or was interrupted: what must not outlive the run."""


class Method(Spec):
    """Base of all training methods: five moments, each optional."""

    holds: ClassVar[frozenset[str]] = frozenset()
    """What it takes hold of, of which a run has one: "trained" (which parameters are), "start", "average", "gradients" ..."""
    refuses: ClassVar[tuple[tuple[str, str], ...]] = ()
    """What no other method of the run may hold, and why."""
    follows: ClassVar[frozenset[str]] = frozenset()
    """Behind the holders of what it is listed, where there are any."""
    strength_field: ClassVar[str] = ""
    """The field that a search tunes beside the learning rate, where there is one."""
    strengths: ClassVar[tuple[Any, ...]] = ()
    """Values of it worth trying, weakest first; `pliant decide method` tries every method that has some, unless told which."""
    only_named: ClassVar[bool] = False
    """Whether a search that is not told which methods to try leaves it out: it takes much longer a step, or is for special cases."""
    steep: ClassVar[tuple[str, ...]] = ()
    """Fields that make a run diverge where they are too high, as a learning rate does."""
    rate_factor: ClassVar[float] = 1.0
    """How many times the learning rate of full fine-tuning it usually takes: where a search begins."""

    @property
    def factors_alone(self) -> bool:
        """Whether all it does is to train `lora_A` and `lora_B` beside linear layers, so that several runs can share passes."""
        return False

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if cls.strength_field and cls.strength_field not in cls.model_fields:
            raise TypeError(f"{cls.__name__}.strength_field names no field: {cls.strength_field!r}")

    def prepare(self, run: Run, state: MethodState) -> None:
        """Before the optimizer is made: alter the network, freeze parameters, copy anchors. Called again when a run resumes."""

    def loss(self, run: Run, state: MethodState, forward: Forward, batch: Batch) -> Losses:
        """Make one forward pass over `batch`: `forward(batch)` once, several times, of other inputs, with something added.

        What it returns is what gradients are taken of; the log keeps the loss of the first `forward` alone.
        """
        return forward(batch)

    def gradients(self, run: Run, state: MethodState, compute: Compute, batch: Batch) -> Tensor:
        """Make the gradients of this step: `compute(batch)` once, several times, in parts, or with something done between.

        Leaves them in `.grad` and returns the loss to be logged.
        """
        return compute(batch)

    def after_step(self, run: Run, state: MethodState) -> None:
        """After the optimizer's step."""

    def finish(self, run: Run, state: MethodState) -> None:
        """After the last step: leave in the network what is to be kept, and tell `run.facts`."""


def check_together(methods: Sequence[Method]) -> None:
    """Raises PliantError where two of the methods do not go together, or not in this order."""
    for number, method in enumerate(methods):
        for place, other in enumerate(methods):
            if place == number:
                continue
            if place < number and (both := method.holds & other.holds):
                raise PliantError(f"{other.kind} and {method.kind} both decide on one thing ({min(both)}); leave one of them out")
            if reasons := [reason for thing, reason in method.refuses if thing in other.holds]:
                raise PliantError(f"{method.kind} does not go with {other.kind}: {reasons[0]}")
            if place > number and method.follows & other.holds:
                raise PliantError(f"{method.kind} builds on what {other.kind} does: list {other.kind} before it")
