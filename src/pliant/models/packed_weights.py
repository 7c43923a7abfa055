"""Checkpoints whose weights are stored as integers or 8-bit numbers, read as ordinary models.

Idea: transformers unpacks them while loading, where the format allows it, and what reminds of the packing is taken off the network.
A packed layer has no weight that could be changed, so it must never be mistaken for one that was.
When to use: `load` does. The weights start out rounded, which `pliant quantize` says.
Cost: the memory of the unpacked weights.
What goes wrong: formats that transformers runs but does not unpack are refused.
"""

from __future__ import annotations

import contextlib
import inspect
import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pliant.errors import PliantError

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def unpacking(folder: Path) -> dict[str, Any]:
    """What tells transformers to unpack the weights in `folder`; nothing for those that are not packed.

    Raises PliantError for a format that cannot be unpacked.
    """
    config: Any = None
    with contextlib.suppress(OSError, ValueError):
        config = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("quantization_config")
    if not isinstance(config, dict):
        return {}
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    method = str(cast("dict[str, Any]", config).get("quant_method"))
    known: Any = AUTO_QUANTIZATION_CONFIG_MAPPING.get(method)
    if known is None or "dequantize" not in inspect.signature(known).parameters:
        raise PliantError(
            f"{folder}: its weights are packed ({method}) and transformers cannot unpack that; give the checkpoint they were made from"
        )
    if method == "compressed-tensors" and find_spec("compressed_tensors") is None:
        raise PliantError(f"{folder}: unpacking its weights needs the package compressed-tensors: pip install 'pliant[kernels]'")
    return {"quantization_config": known(dequantize=True)}


def forget_packing(network: PreTrainedModel) -> None:
    """Make an unpacked network one that can be trained and saved like any other."""
    for name in ("hf_quantizer", "quantization_method", "is_quantized"):
        if name in vars(network):
            delattr(network, name)
    vars(network.config).pop("quantization_config", None)
