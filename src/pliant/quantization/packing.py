"""Quantized weights in the packed form that kernels read: the `pack-quantized` format of compressed-tensors.

Idea: the same codes and grids that fake quantization rounds to, stored as b-bit integers with their scales. transformers loads such
a folder as any other (it then needs the package compressed-tensors), and serving engines run it with low-bit kernels.
Cost: the file is about bits/16 of a bf16 one. What goes wrong: scales are stored in the model's dtype, so a bf16 model's
packed weights differ from the fake-quantized ones in the last bf16 digit; AWQ's channel scales need a layer before that can take
them up (see `fold`); zero points of asymmetric grids are in the format, but transformers does not load them packed.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError
from pliant.files import disk_errors, replace_folder, workplace
from pliant.models.modules import heads, is_transposed, linear_layers
from pliant.quantization import fold
from pliant.quantization.grid import Granularity, Scheme
from pliant.quantization.nearest import Quantized

if TYPE_CHECKING:
    from torch import Tensor, nn

    from pliant.models import Model

FAKE_QUANTIZED = "simulated"
"""Name of the subfolder for the same weights rounded but not packed; scripts know it by this name."""

STRATEGIES = {"tensor": "tensor", "channel": "channel"}
"""The format's words for what shares a scale; a number of neighbours is a `group`."""


OTHERWISE = "or save them fake-quantized (--format simulated)"


def unpackable(bits: int, method: str, scheme: Scheme, granularity: Granularity, mixed: bool, forward: bool) -> str | None:
    """Why the format cannot hold weights quantized so, `mixed` in their bits or with the `forward` pass quantized; None when it can."""
    if method == "awq" and granularity == "tensor":
        return f"method awq cannot be packed with one grid a tensor; use channels or groups, {OTHERWISE}"
    if bits == 16 and not mixed:
        return "16 bits leave the weights alone, so there is nothing to pack; choose 2 to 8 bits"
    if scheme == "asymmetric":
        return f"asymmetric grids cannot be packed for transformers; use scheme symmetric or full_range, {OTHERWISE}"
    if forward:
        return "activations and cache are rounded at evaluation only, which no file holds; leave out activations and kv"
    if mixed:
        return f"packed weights hold one number of bits; leave out exceptions, {OTHERWISE}"
    if importlib.util.find_spec("compressed_tensors") is None:
        return "packed weights need the package compressed-tensors: pip install 'pliant[kernels]'"
    return None


def packable(network: nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Those of `weights` (by parameter name) that the format can hold: of linear layers, output heads left out, as kernels expect."""
    layers = {f"{name}.weight" for name, layer in linear_layers(network, head=False).items() if not is_transposed(layer)}
    return {name: weight for name, weight in weights.items() if name in layers}


def save_packed(
    model: Model,
    weights: Mapping[str, Tensor],
    quantized: Iterable[tuple[str, Quantized]],
    bits: int,
    granularity: Granularity,
    folder: Path,
    fake_quantized: bool = False,
) -> None:
    """Write `model` with those of its `weights` that are `quantized` packed; what was `fake_quantized` also goes to a subfolder.

    Args:
        model: Its weights are overwritten by what they are quantized to.
        weights: See `packable`; they share the network's memory.
        quantized: Each of them with its grids, of so many `bits` and that `granularity`; read once.
        folder: A new or empty one.

    Raises PliantError when there are no weights, or something is in `folder` already.
    """
    from pliant import models

    if folder.exists() and any(folder.iterdir()):
        raise PliantError(f"{folder} is not empty; choose another folder, or remove it")
    if not weights:
        raise PliantError("no linear layer is selected, so there is nothing to pack")
    packed: dict[str, dict[str, Tensor]] = {}
    channel_scales: dict[str, Tensor] = {}
    with disk_errors(folder):
        for name, one in quantized:
            packed[name] = _pack(one, bits, granularity)
            weights[name].copy_(one.values)
            if one.channel_scale is not None:
                channel_scales[name] = one.channel_scale
        with workplace(folder) as place:
            whole, unpacked = place / "model", place / FAKE_QUANTIZED
            if fake_quantized:
                models.save(model, unpacked)
            for name, divisor in (fold.fold(model, weights, channel_scales) if channel_scales else {}).items():
                if name in packed:
                    packed[name]["weight_scale"] /= divisor[:, None]
            _write(model, packed, _scheme(bits, granularity), whole)
            if fake_quantized:
                unpacked.rename(whole / FAKE_QUANTIZED)
            replace_folder(place, whole, folder)


def _scheme(bits: int, granularity: Granularity) -> Any:
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    described = {"num_bits": bits, "type": "int", "symmetric": True, "strategy": STRATEGIES.get(str(granularity), "group")}
    group = {"group_size": granularity} if isinstance(granularity, int) else {}
    return QuantizationScheme(targets=["Linear"], weights=QuantizationArgs.model_validate({**described, **group}))


def _pack(quantized: Quantized, bits: int, granularity: Granularity) -> dict[str, Tensor]:
    """The tensors that stand for one weight, its channels scaled where they are: packed codes, scales in float32, shape."""
    from compressed_tensors.compressors.pack_quantized.base import PackedQuantizationCompressor

    scale = 1 / quantized.grid.scale
    scale = scale.reshape(1) if granularity == "tensor" else scale.reshape(len(quantized.values), -1)
    values = quantized.values if quantized.channel_scale is None else quantized.values * quantized.channel_scale
    return dict(PackedQuantizationCompressor.compress({"weight": values, "weight_scale": scale}, _scheme(bits, granularity)))


def _write(model: Model, packed: Mapping[str, Mapping[str, Tensor]], scheme: Any, folder: Path) -> None:
    """A folder as `models.save` writes it, its quantized weights replaced by packed ones and its config telling so."""
    import json

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
    config = json.loads((folder / "config.json").read_text())
    described = _described(model.network, packed, scheme)
    (folder / "config.json").write_text(json.dumps({**config, "quantization_config": described}, indent=2))


def _described(network: nn.Module, packed: Mapping[str, object], scheme: Any) -> dict[str, Any]:
    """What config.json says of the packed weights, and of the layers that are none: heads first."""
    from compressed_tensors.quantization import QuantizationConfig, QuantizationStatus

    names = {layer: name for name, layer in linear_layers(network).items()}
    outputs = [names[layer] for module in heads(network) for layer in linear_layers(module).values()]
    plain = {name for name, layer in linear_layers(network, head=False).items() if not is_transposed(layer)}
    ignored = sorted(name for name in plain if f"{name}.weight" not in packed)
    described = QuantizationConfig(
        config_groups={"group_0": scheme},
        format="pack-quantized",
        quantization_status=QuantizationStatus.COMPRESSED,
        ignore=[*outputs, *ignored],
    )
    return described.model_dump(mode="json")
