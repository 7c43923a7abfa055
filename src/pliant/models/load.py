"""Loading a network, from a folder, a GGUF file or the hub: language models, classifiers, encoders (see `tasks`).

Idea: transformers builds and fills the network; around it stand the checks that turn quiet accidents into errors. Weights
that are missing from the files would be drawn at random, a tokenizer larger than the embedding would index past its end,
a pickle would run code: none of these loads.
When to use: for weights that exist; `build` makes fresh ones.
Cost: the weights are read once and held in memory of their own, so that the files may be changed or deleted afterwards.
What goes wrong: float32 (the default on a CPU) takes twice the memory of a bfloat16 checkpoint; give `dtype="auto"` to keep
the checkpoint's own numbers.
"""

from __future__ import annotations

import contextlib
import os
import re
import warnings
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.data.regular import check_files
from pliant.errors import PliantError, first_line
from pliant.files import expanded
from pliant.models.adapters import base_of, is_adapter, merged
from pliant.models.checkpoint import Checkpoint
from pliant.models.checks import Stored, check_complete, check_head, check_layers, check_numbers, check_vocabulary
from pliant.models.configuration import check_config, check_no_adapter, configuration
from pliant.models.gguf import check_gguf, gguf_arguments, gguf_tokenizer, no_unpacking_bar
from pliant.models.images import ImageInput
from pliant.models.model import Model, parameter_counts
from pliant.models.packed_weights import forget_packing, unpacking
from pliant.models.revisions import tokens_of
from pliant.models.tasks import CAUSAL, Task, task_called
from pliant.models.trainer_state import facts_beside
from pliant.models.weight_files import has_tokenizer, tensors, weight_files
from pliant.progress import remark

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

    from pliant.data.tokenizer import Tokenizer

os.environ.setdefault("USE_HUB_KERNELS", "NO")  # read by transformers when it is imported: no architecture fetches code by itself
DTYPES = ("float32", "bfloat16", "float16", "float64")
_HUB_NAME = re.compile(r"[\w.-]+(/[\w.-]+)?")


def load(
    address: str | Path,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    tokenizer: Tokenizer | str | None = None,
    trust_remote_code: bool = False,
    gguf_file: str | None = None,
    task: str | None = None,
) -> Model:
    """A model ready to be measured.

    Args:
        address: A local folder, a `.gguf` file, or a hub repository as `name` or `name@revision`.
        device: Where to put it; PyTorch's default device where not given.
        dtype: Such as `torch.bfloat16` or its name; `auto` keeps the checkpoint's own. Where not given: float32 on a CPU,
            the checkpoint's own elsewhere.
        tokenizer: In place of the one beside the weights: a tokenizer, or what `load_tokenizer` takes.
        trust_remote_code: Run modelling code that comes with the weights.
        gguf_file: Name of a GGUF file inside the folder or repository, to be expanded to full precision.
        task: What it answers with (see `tasks`), where that is not what its `config.json` says.

    Raises PliantError when the checkpoint is missing, incomplete, corrupt, pickled, or does not fit its tokenizer.
    """
    if not isinstance(address, (str, Path)):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise PliantError(f"load takes an address, not {type(address).__name__}; save it to a folder and load that")
    name = str(address)
    path = expanded(name)
    if path.is_file() and path.suffix == ".gguf":
        return load_folder(path.parent, Checkpoint(name=name), device, dtype, tokenizer, trust_remote_code, path.name)
    if path.is_file():
        raise PliantError(f"{name}: a model is a folder (config.json, model.safetensors, tokenizer) or a .gguf file, not this file")
    if path.is_dir():
        return load_folder(path, Checkpoint(name=name), device, dtype, tokenizer, trust_remote_code, gguf_file, task)
    hub, revision = split_address(name)
    from pliant.models.hub_files import cached_snapshot

    known = Checkpoint(name=hub, revision=revision, tokens=_tokens(hub, revision))
    folder = cached_snapshot(hub, revision, gguf_file=gguf_file, code=trust_remote_code)
    return load_folder(folder, known, device, dtype, tokenizer, trust_remote_code, gguf_file, task)


def split_address(address: str) -> tuple[str, str | None]:
    """`name@revision` -> both parts. Raises PliantError for what can only be a missing local path."""
    hub, at, revision = address.partition("@")
    if _HUB_NAME.fullmatch(hub) is None or hub.startswith("."):
        raise PliantError(f"{address}: no such folder")
    if at and not revision:
        raise PliantError(f"{address}: a revision is missing after the @")
    return hub, revision or None


def _tokens(hub: str, revision: str | None) -> int | None:
    """Training tokens where the names tell."""
    with contextlib.suppress(PliantError):
        return tokens_of([revision], hub=hub)[revision] if revision is not None else None
    return None


