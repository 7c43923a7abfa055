"""A loaded checkpoint: network, what makes its input, and facts; and the content hash by which its results are kept.

Idea: two networks that hold the same numbers are the same weights, whatever they are called, on whatever device.
Cost: one pass of SHA-256 over the tensors, about a second per gigabyte; no copy beyond one tensor at a time.
What goes wrong: the hash covers tensors and `transforms`, so whatever else alters the evaluation (rounding of
activations, an attention mask) must be listed in `transforms`, or two different evaluations share one hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError
from pliant.models.modules import embedding_weights, head_weights, places_before
from pliant.models.tasks import task_of

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from pliant.data.tokenizer import Tokenizer
    from pliant.models.adapters import Adapter
    from pliant.models.checkpoint import Checkpoint
    from pliant.models.images import ImageInput
    from pliant.models.tasks import Task

CONTEXT_FIELDS = ("max_position_embeddings", "max_sequence_length", "max_seq_len", "seq_length")
UNLIMITED_CONTEXT = 2048


@dataclass
class Model:
    """A network ready to be measured or changed.

    `transforms` lists, in order, what alters the evaluation without being in the tensors.
    """

    network: PreTrainedModel
    words: Tokenizer | None
    """What makes tokens of text, for networks that read any: see `tokenizer`."""
    checkpoint: Checkpoint
    transforms: list[str] = field(default_factory=list[str])
    adapter: Adapter | None = field(default=None, repr=False)
    """The update that its last training left beside the weights it was merged into, where the method keeps one."""
    pixels: ImageInput | None = None
    """What makes its input of images, for networks that read any: see `images`."""

    @property
    def tokenizer(self) -> Tokenizer:
        """What makes tokens of text. Raises PliantError for a network that reads none."""
        if self.words is None:
            raise PliantError(f"{self.checkpoint.address} reads images, not text: it has no tokenizer")
        return self.words

    @tokenizer.setter
    def tokenizer(self, tokenizer: Tokenizer) -> None:
        self.words = tokenizer

    @property
    def images(self) -> ImageInput:
        """How pixels become its input. Raises PliantError for a network that reads none."""
        if self.pixels is None:
            raise PliantError(f"{self.checkpoint.address} reads text, not images")
        return self.pixels

    @property
    def task(self) -> Task:
        """What the network answers with."""
        return task_of(self.network)

    @property
    def labels(self) -> tuple[str, ...]:
        """What the outputs of its head are called, in order; none for a network whose answers are not labels."""
        named: dict[int, str] = getattr(self.network.config, "id2label", None) or {}
        return tuple(str(named[number]) for number in sorted(named)) if self.task.labelled else ()

    @property
    def context(self) -> int:
        """Longest input in tokens; 2048 for architectures that state no limit."""
        lengths = (getattr(self.network.config, name, None) for name in CONTEXT_FIELDS)
        return next((int(length) - places_before(self.network) for length in lengths if length), UNLIMITED_CONTEXT)

    def row_length(self, asked: int | None) -> int:
        """Tokens that a row may have: as many as are asked for, or its context. Raises PliantError for more than its context."""
        if asked is not None and asked > self.context:
            raise PliantError(f"length {asked} is more than the model's context of {self.context} tokens")
        return asked or self.context

    @property
    def device(self) -> torch.device:
        """Where the first parameter lives."""
        return next(self.network.parameters()).device

    def weights(self) -> str:
        """16 hexadecimal digits naming what is evaluated: SHA-256 over (name, dtype, shape, bytes) of every parameter
        and persistent buffer in the order of their names, tied tensors once, then the transforms.
        """
        content = hashlib.sha256()
        for name, tensor in sorted(stored_tensors(self.network), key=lambda item: item[0]):
            content.update(f"{name} {str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}\n".encode())
            content.update(_bytes(tensor))
        content.update("".join(f"{transform}\n" for transform in self.transforms).encode())
        return content.hexdigest()[:16]


def stored_tensors(network: torch.nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Every parameter and persistent buffer with its name, tied ones once under their first name."""
    yield from network.named_parameters()
    for prefix, module in network.named_modules():
        for name, buffer in module.named_buffers(prefix, recurse=False):
            if name.rsplit(".", 1)[-1] not in module._non_persistent_buffers_set:  # pyright: ignore[reportPrivateUsage]
                yield name, buffer


def _bytes(tensor: torch.Tensor) -> memoryview:
    """The tensor's content in row order, without a copy where it already lies so in memory."""
    import torch

    flat = tensor.detach().cpu().contiguous().reshape(-1)
    content: Any = flat.view(torch.uint8).numpy()
    return memoryview(content)


def parameter_counts(network: PreTrainedModel) -> tuple[int, int]:
    """Parameters in total, and without embeddings (token and position) and output head; tied ones counted once."""
    outside = embedding_weights(network) | head_weights(network)
    counts = {name: p.numel() for name, p in network.named_parameters()}
    return sum(counts.values()), sum(count for name, count in counts.items() if name not in outside)
