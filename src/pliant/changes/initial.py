"""The standard deviation with which each tensor of an architecture starts its training.

Idea: let the architecture initialise a copy of itself on the meta device, which has shapes but no memory, and note which
random numbers it asks for. This knows depth-scaled projections and unusual layers without a table of architectures.
Cost: milliseconds, no memory.
What goes wrong: it is the initialisation that transformers gives this configuration. Checkpoints trained elsewhere may have
started otherwise (GPT-NeoX's own code scales some layers, its transformers configuration does not say so).
"""

from __future__ import annotations

from math import sqrt
from typing import TYPE_CHECKING, Any

from torch.utils._python_dispatch import TorchDispatchMode

from pliant.errors import PliantError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def initial_std(network: PreTrainedModel) -> dict[str, float]:
    """Standard deviation at initialisation by parameter name; 0 for constants (biases, norm gains).

    Parameters whose initialisation is neither normal, uniform nor constant are absent. Raises PliantError for
    architectures that cannot be built from their configuration alone.
    """
    import torch

    try:
        with _Initialisation() as noted, torch.device("meta"):
            fresh = type(network)(network.config)
            fresh.initialize_weights()
    except Exception as error:  # an architecture's own code: anything can come out of it
        raise PliantError(
            f"the initialisation of {type(network).__name__} cannot be recovered ({error}); give the noise in unit rms"
        ) from error
    return {name: noted.std[id(parameter)] for name, parameter in fresh.named_parameters() if id(parameter) in noted.std}


class _Initialisation(TorchDispatchMode):
    """Notes the last distribution that each tensor was filled from."""

    def __init__(self) -> None:
        super().__init__()
        self.std: dict[int, float] = {}
        self._alive: list[Any] = []  # an id is only unique among living objects

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = {argument.name: value for argument, value in zip(func._schema.arguments, args, strict=False)} | (kwargs or {})
        match func.name():
            case "aten::normal_":
                self._note(args[0], given.get("std", 1.0))
            case "aten::uniform_":
                self._note(args[0], (given.get("to", 1.0) - given.get("from", 0.0)) / sqrt(12))
            case "aten::zero_" | "aten::fill_.Scalar":
                self._note(args[0], 0.0)
            case _:
                pass
        return func(*args, **(kwargs or {}))

    def _note(self, tensor: Any, std: float) -> None:
        self.std[id(tensor)] = std
        self._alive.append(tensor)
