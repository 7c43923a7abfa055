"""What the gradient of each parameter of one module is made of, row by row, given what went in and the gradient of what came out.

Idea: layers that multiply, look up or convolve give two factors (see `factors`). Norms are linear in their gains, so what they multiply
them by is found by asking with gains of one and of none. Any other module with few parameters is asked again, one row at a time.
What goes wrong: a module that is given no row for each row, or keeps many parameters of its own kind (experts): that is `Unfit`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pliant.scores.factors import ENTRIES, Lookup, Made, Outer, Product, Unfit

if TYPE_CHECKING:
    from torch import Tensor, nn

Parts = Iterator[tuple["nn.Parameter", "Product | Tensor"]]
"""Parameters of a module, each with a product, or with the gradient itself (rows, ...)."""


def each_row(inputs: tuple[Any, ...], rows: int) -> tuple[Any, ...] | None:
    """Inputs of which there is one for all rows, such as positions, once for each; None where nothing is to be done."""
    import torch

    if not inputs or not isinstance(inputs[0], torch.Tensor) or inputs[0].ndim < 2 or len(inputs[0]) != 1 or rows == 1:
        return None
    return inputs[0].expand(rows, *inputs[0].shape[1:]), *inputs[1:]


def gradient_parts(module: nn.Module, rows: int, inputs: tuple[Any, ...], options: Mapping[str, Any], gradient: Tensor) -> Parts:
    """Of each parameter of the module's own; layers and norms may have all rows end to end. Raises Unfit where it cannot be told."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    given: Any = inputs[0] if inputs else next(iter(options.values()))
    forward = type(module).forward
    if forward is nn.Linear.forward or forward is Conv1D.forward:
        return _linear(module, rows, given, gradient)
    if isinstance(module, nn.Embedding) and len(gradient) == rows:
        return _embedding(module, inputs, options, gradient)
    if forward in (nn.Conv1d.forward, nn.Conv2d.forward) and module.padding_mode == "zeros" and not isinstance(module.padding, str):
        return _convolution(module, given, gradient)
    if "Norm" in type(module).__name__ and all(name in ("weight", "bias") for name, _ in module.named_parameters()):
        return _norm(module, rows, inputs, options, gradient)
    if len(gradient) != rows:
        raise Unfit(f"{type(module).__name__} does not answer with a row for each row")
    return _alone(module, inputs, options, gradient)


def _wide(tensor: Tensor) -> Tensor:
    import torch

    return tensor if tensor.dtype == torch.float64 else tensor.float()


def _linear(layer: Any, rows: int, given: Tensor, gradient: Tensor) -> Parts:
    """GPT-2's keep their weights as (in, out)."""
    from torch import nn

    outs, ins = (_wide(factor).reshape(rows, 1, -1, factor.shape[-1]) for factor in (gradient, given))
    yield layer.weight, Outer(outs, ins) if isinstance(layer, nn.Linear) else Outer(ins, outs)
    if layer.bias is not None:
        yield layer.bias, outs.sum((1, 2))


def _embedding(table: Any, inputs: tuple[Any, ...], options: Mapping[str, Any], gradient: Tensor) -> Parts:
    """Also one that scales what it finds, or counts positions itself: it is asked where in the table it looks, and how it scales that."""
    import torch
    from torch import nn
    from torch.func import functional_call

    if table.max_norm is not None or table.scale_grad_by_freq:
        raise Unfit("a table of embeddings rescales itself")
    ids, ins = inputs[0] if inputs else next(iter(options.values())), _wide(gradient)
    if type(table).forward is not nn.Embedding.forward:
        places = torch.arange(len(table.weight), dtype=torch.float64, device=gradient.device)[:, None]
        found, scale = (functional_call(table, {"weight": numbers}, inputs, dict(options)) for numbers in (places, torch.ones_like(places)))
        ids, ins = (found / scale).round().long().squeeze(-1), ins * scale.to(ins.dtype)
    if table.padding_idx is not None:
        ids = ids.masked_fill(ids == table.padding_idx, -1)
    yield table.weight, Lookup(ids.flatten(1), ins.reshape(len(ids), -1, ins.shape[-1]))


