"""What `config.json` says of a network, and what in it is not followed.

Idea: a configuration describes a network and says nothing of where to read or what to run. Entries by which transformers would
read other files than those that were looked at and hashed are refused; those by which it would fetch kernels are left aside with
a note, since kernels change how fast a network runs and not what it says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError
from pliant.models.model import CONTEXT_FIELDS
from pliant.models.tasks import CAUSAL, TASKS, Task, configured_task, task_called
from pliant.models.vision import register
from pliant.progress import remark
from pliant.spec.yaml import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedConfig

ELSEWHERE = ("transformers_weights", "configuration_files")
"""Entries that name other files to be read."""
NOT_DESCRIBING = ("quantization_config", "auto_map", *ELSEWHERE)
"""Entries that say how weights are stored and what runs them, not what network they are of."""
BUILT_IN = (None, "eager", "sdpa", "flex_attention", "grouped_mm", "batched_mm")
"""Implementations that are part of PyTorch and transformers; all others may be fetched."""


LISTED = re.compile(r"(layers?|labels|experts|blocks)$")
"""Counts of which transformers makes a list while it reads them."""
LONGEST_LIST = 100_000


def check_config(folder: Path, trust_remote_code: bool, task: str | None = None) -> Task:
    """What the network answers with: `task`, or as `config.json` tells.

    Raises PliantError for what `config.json` asks for and cannot be had, before transformers says it in many lines.
    """
    from transformers import CONFIG_MAPPING, __version__

    register()
    check_no_adapter(folder)
    path = folder / "config.json"
    if not path.exists():
        raise PliantError(f"{folder}: config.json is missing; a model folder has config.json, model.safetensors and a tokenizer")
    config: Any = read_json(path, finite=False)
    if not isinstance(config, dict):
        raise PliantError(f"{path}: cannot be read (it is no set of names and values)")
    if "model_type" not in config:
        raise PliantError(f"{path}: names no model_type, so the architecture is unknown")
    kind, own_code = str(config["model_type"])[:80], config.get("auto_map")
    check_counts(config, str(path))
    for name, value in entries(config):
        if name in ELSEWHERE and value is not None:
            raise PliantError(f"{path}: {name} wants other files to be read ({value!r:.80}); remove that entry")
        if name == "quantization_config" and not isinstance(value, dict | None):
            raise PliantError(f"{path}: {name} is {value!r:.80}, not names and values; remove that entry if the weights are whole")
        if name in CONTEXT_FIELDS and isinstance(value, int | float) and value < 1:
            raise PliantError(f"{path}: {name} is {value}, but an input has at least one token")
        if name in ("dtype", "torch_dtype"):
            _check_dtype(value, f"{path}: {name}")
    told = task_called(task) if task is not None else None
    if trust_remote_code:
        return told or configured_task(config) or CAUSAL
    if kind not in CONFIG_MAPPING and own_code:
        raise PliantError(f"{folder}: {kind!r} needs modelling code that comes with the weights; allow it with trust_remote_code")
    if kind not in CONFIG_MAPPING:
        raise PliantError(f"{folder}: unknown architecture {kind!r}; transformers {__version__} does not have it")
    found = told or configured_task(config)
    if found is None:
        called = ", ".join(task.called for task in TASKS.values() if task is not CAUSAL)
        raise PliantError(f"{folder}: {kind!r} is not a causal language model, nor {called}, as far as config.json says")
    if not found.classes(kind):
        raise PliantError(f"{folder}: {kind!r} is not {found.called}")
    return found


def check_counts(config: dict[str, Any], where: str) -> None:
    """Refuses counts that would become lists without end. Raises PliantError that starts with `where`."""
    for name, value in entries(config):
        if LISTED.search(name) and isinstance(value, int | float) and value > LONGEST_LIST:
            raise PliantError(f"{where}: {name} is {value}, which no network has")


def check_no_adapter(folder: Path) -> None:
    """Refuses a folder with an adapter, which transformers would put on the network, or whose base it would look for elsewhere."""
    if (folder / "adapter_config.json").exists():
        raise PliantError(f"{folder}: holds an adapter, not a model; merge it into its base with peft (merge_and_unload) and save that")


def configuration(folder: Path, trust_remote_code: bool) -> PreTrainedConfig:
    """The checked `config.json` as transformers understands it, with nothing in it that would be fetched."""
    from transformers import AutoConfig

    config: Any = AutoConfig.from_pretrained(str(folder), trust_remote_code=trust_remote_code, local_files_only=True)
    wanted = [value for name, value in entries(read_json(folder / "config.json", finite=False)) if "_implementation" in name]
    foreign = [value for value in wanted if not (value is None or isinstance(value, str)) or value not in BUILT_IN]
    if foreign:
        remark(f"{folder}: config.json asks for {foreign[0]!r:.80}, which is not fetched; transformers' own is used")
        config._attn_implementation = None  # of its parts too
        config._experts_implementation = None
    return config


def plain(config: dict[str, Any]) -> dict[str, Any]:
    """The entries that describe a network, without those that would fetch or import something."""
    told = {name: value for name, value in config.items() if name not in NOT_DESCRIBING and "_implementation" not in name}
    return {name: plain(value) if isinstance(value, dict) else value for name, value in told.items()}  # pyright: ignore[reportUnknownArgumentType]


def entries(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every name and value, of the parts of a composite configuration too."""
    for name, value in config.items():
        yield name, value
        if isinstance(value, dict):
            yield from entries(value)


def _check_dtype(name: Any, where: str) -> None:
    """Refuses the name of a number type that is none. Composite configurations may name one for each part."""
    import torch

    if name is None or isinstance(name, dict):
        return
    found = getattr(torch, name, None) if isinstance(name, str) else None
    if not isinstance(found, torch.dtype) or not found.is_floating_point:
        raise PliantError(f"{where} is {name!r:.80}, which is no type of numbers for weights; float32, bfloat16 or float16")
