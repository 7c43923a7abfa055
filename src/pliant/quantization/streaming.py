"""The text of a calibration, moved through a network block by block while the inputs of its linear layers are looked at.

Idea: a block's inputs are what the block before gave, so one pass over the text does, with one block's statistics in hand at a time.
In sequential calibration, as GPTQ was published, the text goes on from the block as it is after quantization.
Cost: beside the weights one block's moments, and the text's hidden states (windows x length x width).
What goes wrong: blocks that take from elsewhere than the block before; that is noticed, and refused.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError
from pliant.models.modules import blocks, evaluating, heads, linear_layers
from pliant.progress import progress
from pliant.quantization.inputs import Inputs

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pliant.models import Model

NOT_FINITE = "no finite numbers on the calibration text; its weights are damaged, or too large for their number type"
"""What is said when a model overflows, which float16 does beyond 65,504."""

BATCH_TOKENS = 8192
"""Tokens that go through a block at once."""


def block_by_block(
    model: Model, windows: Sequence[Sequence[int]], head: bool = False, sequential: bool = False
) -> Generator[tuple[dict[str, str], dict[str, Inputs]]]:
    """One block's statistics after the other, in the form `Calibration.add` takes them; with `head`, the output head's last.

    In sequential calibration, whoever takes a block's statistics may quantize its weights before asking for the next block's: the
    text then goes on from the quantized block. Raises PliantError for a network without a stack of blocks, and for one whose blocks,
    run one by one, do not give what the network gives.
    """
    import torch

    network, stack = model.network, list(blocks(model.network).values())
    if not stack:
        raise PliantError(f"{type(network).__name__} has no stack of blocks with linear layers; use method rtn")
    names = {layer: name for name, layer in linear_layers(network).items()}
    batches = torch.tensor(windows, device=model.device).split(max(1, BATCH_TOKENS // len(windows[0])))
    with torch.no_grad(), evaluating(network), progress("calibration", len(stack) + head) as advance:
        stream = _Stream(network, stack, batches)
        for block in stack:
            entering = list(stream.hidden)
            yield collect({names[layer]: layer for layer in linear_layers(block).values()}, lambda block=block: stream.through(block))
            if sequential:
                stream.hidden = entering
                stream.through(block)
            advance(1)
        if not sequential:
            stream.check()
        outputs = {names[layer]: layer for module in heads(network) for layer in linear_layers(module).values()}
        if head and outputs:
            yield collect(outputs, lambda: [network(input_ids=batch, use_cache=False) for batch in batches])
            advance(1)


def collect(layers: dict[str, Any], run: Callable[[], Any]) -> tuple[dict[str, str], dict[str, Inputs]]:
    """Input statistics of `layers` (by name) while `run` runs, and which layers share their inputs with which.

    Raises PliantError that names the layer whose inputs are not finite.
    """
    sums: dict[str, Inputs] = {}
    counts: dict[str, int] = {}
    shared: dict[str, str] = {}
    seen: list[tuple[Any, str]] = []

    def before(name: str, module: Any, arguments: tuple[Any, ...]) -> None:
        tensor = arguments[0]
        source = next((layer for other, layer in seen if other is tensor), name)
        seen.append((tensor, name))
        del seen[:-8]
        if shared.setdefault(name, source) != name:
            return
        rows = tensor.detach().reshape(-1, tensor.shape[-1]).float()
        moments, magnitudes = rows.T @ rows, rows.abs().sum(0)
        if name in sums:
            sums[name].moments += moments
            sums[name].magnitudes += magnitudes
        else:
            sums[name] = Inputs(moments, magnitudes)
        counts[name] = counts.get(name, 0) + len(rows)

    hooks = [
        layer.register_forward_pre_hook(lambda module, arguments, name=name: before(name, module, arguments))
        for name, layer in layers.items()
    ]
    try:
        run()
    finally:
        for hook in hooks:
            hook.remove()
    for name, inputs in sums.items():
        inputs.moments /= counts[name]
        inputs.magnitudes /= counts[name]
        if not bool(inputs.moments.isfinite().all()):
            raise PliantError(f"the inputs of {name} are {NOT_FINITE}")
    return shared, sums


class _Stream:
    """The text's hidden states, moved through one block at a time.

    What else a block is called with (masks, rotary angles) is the same for every batch of one shape; it is noted in one
    ordinary forward pass per shape.
    """

    def __init__(self, network: Any, blocks: Sequence[nn.Module], batches: Sequence[Tensor]) -> None:
        self.network, self.blocks = network, blocks
        self.calls: dict[tuple[nn.Module, int], tuple[tuple[Any, ...], dict[str, Any]]] = {}
        self.expected: Tensor | None = None
        self.hidden = [self._enter(batch) for batch in batches]

    def _enter(self, batch: Tensor) -> Tensor:
        """The first block's hidden states for `batch`; for a new batch size also every block's other arguments."""
        new = (self.blocks[0], len(batch)) not in self.calls
        entered: list[Tensor] = []

        def before(module: nn.Module, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
            if module is self.blocks[0]:
                entered.append(arguments[0] if arguments else options["hidden_states"])
            if not new:
                raise _Entered
            self.calls[module, len(batch)] = (arguments[1:], {name: value for name, value in options.items() if name != "hidden_states"})

        def after(module: nn.Module, arguments: tuple[Any, ...], output: Any) -> None:
            self.expected = _hidden(output) if self.expected is None else self.expected

        hooks = [block.register_forward_pre_hook(before, with_kwargs=True) for block in (self.blocks if new else self.blocks[:1])]
        hooks.append(self.blocks[-1].register_forward_hook(after))
        try:
            self.network(input_ids=batch, use_cache=False)
        except _Entered:
            pass
        finally:
            for hook in hooks:
                hook.remove()
        return entered[0]

    def through(self, block: nn.Module) -> None:
        """Move every batch through `block`."""
        for index, hidden in enumerate(self.hidden):
            arguments, options = self.calls[block, len(hidden)]
            self.hidden[index] = _hidden(block(hidden, *arguments, **options))

    def check(self) -> None:
        """Raises PliantError unless the first batch left the last block as it does in the network's own pass."""
        import torch

        assert self.expected is not None
        expected, found = self.expected.float(), self.hidden[0].float()
        if not bool(torch.isfinite(expected).all()):
            raise PliantError(f"what the last block gives is {NOT_FINITE}")
        if not torch.allclose(found, expected, rtol=1e-2, atol=1e-3 * float(expected.abs().max())):
            raise PliantError(f"{type(self.network).__name__} does not run block by block; only method rtn can round it")


class _Entered(Exception):
    """The first block has been reached: the rest of the pass is not needed."""


def _hidden(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output
