"""What every optimizer is: from parameters and a recipe's numbers to something with `step()`, as PyTorch has it.

Its state is saved and put back tensor by tensor (`pliant.train.state`), so an optimizer keeps what it remembers in `state[parameter]`,
as tensors by name, and nothing elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pliant.spec import Spec

if TYPE_CHECKING:
    from torch.optim import Optimizer as TorchOptimizer


class Optimizer(Spec):
    """Base of all optimizers. Abstract: a subclass writes `build`."""

    def build(self, groups: list[dict[str, Any]], lr: float, betas: tuple[float, float], epsilon: float) -> TorchOptimizer:
        """The optimizer of `groups`, each with `params` and its decoupled `weight_decay`; the loop sets the rate before every step.

        `betas` and `epsilon` are the recipe's, for those that read them.
        """
        raise NotImplementedError
