"""Which tensors a change touches, by one word or by name pattern, each seen as rows of outputs."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from pliant.errors import PliantError
from pliant.spec import nearest

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

TENSORS = (
    "Which tensors: `matrices` (all of two or more dimensions, embeddings included), `linear` (those outside embeddings and "
    "output head), or name patterns separated by commas, such as `*.mlp.*, *.q_proj.weight`"
)


def named_tensors(tensors: str) -> bool:
    """Whether `tensors` chooses by names, of which there may be none; the words for all and all linear ones always stand for some."""
    return tensors not in ("matrices", "linear")


def select(network: PreTrainedModel, tensors: str) -> dict[str, Tensor]:
    """The weights that `tensors` (see `TENSORS`) stands for, by name, detached but sharing the network's memory.

    Biases and norm gains, which have one dimension, are never among them. A tied tensor appears once, under its first name.
    Rows (all but the last dimension) are outputs, also for layers that store their weight the other way round.

    Raises PliantError when nothing matches.
    """
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    head = network.get_output_embeddings()
    outside = {id(p) for module in network.modules() if isinstance(module, nn.Embedding) or module is head for p in module.parameters()}
    transposed = {id(module.weight) for module in network.modules() if isinstance(module, Conv1D)}
    matrices = {name: p for name, p in network.named_parameters() if p.ndim >= 2 and p.is_floating_point()}
    patterns = [pattern.strip() for pattern in tensors.split(",")]
    chosen = {
        name: p.detach().T if id(p) in transposed else p.detach()
        for name, p in matrices.items()
        if tensors == "matrices"
        or (tensors == "linear" and id(p) not in outside)
        or any(fnmatchcase(name, pattern) for pattern in patterns)
    }
    if not chosen:
        raise PliantError(f"no weight matrix is called {tensors!r}; {nearest(tensors, ['matrices', 'linear', *matrices])}")
    return chosen


def check_finite(name: str, weight: Tensor) -> None:
    """Raises PliantError that names the tensor when a weight is infinite or not a number."""
    import torch

    if not torch.isfinite(weight).all():
        raise PliantError(f"{name} holds infinite or undefined weights; the checkpoint is damaged, or its training diverged")


@contextmanager
def naming(tensor: str) -> Generator[None]:
    """Errors inside say which tensor they are about."""
    try:
        yield
    except PliantError as error:
        raise error.within(tensor) from None
