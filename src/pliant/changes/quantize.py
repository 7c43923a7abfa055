"""Post-training quantization: the weights moved to a grid of 2^bits values.

Idea: keep the weights' type but only let them take the few values that a low-bit format could store (fake quantization), so that the
loss is what a real kernel's would be, up to its own arithmetic.
When to use it: to learn what fewer bits cost a given checkpoint before choosing a format and a kernel. `rtn` needs no data;
`gptq` and `awq` look at calibration text and lose less at 3-4 bits (see their files).
Cost: `rtn` a few passes over the weights; `gptq` and `awq` one calibration pass for a whole sweep (kept while the base
weights stay the same), then a few matrix products a layer.
What goes wrong: one outlier widens the grid of its whole tensor, row or group; loss rises of different groupings are different
laws, never fit them together; a grid on a model already quantized starts from its rounded weights.
Source: symmetric grid as in arXiv 2411.04330 (appendix); see `pliant.quantization.grid`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, nullcontext
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from pliant.changes.change import Change
from pliant.changes.restore import restored
from pliant.changes.told import corpus_name
from pliant.data.corpus import Corpus
from pliant.errors import PliantError
from pliant.models.modules import TENSORS, check_finite, embedding_weights, head_weights, named_tensors, naming, select
from pliant.numbers import Count
from pliant.quantization.grid import Granularity, Scheme, slices
from pliant.quantization.nearest import Quantized, nearest
from pliant.spec import nearest as nearest_name

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from pliant.models import Model
    from pliant.quantization.inputs import Inputs


UNREAD = {"rtn": ("calibration", "samples", "length", "act_order", "recollect", "uncalibrated"), "awq": ("act_order",)}
"""Fields that a method does not look at."""


class Quantize(Change):
    """Round the weight matrices to a grid of 2^bits values."""

    called = "Quantization"
    strength_field = "bits"
    untold = frozenset({"method", "calibration"})
    bits: int = Field(description="Bits per weight, 2 to 8; 16 leaves the weights alone")
    method: Literal["rtn", "gptq", "awq"] = Field(
        "rtn", description="How: `rtn` rounds each weight to its nearest grid value, `gptq` and `awq` look at calibration text"
    )
    scheme: Scheme = Field(
        "symmetric",
        description="`symmetric` grids keep the largest magnitude; `full_range` ones, as compressed-tensors fits them, are finer and cut "
        "it by up to half a step; `asymmetric` ones span the weights' range",
    )
    group: Granularity = Field(
        "channel", description="Which weights share a grid: the whole `tensor`, each `channel` (row of outputs), or that many neighbours"
    )
    tensors: str = Field("matrices", description=TENSORS)
    exceptions: dict[str, int] = Field(
        {}, description="Other bits by tensor name pattern, the first match counts; 16 leaves a tensor alone"
    )
    activations: int | None = Field(
        None, ge=2, le=16, description="Bits of the linear layers' inputs at evaluation, one grid a layer and batch"
    )
    kv: int | None = Field(
        None, ge=2, le=16, description="Bits of attention's keys and values at evaluation, one grid each a layer and batch"
    )
    calibration: Corpus | None = Field(None, description="Text for `gptq` and `awq`; its training part is used")
    samples: Count = Field(128, ge=1, description="Windows of calibration text")
    length: Count = Field(512, ge=1, description="Tokens in a calibration window, at most the model's context")
    act_order: bool = Field(False, description="`gptq` rounds the columns with the largest inputs first")
    recollect: bool = Field(
        False, description="Sequential calibration, as GPTQ was published: inputs again behind each quantized block; closer, once a setting"
    )
    uncalibrated: Literal["refuse", "nearest", "skip"] = Field(
        "refuse", description="What `gptq` and `awq` do with matrices, other than embeddings, whose inputs they cannot see"
    )

    @model_validator(mode="before")
    @classmethod
    def _looked_at(cls, form: Any) -> Any:
        """Fields that the method does not look at are as by default, so that a sweep over methods makes no change twice."""
        unread = UNREAD.get(str(form.get("method", "rtn")), ()) if isinstance(form, dict) else ()
        return {name: value for name, value in form.items() if name not in unread} if unread else form

    @field_validator("bits", "exceptions")
    @classmethod
    def _widths(cls, value: Any) -> Any:
        for bits in value.values() if isinstance(value, dict) else [value]:
            if bits not in (*range(2, 9), 16):
                raise ValueError("choose 2 to 8 bits, or 16 to leave weights alone")
        return value

    @field_validator("group")
    @classmethod
    def _some_neighbours(cls, group: Granularity) -> Granularity:
        if isinstance(group, int) and group < 1:
            raise ValueError("a group has at least one weight")
        return group

    @model_validator(mode="after")
    def _has_text(self) -> Self:
        if self.method != "rtn" and self.calibration is None:
            raise PliantError(f"method {self.method} needs `calibration`: a corpus such as builtin:prose, or a text file")
        return self

    @property
    def stronger(self) -> Literal["higher", "lower"]:
        """Fewer bits do more."""
        return "lower"

    @property
    def weight_bits(self) -> int | None:
        """The bits."""
        return self.bits

    def title(self) -> str:
        """`Quantization by GPTQ, calibrated on prose`."""
        by = "" if self.method == "rtn" else f" by {self.method.upper()}"
        text = [f"calibrated on {corpus_name(self.calibration)}"] if self.calibration is not None else []
        return ", ".join([self.called + by, *text, *self.details()])

    def shown_strength(self, value: str) -> str:
        """With the unit behind it."""
        return f"{value} bits"

    @property
    def needs_shapes(self) -> bool:
        """Where rows are to be divided, or tensors chosen by their names."""
        return isinstance(self.group, int) or bool(self.exceptions) or named_tensors(self.tensors)

    def check(self, network: PreTrainedModel) -> None:
        """Raises PliantError that names the tensor a group does not divide, and for names that no tensor has."""
        weights = select(network, self.tensors)
        self._check_exceptions(network)
        spared = self.method != "rtn" and self.uncalibrated == "skip"  # which tensors, calibration tells
        for name, weight in weights.items():
            if self.bits_of(name) < 16 and not spared:
                with naming(name):
                    slices(weight, self.group)

    def apply(self, model: Model, seed: int, draw: int, undo: ExitStack) -> None:
        """Round every selected tensor.

        Raises PliantError that names the tensor a group does not divide, that is not finite, or that cannot be calibrated.
        """
        weights = select(model.network, self.tensors)
        for name, quantized in self.quantized(model, weights):
            weights[name].copy_(quantized.values)
        if self.activations is not None or self.kv is not None:
            from pliant.quantization.fake_quantized import fake_quantized

            undo.enter_context(fake_quantized(model.network, activations=self.activations, kv=self.kv))
            widths = {"activations": self.activations, "keys and values": self.kv}
            model.transforms.append(", ".join(f"{what} {bits} bits" for what, bits in widths.items() if bits is not None))

    def quantized(self, model: Model, weights: Mapping[str, Tensor]) -> Iterator[tuple[str, Quantized]]:
        """Each of `weights` (by parameter name, as rows of outputs) with its grids; those at 16 bits are left out.

        Raises PliantError as `apply` does, and for exceptions that name no tensor.
        In sequential calibration (`recollect`), put each into the network before asking for the next.
        """
        self._check_exceptions(model.network)
        for name, weight in weights.items():
            check_finite(name, weight)
        left = {name: weight for name, weight in weights.items() if self.bits_of(name) < 16}
        if self.method != "rtn":
            yield from self._calibrated(model, left)
        for name, weight in left.items():
            with naming(name):
                yield name, nearest(weight, self.bits_of(name), self.scheme, self.group)

    def bits_of(self, name: str) -> int:
        """The bits of one tensor: its exception's, or `bits`."""
        return next((bits for pattern, bits in self.exceptions.items() if fnmatchcase(name, pattern)), self.bits)

    def _check_exceptions(self, network: PreTrainedModel) -> None:
        """Raises PliantError for a pattern that no tensor's name matches: a slip of the pen would leave no trace."""
        names = [name for name, _ in network.named_parameters()]
        for pattern in self.exceptions:
            if not any(fnmatchcase(name, pattern) for name in names):
                raise PliantError(f"exceptions: no tensor is called {pattern!r}; {nearest_name(pattern, names)}")

    def _calibrated(self, model: Model, left: dict[str, Tensor]) -> Iterator[tuple[str, Quantized]]:
        """What calibration reaches, taken out of `left`; of the rest, what is to be refused or skipped is, too."""
        from pliant.quantization.stacks import Stack, batches, quantize_together, stacks

        assert self.method != "rtn"
        embeddings = embedding_weights(model.network)
        head = any(name in left and name not in embeddings for name in head_weights(model.network))

        def stacked(seen: Iterator[tuple[list[str], Inputs]]) -> Iterator[Stack]:
            for layers, inputs in seen:
                names = [f"{layer}.weight" for layer in layers if f"{layer}.weight" not in embeddings]
                yield from stacks({name: left.pop(name) for name in names if name in left}, inputs, self.bits_of, self.group)

        for seen in self._inputs(model, head):
            for batch in batches(stacked(seen)):
                yield from quantize_together(batch, self.method, self.scheme, self.group, self.act_order)
        for name in [name for name in left if name not in embeddings]:
            if self.uncalibrated == "refuse":
                unseen = f"{name}: method {self.method} cannot see its inputs"
                raise PliantError(f"{unseen}; set uncalibrated to nearest or skip, or change tensors")
            if self.uncalibrated == "skip":
                del left[name]

    def _inputs(self, model: Model, head: bool) -> Iterator[Iterator[tuple[list[str], Inputs]]]:
        """Layers with the inputs they share: of the whole model at once, or of one block after the other."""
        from pliant.quantization.calibration import calibration_of, sequentially

        assert self.calibration is not None  # see `_has_text`
        if self.recollect:
            yield from sequentially(model, self.calibration, self.samples, self.length, head)
        else:
            yield calibration_of(model, self.calibration, self.samples, self.length, head).groups()

    def save_packed(self, model: Model, folder: Path, fake_quantized: bool = False, keep: bool = True) -> None:
        """Write `model` with its linear layers packed for kernels; with `fake_quantized` also as `save` would, in a subfolder.

        `model` itself stays as it is, for which a copy of its weights is held; where it is not needed any more, say so with `keep`.
        Embeddings and output head keep their precision; choose `tensors: linear` to measure the same. Raises PliantError for what
        the format cannot hold, when compressed-tensors is missing, or when `folder` is not empty.
        """
        from pliant.quantization.packing import packable, save_packed

        if reason := self.unpackable(model):
            raise PliantError(reason)
        weights = packable(model.network, select(model.network, self.tensors))
        with restored(model) if keep else nullcontext():
            save_packed(model, weights, self.quantized(model, weights), self.bits, self.group, folder, fake_quantized)

    def unpackable(self, model: Model | None = None) -> str | None:
        """Why the packed format cannot hold what this makes (of `model`, when given), or None when it can."""
        from pliant.quantization import fold
        from pliant.quantization.packing import packable, unpackable

        forward = (self.activations, self.kv) != (None, None)
        reason = unpackable(self.bits, self.method, self.scheme, self.group, bool(self.exceptions), forward)
        if reason is None and self.method == "awq" and model is not None:
            return fold.refusal(model, packable(model.network, select(model.network, self.tensors)))
        return reason