def load_folder(
    folder: Path,
    known: Checkpoint,
    device: torch.device | str | None = None,
    dtype: torch.dtype | str | None = None,
    tokenizer: Tokenizer | str | None = None,
    trust_remote_code: bool = False,
    gguf_file: str | None = None,
    task: str | None = None,
) -> Model:
    """`load` for a folder whose facts are partly known; they take precedence over those stored beside the weights."""
    import torch

    if is_adapter(folder):
        base = load_folder(base_of(folder), Checkpoint(name=str(base_of(folder))), device, dtype, tokenizer, trust_remote_code, task=task)
        facts = base.checkpoint.model_copy(update=known.model_dump(exclude_none=True))
        return replace(base, network=merged(base.network, folder), checkpoint=facts)
    place = _device(device)
    number = _dtype(dtype, place)
    inside: Stored = {}
    answers = CAUSAL if task is None else task_called(task)
    if gguf_file is None:
        inside = tensors(weight_files(folder))
        answers = check_config(folder, trust_remote_code, task)
    else:
        check_gguf(folder, gguf_file)
        check_no_adapter(folder)
        check_files(folder)
    words = _tokenizer(folder, tokenizer, gguf_file, trust_remote_code) if answers.text else None
    with torch.device("cpu"):
        network = _network(folder, known.address, inside, number, trust_remote_code, gguf_file, answers)
    if words is not None:
        check_vocabulary(network, words, known.address)
    pixels = ImageInput.of(folder, network.config) if answers.images else None
    total, inner = parameter_counts(network)
    facts, damage = facts_beside(folder)
    if damage is not None:
        remark(damage)
    facts |= {**known.model_dump(exclude_none=True), "revision": known.revision, "params": total, "params_non_embedding": inner}
    return Model(_moved(network, place), words, Checkpoint.parse(facts), pixels=pixels)


def _network(
    folder: Path, address: str, stored: Stored, dtype: torch.dtype | str, trust_remote_code: bool, gguf_file: str | None, task: Task
) -> PreTrainedModel:
    common = {"dtype": dtype, "trust_remote_code": trust_remote_code, "local_files_only": True}
    checks = {"ignore_mismatched_sizes": True, "output_loading_info": True}  # reported, so that all are named at once
    kind: dict[str, Any]
    try:
        with quiet(), no_unpacking_bar() if gguf_file is not None else contextlib.nullcontext():
            if gguf_file is None:
                config = configuration(folder, trust_remote_code)
                check_layers(config.get_text_config(), stored, address)
                kind = {"config": config, "use_safetensors": True, **unpacking(folder, config, stored)}
            else:
                kind = gguf_arguments(gguf_file)
            loaded: Any = task.auto_class.from_pretrained(str(folder), **common, **checks, **kind)
    except PliantError:
        raise
    except Exception as error:  # transformers and the weights' own code raise anything
        raise PliantError(f"{address}: transformers cannot load it ({first_line(error)})") from error
    network, found = loaded
    check_complete(found, stored, address, network)
    check_numbers(network, address)
    check_head(network, address)
    if "quantization_config" in kind:
        forget_packing(network)
    return network


def _tokenizer(folder: Path, given: Tokenizer | str | None, gguf_file: str | None, trust_remote_code: bool) -> Tokenizer:
    from pliant.data.tokenizer import load_tokenizer

    if given is not None:
        return load_tokenizer(given, trust_remote_code) if isinstance(given, str) else given
    if has_tokenizer(folder):
        return load_tokenizer(folder, trust_remote_code)
    if gguf_file is None:
        raise PliantError(f"{folder}: no tokenizer beside the weights; name one with `tokenizer`")
    try:
        with quiet(), no_unpacking_bar():
            return gguf_tokenizer(folder, gguf_file)
    except Exception as error:  # the libraries raise anything
        raise PliantError(f"{folder}/{gguf_file}: its tokenizer cannot be read ({first_line(error)}); name one with `tokenizer`") from error


def _device(device: torch.device | str | None) -> torch.device:
    import torch

    try:
        return torch.get_default_device() if device is None else torch.device(device)
    except RuntimeError as error:
        raise PliantError(f"unknown device {device!r} ({first_line(error)})") from None


def _dtype(dtype: torch.dtype | str | None, device: torch.device) -> torch.dtype | str:
    import torch

    if dtype is None:
        return torch.float32 if device.type == "cpu" else "auto"
    if isinstance(dtype, torch.dtype) or dtype == "auto":
        return dtype
    found = getattr(torch, dtype, None) if dtype in DTYPES else None
    if found is None:
        raise PliantError(f"unknown dtype {dtype!r}; {', '.join(DTYPES)} or auto")
    return found


def _moved(network: PreTrainedModel, device: torch.device) -> PreTrainedModel:
    """On `device`, in memory of its own: what was read from a file is otherwise a view of that file."""
    if device.type == "cpu":
        for tensor in (*network.parameters(), *network.buffers()):
            tensor.data = tensor.data.clone()
        return network
    try:
        return network.to(device)  # pyright: ignore[reportArgumentType]
    except (RuntimeError, AssertionError) as error:
        raise PliantError(f"cannot use device {str(device)!r} ({first_line(error)})") from error


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """No progress bars or warnings from transformers: what matters in them is checked here."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        with warnings.catch_warnings(action="ignore"):
            yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
