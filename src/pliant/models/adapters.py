"""Adapters: a small update kept apart from the weights it belongs to, in the folders that PEFT writes and reads.

Idea: `adapter_config.json` names the base and how the update is put on it, `adapter_model.safetensors` holds it. Loading one here loads
its base, puts the update on it, and merges; what is measured is the merged network.
What goes wrong: the base is looked for where the adapter says, in a folder of this machine only: a file does not make pliant ask a hub.
"""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError, first_line
from pliant.files import disk_errors, expanded, replace_folder, workplace
from pliant.progress import remark
from pliant.spec.yaml import read_json

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
PREFIX = "base_model.model."
"""What PEFT puts before the names that layers have in the network."""


PROMPTS = ("PROMPT_TUNING", "MULTITASK_PROMPT_TUNING", "P_TUNING", "PREFIX_TUNING", "ADAPTION_PROMPT", "CPT")
"""What PEFT calls kinds of adapters that leave the weights as they are."""


@dataclass(frozen=True)
class Adapter:
    """An update that can be kept apart from the weights it belongs to, as PEFT stores it."""

    config: dict[str, Any]
    """PEFT's own, as plain values."""
    tensors: dict[str, Tensor]
    """By the names that layers have in the network."""


def save_adapter(adapter: Adapter, folder: str | Path, base: str) -> None:
    """Write the two files that PEFT loads; `base` is the address of the model it belongs to.

    Raises PliantError when there is something in the folder, and for a full or read-only disk.
    """
    from safetensors.torch import save_file

    target = expanded(folder)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise PliantError(f"{target} exists already; choose a new folder")
    config = {**adapter.config, "base_model_name_or_path": base, "task_type": "CAUSAL_LM", "inference_mode": True}
    with workplace(target) as place, disk_errors(target):
        made = place / "adapter"
        made.mkdir()
        (made / CONFIG).write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        tensors = {PREFIX + name: tensor.contiguous() for name, tensor in adapter.tensors.items()}
        save_file(tensors, made / WEIGHTS, metadata={"format": "pt"})
        if target.exists():
            target.rmdir()
        replace_folder(place, made, target)


def is_adapter(folder: Path) -> bool:
    """Whether the folder holds an adapter and no model of its own."""
    return (folder / CONFIG).is_file() and not (folder / "config.json").exists()


def base_of(folder: Path) -> Path:
    """The folder of the model that an adapter belongs to. Raises PliantError where there is no such folder on this machine."""
    config: Any = read_json(folder / CONFIG)
    name = config.get("base_model_name_or_path") if isinstance(config, dict) else None
    if not isinstance(name, str) or not name:
        raise PliantError(f"{folder / CONFIG}: names no base; put the folder of its model as base_model_name_or_path")
    found = next((place for place in (expanded(name), folder / name) if (place / "config.json").is_file()), None)
    if found is None:
        raise PliantError(
            f"{folder}: its base {name!r} is no folder of this machine; fetch it, and put its folder as base_model_name_or_path in {CONFIG}"
        )
    return found


def _left_out(adapted: Any, folder: Path) -> tuple[list[str], list[str]]:
    """Tensors of the adapter's file that went nowhere, and those of the adapter for which the file has none: PEFT passes over both."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    with safe_open(folder / WEIGHTS, "pt") as file:
        held = set(file.keys())
    asked = set(get_peft_model_state_dict(adapted, save_embedding_layers=False))
    return sorted(held - asked - set(adapted.state_dict())), sorted(asked - held)


def merge_into_base(adapted: Any, what: str) -> Any:
    """PEFT's network with its adapters merged; says so where layers hold the same numbers as before, as if there had been none.

    Raises what PEFT does for numbers that are not finite.
    """
    layers = {name: layer.base_layer for name, layer in adapted.model.named_modules() if hasattr(layer, "base_layer")}
    before = {name: _sums(layer) for name, layer in layers.items()}
    found = adapted.merge_and_unload(safe_merge=True)
    same = [name for name, sums in before.items() if _sums(found.get_submodule(name)) == sums]
    if same:
        more = f" and {len(same) - 1} more" if len(same) > 1 else ""
        which = "every layer" if len(same) == len(layers) else f"{same[0]}{more} of {len(layers)} layers"
        remark(f"{what} leaves {which} as before: its update is zero there, or below the last digit of the weights")
    return found


def _sums(layer: Any) -> tuple[float, ...]:
    """What tells whether a layer's numbers changed, without a copy of them."""
    import torch

    return tuple(float(part) for p in layer.parameters() for part in (p.sum(dtype=torch.float64), p.abs().sum(dtype=torch.float64)))


def merged(network: PreTrainedModel, folder: Path) -> PreTrainedModel:
    """`network` with the adapter in `folder` merged into its weights. Raises PliantError for an adapter that does not fit or is pickled."""
    from peft import PeftModel

    described: Any = read_json(folder / CONFIG)
    kind = str(described.get("peft_type")) if isinstance(described, dict) else ""
    if kind in PROMPTS:
        raise PliantError(f"{folder}: {kind} learns prompts, not an update of weights, so there is nothing to merge into its base")
    if not (folder / WEIGHTS).is_file():
        raise PliantError(f"{folder}: {WEIGHTS} is missing; save the adapter with safetensors")
    try:
        with warnings.catch_warnings(action="ignore"):
            adapted: Any = PeftModel.from_pretrained(network, str(folder), local_files_only=True, torch_device="cpu")
        missing = [name for name, parameter in adapted.named_parameters() if not parameter.isfinite().all()]
        unused, unset = _left_out(adapted, folder)
        found = merge_into_base(adapted.base_model, f"{folder}")
    except Exception as error:  # PEFT and safetensors raise anything
        raise PliantError(f"{folder}: this adapter cannot be put on its base ({first_line(error)})") from None
    if unused:
        raise PliantError(f"{folder}: {unused[0]} has no place in its base, so it would be left out; the adapter belongs to another model")
    if unset:
        raise PliantError(f"{folder}: {WEIGHTS} holds no {unset[0]}, which {CONFIG} says was trained; the adapter is incomplete")
    if missing:
        raise PliantError(f"{folder}: {missing[0]} is not a finite number; the adapter is damaged")
    for attribute in ("peft_config", "_hf_peft_config_loaded"):
        found.__dict__.pop(attribute, None)
    return found
