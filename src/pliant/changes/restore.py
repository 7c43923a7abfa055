"""Puts a model back bit for bit: its network, weights, buffers, ties, modules, gradients, `requires_grad`, training mode, transforms."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator
from contextlib import ExitStack
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pliant.models import Model

Undo = Callable[[], None]

_copies: WeakKeyDictionary[nn.Module, dict[Tensor, Tensor]] = WeakKeyDictionary()
"""Of networks in a sweep whose weights are as they were at its beginning."""


@contextlib.contextmanager
def sweep(model: Model) -> Generator[None]:
    """One copy of the weights serves every `restored` inside, one after the other, in place of a copy each.

    Nothing but what is inside of a `restored` may change the model meanwhile.
    """
    network = model.network
    _copies[network] = {tensor: tensor.detach().clone() for tensor in (*network.parameters(), *network.buffers())}
    try:
        yield
    finally:
        _copies.pop(network, None)


@contextlib.contextmanager
def restored(model: Model) -> Generator[Model]:
    """`model` as it is now again after the block, whatever the block did to it, also when the block raises.

    Holds one clone of every parameter and buffer, on its own device, or uses that of a `sweep`. Gradients are taken off inside the
    block and put back after it. Tensors and modules that the block replaced are put back as the same objects, so that tied weights
    stay tied and optimizers that hold them stay valid.
    """
    network, checkpoint = model.network, model.checkpoint
    transforms, adapter = list(model.transforms), model.adapter
    copies = _copies.pop(network, None)  # a `restored` within this one finds other weights, and copies them
    with ExitStack() as undo:
        if copies is not None:
            undo.callback(_copies.__setitem__, network, copies)
        for module in network.modules():
            undo.callback(_module(module))
        for tensor in (*network.parameters(), *network.buffers()):
            undo.callback(_tensor(tensor, None if copies is None else copies.get(tensor)))
        try:
            yield model
        finally:
            model.network, model.checkpoint = network, checkpoint
            model.transforms[:], model.adapter = transforms, adapter


def _module(module: nn.Module) -> Undo:
    """Remember which tensors and children a module holds, under which names, and its mode."""
    tables = [(table, dict(table)) for table in (module._parameters, module._buffers, module._modules)]  # pyright: ignore[reportPrivateUsage]
    training = module.training

    def undo() -> None:
        for table, content in tables:
            table.clear()
            table.update(content)  # pyright: ignore[reportArgumentType, reportCallIssue]
        module.training = training

    return undo


def _tensor(tensor: Tensor, copy: Tensor | None) -> Undo:
    """Remember a tensor's content (that is `copy`, where there is one), its storage, its gradient and whether it wants one."""
    storage, content = tensor.data, tensor.detach().clone() if copy is None else copy
    requires_grad, gradient = tensor.requires_grad, tensor.grad if tensor.is_leaf else None
    tensor.grad = None

    def undo() -> None:
        tensor.data = storage
        storage.copy_(content)
        tensor.grad = gradient
        tensor.requires_grad_(requires_grad)

    return undo
