"""Calibration: the second moments and mean magnitudes of every linear layer's inputs, collected once a model and text.

Idea: GPTQ and AWQ need to know of the text only H = X X^T and mean |x| of each linear layer's inputs; neither depends on bits,
group or method. So they are read off the unrounded model once and serve a whole sweep. Published GPTQ collects them again
behind each rounded block (`recollect`); what that brings is in docs/log.md.
Cost: one forward pass over the text, block by block: beside the weights it needs one block's moments, and the text's hidden
states (windows x length x width). Moments beyond `KEEP_BYTES` in all are kept in a temporary folder, not in memory.
What goes wrong: text unlike the use to come; too few tokens for wide layers (see `changes.gptq` on damping).
"""

from __future__ import annotations

import tempfile
import weakref
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError
from pliant.files import disk_errors, workplace
from pliant.progress import progress
from pliant.quantization.gptq import Factor, factor

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pliant.data.corpus import Corpus
    from pliant.models import Model

KEEP_BYTES = 2**30
"""Moments and their factors kept in memory before the rest goes to a temporary folder."""

NOT_FINITE = "no finite numbers on the calibration text; its weights are damaged, or too large for their number type"
"""What is said when a model overflows, which float16 does beyond 65,504."""

BATCH_TOKENS = 8192
"""Tokens that go through a block at once."""


@dataclass
class Inputs:
    """What the inputs of one or more linear layers looked like: moments X X^T / tokens (in, in), mean |x| (in,), float32."""

    moments: Tensor
    magnitudes: Tensor
    factors: dict[bool, Factor] = field(default_factory=dict[bool, Factor])

    def factor(self, act_order: bool) -> Factor:
        """The Cholesky factor GPTQ works with, made once for each column order."""
        if act_order not in self.factors:
            self.factors[act_order] = factor(self.moments, act_order)
        return self.factors[act_order]


class Calibration:
    """Input statistics of every linear layer inside a model's blocks, and of its output head."""

    def __init__(self) -> None:
        self._shared: dict[str, str] = {}  # layer -> the layer whose inputs are the same tensor
        self._kept: dict[str, Inputs] = {}
        self._folder: Path | None = None
        self._bytes = 0

    def groups(self) -> Iterator[tuple[list[str], Inputs]]:
        """Layers that read the same inputs, with those inputs, in the order of the network."""
        for first in dict.fromkeys(self._shared.values()):
            yield [layer for layer, source in self._shared.items() if source == first], self._load(first)

    def inputs(self, layer: str) -> Inputs:
        """The inputs of one layer by its module name. Raises PliantError for a layer that was never run."""
        if layer not in self._shared:
            raise PliantError(f"{layer} did not take part in calibration; round it to nearest, or leave it out")
        return self._load(self._shared[layer])

    def add(self, shared: dict[str, str], collected: dict[str, Inputs]) -> None:
        """Take in one block's statistics."""
        self._shared |= shared
        for layer, inputs in collected.items():
            self._bytes += inputs.moments.numel() * 4 * 2  # and as much again for the factor that is made of them
            if self._bytes > KEEP_BYTES:
                self._spill(layer, inputs)
            else:
                self._kept[layer] = inputs

    def _spill(self, layer: str, inputs: Inputs) -> None:
        from safetensors.torch import save_file

        if self._folder is None:
            kept = ExitStack()
            self._folder = kept.enter_context(workplace(Path(tempfile.gettempdir()) / "pliant-calibration"))
            weakref.finalize(self, kept.close)
        with disk_errors(self._folder):
            save_file({"moments": inputs.moments, "magnitudes": inputs.magnitudes}, self._folder / f"{layer}.safetensors")

    def _load(self, layer: str) -> Inputs:
        if layer in self._kept:
            return self._kept[layer]
        from safetensors.torch import load_file

        assert self._folder is not None
        stored = load_file(self._folder / f"{layer}.safetensors")
        return Inputs(stored["moments"], stored["magnitudes"])


