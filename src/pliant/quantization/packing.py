"""Quantized weights in the packed form that kernels read: the `pack-quantized` format of compressed-tensors.

Idea: the same codes and grids that `quantize` simulates, stored as b-bit integers with their scales. transformers loads such
a folder as any other (it then needs the package compressed-tensors), and serving engines run it with low-bit kernels.
Cost: the file is about bits/16 of a bf16 one. What goes wrong: scales are stored in the model's dtype, so a bf16 model's
packed weights differ from the simulated ones in the last bf16 digit; AWQ's stretched channels need a layer before that can take
them up (see `changes.fold`); zero points of asymmetric grids are in the format, but transformers does not load them packed.
"""

from __future__ import annotations

import importlib.util
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.changes.quantize import Quantize
from pliant.changes.restore import restored
from pliant.errors import PliantError
from pliant.files import disk_errors, replace_folder, workplace
from pliant.models.modules import select
from pliant.quantization import fold
from pliant.quantization.nearest import Rounded

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.models import Model

SIMULATED = "simulated"
"""Name of the subfolder for the same weights rounded but not packed."""

STRATEGIES = {"tensor": "tensor", "channel": "channel"}
"""The format's words for what shares a scale; a number of neighbours is a `group`."""


def save_packed(change: Quantize, model: Model, folder: Path, simulated: bool = False, keep: bool = True) -> None:
    """Write `model` with its linear layers quantized by `change`, packed; with `simulated` also as `change.save` would, in a subfolder.

    `model` itself stays as it is, for which a copy of its weights is held; where it is not needed any more, say so with `keep`.
    Embeddings and the output head keep their precision, as kernels expect; choose `tensors: linear` to measure the same.
    Raises PliantError for what the format cannot hold, when compressed-tensors is missing, or when `folder` is not empty.
    """
    if reason := unpackable(change, model):
        raise PliantError(reason)
    if folder.exists() and any(folder.iterdir()):
        raise PliantError(f"{folder} is not empty; choose another folder, or remove it")
    weights = _selected(change, model)
    if not weights:
        raise PliantError("no linear layer is selected, so there is nothing to pack")
    from pliant import models

    packed: dict[str, dict[str, Tensor]] = {}
    stretches: dict[str, Tensor] = {}
    with restored(model) if keep else nullcontext(), disk_errors(folder):
        for name, rounded in change.rounded(model, weights):
            packed[name] = _pack(rounded, change)
            weights[name].copy_(rounded.values)
            if rounded.stretch is not None:
                stretches[name] = rounded.stretch
        with workplace(folder) as place:
            whole, unpacked = place / "model", place / SIMULATED
            if simulated:
                models.save(model, unpacked)
            for name, divisor in (fold.fold(model, weights, stretches) if stretches else {}).items():
                if name in packed:
                    packed[name]["weight_scale"] /= divisor[:, None]
            _write(change, model, packed, whole)
            if simulated:
                unpacked.rename(whole / SIMULATED)
            replace_folder(place, whole, folder)


def unpackable(change: Quantize, model: Model | None = None) -> str | None:
    """Why the packed format cannot hold what `change` makes (of `model`, when given), or None when it can."""
    if change.method == "awq" and change.group == "tensor":
        return "method awq cannot be packed with one grid a tensor; use channels or groups, or save the simulated weights"
    if change.method == "awq" and model is not None:
        try:
            fold.check(model, _selected(change, model))
        except PliantError as error:
            return str(error)
    if change.bits == 16 and not change.exceptions:
        return "16 bits leave the weights alone, so there is nothing to pack; choose 2 to 8 bits"
    if change.scheme == "asymmetric":
        return "asymmetric grids cannot be packed for transformers; use scheme symmetric or full_range, or save the simulated weights"
    if change.activations is not None or change.kv is not None:
        return "activations and cache are rounded at evaluation only, which no file holds; leave out activations and kv"
    if change.exceptions:
        return "packed weights hold one number of bits; leave out exceptions, or save the simulated weights"
    if importlib.util.find_spec("compressed_tensors") is None:
        return "packed weights need the package compressed-tensors: pip install 'pliant[kernels]'"
    return None


def _selected(change: Quantize, model: Model) -> dict[str, Tensor]:
    """The weights of linear layers that `change` rounds."""
    linear = _linear_weights(model)
    return {name: weight for name, weight in select(model.network, change.tensors).items() if name in linear}


def _linear_weights(model: Model) -> set[str]:
    """Names of the weights of linear layers, without the output head's."""
    from torch import nn

    head = model.network.get_output_embeddings()
    layers = model.network.named_modules()
    return {f"{name}.weight" for name, module in layers if isinstance(module, nn.Linear) and module is not head}


def _scheme(change: Quantize) -> Any:
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    described = {"num_bits": change.bits, "type": "int", "symmetric": True, "strategy": STRATEGIES.get(str(change.group), "group")}
    group = {"group_size": change.group} if isinstance(change.group, int) else {}
    return QuantizationScheme(targets=["Linear"], weights=QuantizationArgs.model_validate({**described, **group}))


def _pack(rounded: Rounded, change: Quantize) -> dict[str, Tensor]:
    """The tensors that stand for one weight, stretched where it is: packed codes, scales in float32, shape."""
    from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor

    scale = 1 / rounded.grid.scale
    scale = scale.reshape(1) if change.group == "tensor" else scale.reshape(len(rounded.values), -1)
    values = rounded.values if rounded.stretch is None else rounded.values * rounded.stretch
    return dict(PackedQuantizationCompressor.compress({"weight": values, "weight_scale": scale}, _scheme(change)))


def _write(change: Quantize, model: Model, packed: dict[str, dict[str, Tensor]], folder: Path) -> None:
    """A folder as `models.save` writes it, its rounded weights replaced by packed ones and its config telling so."""
    import json

    from compressed_tensors.quantization import QuantizationConfig, QuantizationStatus
    from safetensors import safe_open
    from safetensors.torch import save_file

    from pliant import models

    models.save(model, folder)
    files = sorted(folder.glob("*.safetensors"))
    state: dict[str, Tensor] = {}
    for file in files:
        with safe_open(file, "pt") as stored:
            state |= {name: stored.get_tensor(name) for name in stored.keys() if name not in packed}  # noqa: SIM118
    for name, tensors in packed.items():
        dtype = model.network.get_parameter(name).dtype
        tensors = {**tensors, "weight_scale": tensors["weight_scale"].to(dtype)}
        state |= {f"{name.removesuffix('weight')}{key}": tensor.cpu().contiguous() for key, tensor in tensors.items()}
    for file in (*files, *folder.glob("*.safetensors.index.json")):
        file.unlink()
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    ignored = sorted(name.removesuffix(".weight") for name in _linear_weights(model) - set(packed))
    described = QuantizationConfig(
        config_groups={"group_0": _scheme(change)},
        format="pack-quantized",
        quantization_status=QuantizationStatus.COMPRESSED,
        ignore=["lm_head", *ignored],
    )
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": described.model_dump(mode="json")}, indent=2))