def _convolution(layer: Any, given: Tensor, gradient: Tensor) -> Parts:
    """A linear layer of patches, in groups; where there are many of those, and few weights, each row's own gradient is made in turn."""
    import torch
    from torch.nn.functional import unfold

    rows, groups, flat = len(gradient), layer.groups, gradient.ndim == 3
    given, outs = _wide(given), _wide(gradient)
    folded = outs.reshape(rows, groups, outs.shape[1] // groups, -1).mT
    positions, (out, width) = folded.shape[2], (layer.weight.shape[0] // groups, layer.weight[0].numel())

    def two(numbers: Any, fill: int) -> tuple[int, ...]:
        return (fill, *numbers) if flat else tuple(numbers)

    def made(row: int) -> Tensor:
        shape, some = layer.weight.new_empty(()).to(outs.dtype).expand(layer.weight.shape), slice(row, row + 1)
        found = torch.ops.aten.convolution_backward(
            outs[some], given[some], shape, None, layer.stride, layer.padding, layer.dilation, False, [0], groups, [False, True, False]
        )
        return found[1].reshape(1, -1)

    if positions * (out + width) > out * width:
        yield layer.weight, Made(rows, made)
    else:
        size, spread, border, step = two(layer.kernel_size, 1), two(layer.dilation, 1), two(layer.padding, 0), two(layer.stride, 1)
        patches = unfold(given[:, :, None] if flat else given, size, spread, border, step)
        yield layer.weight, Outer(folded, patches.reshape(rows, groups, -1, positions).mT)
    if layer.bias is not None:
        yield layer.bias, folded.sum(2).flatten(1)


def _norm(layer: Any, rows: int, inputs: tuple[Any, ...], options: Mapping[str, Any], gradient: Tensor) -> Parts:
    """Gains multiply what is normalised, which is channels second (of images) or last."""
    import torch
    from torch import nn
    from torch.func import functional_call

    def asked(gain: float) -> Tensor:
        numbers = {name: torch.full_like(p, gain if name == "weight" else 0.0) for name, p in layer.named_parameters()}
        return functional_call(layer, numbers, inputs, dict(options))

    second = isinstance(layer, nn.GroupNorm | nn.modules.batchnorm._BatchNorm)  # pyright: ignore[reportPrivateUsage]

    def summed(found: Tensor, shape: torch.Size) -> Tensor:
        found = found.movedim(1, -1) if second else found
        return found.reshape(rows, -1, *shape).sum(1)

    for name, parameter in layer.named_parameters():
        wide = _wide(gradient)
        yield parameter, summed(wide * (_wide(asked(1.0)) - _wide(asked(0.0))) if name == "weight" else wide, parameter.shape)


def _alone(module: nn.Module, inputs: tuple[Any, ...], options: Mapping[str, Any], gradient: Tensor) -> Parts:
    """Each row through the module by itself."""
    import torch
    from torch.func import functional_call

    rows, own = len(gradient), dict(module.named_parameters(recurse=False))
    if rows * sum(parameter.numel() for parameter in own.values()) > ENTRIES:
        raise Unfit(f"{type(module).__name__} keeps many parameters in a way that is not known")

    def of(thing: Any, row: int) -> Any:
        return thing[row : row + 1] if isinstance(thing, torch.Tensor) and thing.shape[:1] == (rows,) else thing

    found: list[tuple[Any, ...]] = []
    for row in range(rows):
        free = {name: parameter.detach().requires_grad_() for name, parameter in own.items()}
        with torch.enable_grad():
            output = functional_call(module, free, tuple(of(x, row) for x in inputs), {name: of(x, row) for name, x in options.items()})
            found.append(torch.autograd.grad(output, list(free.values()), gradient[row : row + 1], allow_unused=True))
    for place, (_, parameter) in enumerate(own.items()):
        parts = [_wide(torch.zeros_like(parameter) if row[place] is None else row[place]) for row in found]
        yield parameter, torch.stack(parts)
