"""The length of each row's own gradient from one backward pass over all rows, without gradients of weights.

Idea: hooks keep what goes into each layer; parameters are frozen, so that the backward pass makes the gradients of what comes out of each
layer and no more. From the two the squared length of the row's gradient follows, layer by layer (see `factors`): linear layers, tables
of embeddings, convolutions, also where a weight is used twice; gains and biases have one number a channel, which are summed up for each
row. A module of another build is put through again with one row at a time, alone.
Cost: one forward pass, the half of a backward pass that makes gradients of activations, and the products.
What goes wrong: rows that see each other, or a module that shuffles rows and positions together (routed experts), have no such form. So
the first batch of a network is compared with rows taken one by one; a network that does not agree is read one row at a time from then on.
Source: arXiv 1510.01799, 2009.03106.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from pliant.progress import remark
from pliant.scores.factors import Product, Unfit, squared_length
from pliant.scores.layers import each_row, gradient_parts

if TYPE_CHECKING:
    from torch import Tensor, nn

Forward = Callable[[slice], "Tensor"]
"""Puts some rows through the network, and gives the loss of each (rows,)."""

AGREEMENT = 1e-3
"""Largest difference of two ways to one number in float32, whose sums run in other orders."""

_fits: WeakKeyDictionary[Any, dict[bool, bool]] = WeakKeyDictionary()
"""Whether the rows of a network can be told apart in one backward pass: for some of its modules, for all."""


def squared_gradients(network: nn.Module, forward: Forward, rows: int, modules: Sequence[nn.Module] = ()) -> Tensor:
    """(rows,) the squared length of the gradient of each row's loss, in float64, over all parameters, or those of some modules.

    Args:
        network: In evaluation mode; its parameters keep their gradients, and whether they want any.
        forward: Of the network.
        rows: How many there are.
        modules: Leave out for all of it; the backward pass ends at the first of these.
    """
    chosen, known = modules or [network], _fits.setdefault(network, {})
    if bool(modules) not in known:
        known[bool(modules)] = _agrees(network, forward, min(rows, 3), chosen)
    if known[bool(modules)]:
        try:
            return together(network, forward, rows, chosen)
        except Unfit:  # of this batch alone
            pass
    return one_by_one(network, forward, rows, chosen)


def one_by_one(network: nn.Module, forward: Forward, rows: int, modules: Sequence[nn.Module]) -> Tensor:
    """The same from a backward pass for each row."""
    import torch

    found: list[Tensor] = []
    with wanted(network, modules) as parameters, torch.enable_grad():
        for row in range(rows):
            gradients = torch.autograd.grad(forward(slice(row, row + 1)).sum(), parameters, materialize_grads=True)
            found.append(torch.stack([gradient.double().square().sum() for gradient in gradients]).sum())
    return torch.stack(found)


def _agrees(network: nn.Module, forward: Forward, rows: int, modules: Sequence[nn.Module]) -> bool:
    """On the first rows, each the only one of its pass the other way; says so where not."""
    import torch

    expected = one_by_one(network, forward, rows, modules)
    try:
        found = together(network, forward, rows, modules)
    except Unfit as reason:
        remark(f"gradients are taken one example at a time, which is slower: {reason}")
        return False
    if not expected.isfinite().all():
        return True  # which is found to be wrong with its values
    agrees = torch.allclose(found.sqrt(), expected.sqrt(), rtol=AGREEMENT, atol=AGREEMENT * float(expected.max().sqrt()))
    if not agrees:
        remark("gradients are taken one example at a time, which is slower: examples of one batch are not independent")
    return agrees


@dataclass
class _Sums:
    """Squared lengths of what a backward pass has been through, and what has to wait for another use of its weight."""

    uses: Counter[int] = field(default_factory=Counter[int])
    """How often each parameter was used."""
    waiting: defaultdict[int, list[Product]] = field(default_factory=lambda: defaultdict(list))
    small: dict[int, Tensor] = field(default_factory=dict[int, "Tensor"])
    """The gradients (rows, ...) of gains, biases and whatever has few numbers."""
    squares: list[Tensor] = field(default_factory=list["Tensor"])

    def take(self, parameter: nn.Parameter, part: Product | Tensor) -> None:
        """Sum up one use of a parameter."""
        import torch

        key = id(parameter)
        if isinstance(part, torch.Tensor):
            self.small[key] = self.small[key] + part if key in self.small else part
        else:
            self.waiting[key].append(part)
            if len(self.waiting[key]) == self.uses[key]:
                self.squares.append(squared_length(self.waiting.pop(key)))

    def total(self) -> Tensor:
        """(rows,) over all parameters. Raises Unfit for a weight that was used in two ways of which no product is known."""
        if self.small.keys() & self.waiting.keys():
            raise Unfit("a weight is shared by layers of two kinds")
        waiting = [squared_length(parts) for parts in self.waiting.values()]  # of which another use came to nothing
        small = [part.flatten(1).double().square().sum(1) for part in self.small.values()]
        first, *others = [*self.squares, *waiting, *small]
        for more in others:
            first = first + more
        return first


def together(network: nn.Module, forward: Forward, rows: int, modules: Sequence[nn.Module]) -> Tensor:
    """All rows in one pass. Raises Unfit for a module whose rows cannot be told apart."""
    import torch

    sums, running, flat = _Sums(), True, set[int]()

    def before(module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...] | None:
        return each_row(inputs, rows) if running else None

    def after(module: nn.Module, inputs: tuple[Any, ...], options: dict[str, Any], output: Any) -> Any:
        if not running:
            return None
        if isinstance(output, torch.Tensor) and output.ndim > 2 and len(output) == rows:
            flat.add(rows * output.shape[1])  # the length of rows laid end to end
        if not isinstance(output, torch.Tensor) or not (len(output) == rows or (output.ndim == 2 and len(output) in flat)):
            raise Unfit(f"{type(module).__name__} does not answer with a row for each row")
        begins = not output.requires_grad
        output = output.detach().requires_grad_() if begins else output
        sums.uses.update(id(parameter) for parameter in module.parameters(recurse=False))
        versions = [(tensor, tensor._version) for tensor in inputs if isinstance(tensor, torch.Tensor)]  # pyright: ignore[reportPrivateUsage]

        def read(gradient: Tensor) -> None:
            if any(tensor._version != version for tensor, version in versions):  # pyright: ignore[reportPrivateUsage]
                raise Unfit(f"what {type(module).__name__} was given is overwritten")
            with torch.no_grad():
                for parameter, part in gradient_parts(module, rows, inputs, options, gradient):
                    sums.take(parameter, part)

        output.register_hook(read)
        return output.clone() if begins else output  # which may be overwritten

    owners = [owner for module in modules for owner in module.modules() if any(True for _ in owner.parameters(recurse=False))]
    with ExitStack() as undo, wanted(network, ()), torch.enable_grad():
        for module in dict.fromkeys(owners):
            undo.callback(module.register_forward_pre_hook(before).remove)
            undo.callback(module.register_forward_hook(after, with_kwargs=True).remove)
        losses = forward(slice(0, rows))
        running = False
        if not losses.requires_grad:
            raise Unfit("no module with parameters was asked")
        losses.sum().backward()
    return sums.total()


@contextmanager
def wanted(network: nn.Module, modules: Sequence[nn.Module]) -> Generator[list[nn.Parameter]]:
    """Inside the block the parameters of `modules` want gradients, which are yielded, and no others; then all are as they were."""
    before = [(parameter, parameter.requires_grad) for parameter in network.parameters()]
    parameters = list({id(p): p for module in modules for p in module.parameters() if p.is_floating_point()}.values())
    try:
        for parameter, _ in before:
            parameter.requires_grad_(False)
        for parameter in parameters:
            parameter.requires_grad_()
        yield parameters
    finally:
        for parameter, wants in before:
            parameter.requires_grad_(wants)