def calibrate(model: Model, windows: Sequence[Sequence[int]], head: bool = False) -> Calibration:
    """Run equally long `windows` of token ids through `model` and collect every linear layer's inputs; see `block_by_block`."""
    calibration = Calibration()
    for shared, collected in block_by_block(model, windows, head):
        calibration.add(shared, collected)
    return calibration


def block_by_block(
    model: Model, windows: Sequence[Sequence[int]], head: bool = False, recollect: bool = False
) -> Generator[tuple[dict[str, str], dict[str, Inputs]]]:
    """One block's statistics after the other, in the form `Calibration.add` takes them; with `head`, the output head's last.

    With `recollect`, whoever takes a block's statistics may round its weights before asking for the next block's: the text
    then goes on from the rounded block. Raises PliantError for a network without a stack of blocks, and for one whose blocks,
    run one by one, do not give what the network gives.
    """
    import torch

    network, blocks = model.network, decoder_blocks(model.network)
    names: dict[nn.Module, str] = {module: name for name, module in network.named_modules()}
    batches = torch.tensor(windows, device=model.device).split(max(1, BATCH_TOKENS // len(windows[0])))
    was_training = network.training
    network.eval()
    try:
        with torch.no_grad(), progress("calibration", len(blocks) + head) as advance:
            stream = _Stream(network, blocks, batches)
            for block in blocks:
                entering = list(stream.hidden)
                yield collect(linears(block, names), lambda block=block: stream.through(block))
                if recollect:
                    stream.hidden = entering
                    stream.through(block)
                advance(1)
            if not recollect:
                stream.check()
            layer = network.get_output_embeddings()
            if head and layer is not None:
                yield collect({names[layer]: layer}, lambda: [network(input_ids=batch, use_cache=False) for batch in batches])
                advance(1)
    finally:
        network.train(was_training)


def calibration_of(model: Model, corpus: Corpus, samples: int, length: int, head: bool = False) -> Calibration:
    """`calibrate` on `windows_of` the corpus; the last one is kept, for sweeps over one base."""
    key = (model.weights(), model.tokenizer.fingerprint, corpus.fingerprint(), samples, length, head)
    if key not in _kept:
        windows = windows_of(model, corpus, samples, length)
        _kept.clear()
        _kept[key] = calibrate(model, windows, head)
    return _kept[key]


def windows_of(model: Model, corpus: Corpus, samples: int, length: int) -> list[list[int]]:
    """`samples` random windows of the corpus's training part, always the same, of `length` tokens or the model's context.

    Raises PliantError when the text is too short for them.
    """
    from pliant.data.packed import packed

    length = min(length, model.context)
    tokens = packed(corpus, model.tokenizer, "train")
    if len(tokens) < samples * (length + 1):
        have = f"calibration text {corpus.label()} has {len(tokens)} tokens, fewer than {samples} windows of {length}"
        raise PliantError(f"{have}; give more text, or lower samples or length")
    return tokens.batch(0, samples, length, seed=0)[:, :-1].tolist()


_kept: dict[tuple[object, ...], Calibration] = {}


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


def decoder_blocks(network: nn.Module) -> Sequence[nn.Module]:
    """The network's stack of blocks: its longest module list that holds linear layers.

    Raises PliantError when there is none.
    """
    from torch import nn

    stacks = [module for module in network.modules() if isinstance(module, nn.ModuleList) and linears(module, {})]
    if not stacks:
        raise PliantError(f"{type(network).__name__} has no stack of blocks with linear layers; use method rtn")
    return list(max(stacks, key=len))


def linears(module: nn.Module, names: dict[nn.Module, str]) -> dict[str, Any]:
    """The linear layers inside `module` by their full name (or their name inside it)."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    return {names.get(layer, name): layer for name, layer in module.named_modules() if isinstance(layer, (nn.Linear, Conv1D))}


def _hidden(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output
