"""WeightSource as pieces: runs of numbers of one tensor, read off a file or a network, so that no tensor need be held whole.

Idea: a safetensors file says where each tensor lies, and the arithmetic of merging looks at one number of each input at a time.
Cost: a read is `PIECE` numbers; nothing is kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol

from pliant.errors import PliantError
from pliant.files import disk_errors
from pliant.models.model import stored_tensors
from pliant.models.weight_files import tensors

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

PIECE = 2**16
"""Numbers in a piece; which numbers are dropped at random hangs on it."""
TYPES = {
    **{"F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "BOOL": "bool"},
    **{"I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8", "U8": "uint8"},
}
"""PyTorch's names of the format's types of numbers, as far as whole weights have them."""


@dataclass(frozen=True)
class Entry:
    """What a tensor is, without its numbers."""

    shape: tuple[int, ...]
    dtype: str
    """PyTorch's name of it."""

    @property
    def count(self) -> int:
        """How many numbers."""
        return prod(self.shape)

    @property
    def torch_dtype(self) -> torch.dtype:
        """PyTorch's own."""
        import torch

        return getattr(torch, self.dtype)

    @property
    def floating(self) -> bool:
        """Whether it holds weights, and not counts or masks."""
        return self.torch_dtype.is_floating_point

    @property
    def size(self) -> int:
        """Bytes."""
        return self.count * self.torch_dtype.itemsize


class WeightSource(Protocol):
    """A set of weights by the names they have in the network."""

    @property
    def address(self) -> str:
        """For messages."""
        ...

    @property
    def entries(self) -> Mapping[str, Entry]:
        """What tensors there are."""
        ...

    def read(self, name: str, begin: int, end: int) -> Tensor:
        """The numbers `begin` to `end` of a tensor in row order, on the CPU, in their own type."""
        ...


class FileWeights:
    """Those in safetensors files; tensors of types that whole weights do not have are passed over."""

    def __init__(self, files: Sequence[Path], address: str) -> None:
        self.address = address
        self.entries: dict[str, Entry] = {}
        self._places: dict[str, tuple[Path, int]] = {}
        self._open: dict[Path, BinaryIO] = {}
        for path in files:
            found = tensors([path])
            with disk_errors(path), path.open("rb") as stream:
                start = 8 + int.from_bytes(stream.read(8), "little")
            for name, told in found.items():
                if told["dtype"] in TYPES:
                    self.entries[name] = Entry(tuple(told["shape"]), TYPES[told["dtype"]])
                    self._places[name] = path, start + told["data_offsets"][0]

    def read(self, name: str, begin: int, end: int) -> Tensor:
        """As the file has them. Raises PliantError where it has become shorter meanwhile."""
        import torch

        path, start = self._places[name]
        number = self.entries[name].torch_dtype
        buffer = bytearray((end - begin) * number.itemsize)
        with disk_errors(path):
            stream = self._open.get(path) or self._open.setdefault(path, path.open("rb", buffering=0))
            stream.seek(start + begin * number.itemsize)
            if buffer and _filled(stream, buffer) != len(buffer):
                raise PliantError(f"{path}: became shorter while it was read")
        return torch.frombuffer(buffer, dtype=number) if buffer else torch.empty(0, dtype=number)

    def close(self) -> None:
        """Give the files back."""
        for stream in self._open.values():
            stream.close()
        self._open.clear()


def _filled(stream: BinaryIO, buffer: bytearray) -> int:
    """How many bytes could be read into `buffer`; the system may hand them out in parts."""
    view, done = memoryview(buffer), 0
    while done < len(buffer) and (count := stream.readinto(view[done:])):  # type: ignore[attr-defined]
        done += int(count)
    return done


class NetworkWeights:
    """Those of a network in memory, wherever it lies."""

    def __init__(self, network: nn.Module, address: str) -> None:
        self.address = address
        self._tensors: dict[str, Any] = {name: tensor.detach() for name, tensor in stored_tensors(network)}
        self.entries = entries_of(network)

    def read(self, name: str, begin: int, end: int) -> Tensor:
        """A copy."""
        return self._tensors[name].contiguous().view(-1)[begin:end].cpu().clone()

    def write(self, name: str, begin: int, piece: Tensor) -> None:
        """Put numbers in the place of those from `begin` on."""
        tensor = self._tensors[name]
        if tensor.is_contiguous():
            tensor.view(-1)[begin : begin + len(piece)].copy_(piece)
        else:
            whole = tensor.contiguous()
            whole.view(-1)[begin : begin + len(piece)].copy_(piece)
            tensor.copy_(whole)


def entries_of(network: nn.Module) -> dict[str, Entry]:
    """What a network holds, which may be on PyTorch's device `meta`; tied tensors once."""
    return {name: Entry(tuple(t.shape), str(t.dtype).removeprefix("torch.")) for name, t in stored_tensors(network)}


@dataclass(frozen=True)
class Tensors:
    """One tensor as the base and the others have it."""

    name: str
    base: WeightSource
    others: Sequence[WeightSource]

    @property
    def count(self) -> int:
        """How many numbers it has."""
        return self.base.entries[self.name].count

    def pieces(self) -> Iterator[tuple[int, Tensor, list[Tensor]]]:
        """Where it begins, the base's numbers and the others', in float64. Raises PliantError for what is no finite number."""
        for begin, end in spans(self.count):
            yield begin, self._wide(self.base, begin, end), [self._wide(other, begin, end) for other in self.others]

    def differences(self, other: int) -> Iterator[Tensor]:
        """What one of the others has over the base, piece by piece."""
        for begin, end in spans(self.count):
            yield self._wide(self.others[other], begin, end) - self._wide(self.base, begin, end)

    def _wide(self, weights: WeightSource, begin: int, end: int) -> Tensor:
        import torch

        piece = weights.read(self.name, begin, end).to(torch.float64)
        if not finite(piece):
            raise PliantError(f"{weights.address}: {self.name} holds what is not a finite number; the training diverged, or it is damaged")
        return piece


def finite(piece: Tensor) -> bool:
    """Whether every number is: their sum tells in one pass, except for huge ones."""
    import torch

    return bool(torch.isfinite(piece.sum(dtype=torch.float32)) or torch.isfinite(piece).all())


def spans(count: int) -> Iterator[tuple[int, int]]:
    """From 0 to `count` in steps of a piece."""
    for begin in range(0, count, PIECE):
        yield begin, min(begin + PIECE, count)
