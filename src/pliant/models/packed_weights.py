"""Checkpoints whose weights are stored as integers or 8-bit numbers, read as ordinary models.

Idea: transformers unpacks them while loading, where the format allows it, and what reminds of the packing is taken off the network.
A packed layer has no weight that could be changed, so it must never be mistaken for one that was.
When to use: `load` does. The weights start out rounded, which `pliant quantize` says.
Cost: the memory of the unpacked weights.
What goes wrong: formats that transformers runs but does not unpack are refused. Whether weights are packed is read off the files:
an entry in `config.json` may be left over from a run that packed them in memory.
"""

from __future__ import annotations

import inspect
import re
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pliant.errors import PliantError
from pliant.models.checks import Stored, computed
from pliant.progress import remark

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

ENTRIES = ("quantization_config", "compression_config")
_WHOLE = ("F16", "BF16", "F32", "F64")
_OF_PACKING = re.compile(r"scale|zero_point|zeros|absmax|quant|packed|codebook")


def unpacking(folder: Path, config: PreTrainedConfig, stored: Stored) -> dict[str, Any]:
    """What tells transformers to unpack the weights in `folder`; nothing for those that are not packed.

    Args:
        folder: For the message.
        config: What `config.json` says; an entry on packing is taken off it where the weights are whole.
        stored: The tensors in the files.

    Raises PliantError for a format that cannot be unpacked, and for whole numbers in place of weights.
    """
    parts = [config, *(part for name in config.sub_configs if (part := getattr(config, name, None)) is not None)]
    said = next((getattr(part, name) for part in parts for name in ENTRIES if getattr(part, name, None) is not None), None)
    if said is None:
        _refuse_integers(folder, stored)
        return {}
    if not any(_packed(name, entry) for name, entry in stored.items()):
        remark(f"{folder}: config.json says {_method(said)}, but the weights are whole and are read as they are; that entry can be deleted")
        for part in parts:
            for name in ENTRIES:
                vars(part).pop(name, None)
        return {}
    from transformers.quantizers.auto import AUTO_QUANTIZATION_CONFIG_MAPPING

    method = _method(said)
    known: Any = AUTO_QUANTIZATION_CONFIG_MAPPING.get(method)
    if known is None or "dequantize" not in inspect.signature(known).parameters:
        raise PliantError(
            f"{folder}: its weights are packed ({method}) and transformers cannot unpack that; give the checkpoint they were made from"
        )
    if method == "compressed-tensors" and find_spec("compressed_tensors") is None:
        raise PliantError(f"{folder}: unpacking its weights needs the package compressed-tensors: pip install 'pliant[kernels]'")
    return {"quantization_config": known(dequantize=True)}


def _method(said: Any) -> str:
    settings = cast("dict[str, Any]", said if isinstance(said, dict) else {})
    method = settings.get("quant_method")
    return f"{method:.80}" if isinstance(method, str) else "quantization without a method's name"


def _packed(name: str, entry: dict[str, Any]) -> bool:
    """Whether this tensor is of a kind that only packed weights have."""
    whole = entry["dtype"] in _WHOLE or computed(name, entry)
    return not whole or _OF_PACKING.search(name.rsplit(".", 1)[-1]) is not None


def _refuse_integers(folder: Path, stored: Stored) -> None:
    for name, entry in stored.items():
        floating = entry["dtype"][0] in "BF" and entry["dtype"] != "BOOL"
        if not floating and not computed(name, entry):
            raise PliantError(
                f"{folder}: {name} holds {entry['dtype']}, not weights, and config.json has no quantization_config that would say "
                "how they are packed; give the checkpoint they were made from"
            )


def forget_packing(network: PreTrainedModel) -> None:
    """Make an unpacked network one that can be trained and saved like any other."""
    for name in ("hf_quantizer", "quantization_method", "is_quantized"):
        if name in vars(network):
            delattr(network, name)
    vars(network.config).pop("quantization_config", None)
