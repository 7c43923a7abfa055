"""The weight files of a model folder, looked at before anything is loaded.

Idea: a safetensors file says in its first bytes what it holds and how long it must be. Reading only that finds a
truncated download in milliseconds, counts parameters without torch, and keeps pickles out: a folder that has nothing
but pickled weights is refused, never opened.
Source: the safetensors format (8 bytes of header length, a JSON header with dtype, shape and offsets, the data).
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from functools import cache
from math import prod
from pathlib import Path
from typing import Any

from pliant.errors import PliantError

SINGLE = "model.safetensors"
INDEX = "model.safetensors.index.json"
STATE_OF_TRAINER = r"(^|/)(optimizer|scheduler|scaler|training_args|rng_state|random_states|trainer_state|sampler|dl_state)[^/]*$"
"""What training programs write beside weights, or without them."""
UNUSABLE = (
    (
        r"fsdp_\d+(/|$)|\.distcp$|^\.metadata$",
        "holds only the sharded weights of FSDP ({0}); merge them with `accelerate merge-weights`, and put config and tokenizer beside",
    ),
    (
        r"^global_step|^zero_to_fp32\.py$|(zero_pp_rank|mp_rank)[^/]*\.pt$",
        "holds only the sharded state of DeepSpeed ({0}); merge it with its zero_to_fp32.py --safe_serialization, and put config and "
        "tokenizer beside",
    ),
    (r"^adapter_(config|model)\.", "holds an adapter, not a model; merge it into its base with peft (merge_and_unload) and save that"),
    (r"\.gguf$", f"no {SINGLE}, but a GGUF; name that file, or load it with gguf_file={{0!r}}"),
    (
        r"\.(bin|pt|pth|ckpt|pkl)$",
        "the weights are pickled ({0}), and unpickling runs whatever code is inside; convert them where you trust "
        "them: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW) writes safetensors",
    ),
)
"""What is found in the place of weights, by a pattern of its name, and what to do."""
LONGEST_HEADER = 100_000_000
"""Bytes; the format's own limit."""
TOKENIZER_FILES = ("tokenizer*", "vocab*", "merges.txt", "*.model", "special_tokens_map.json", "added_tokens.json", "chat_template*")
"""Patterns of the files a tokenizer is made of, in every format transformers reads."""


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that make up the model in `folder`, each checked to be whole.

    Raises PliantError when there are none (with what to do about pickled ones), when one that the index names is
    missing, or when one is truncated.
    """
    if (folder / SINGLE).is_file():
        files = [folder / SINGLE]
    elif (folder / INDEX).is_file():
        files = [folder / name for name in _shards(folder / INDEX)]
    else:
        raise PliantError(f"{folder}: {why_no_weights(path.name for path in folder.iterdir())}")
    for path in files:
        header(path)
    return files


def why_no_weights(names: Iterable[str]) -> str:
    """What is wrong with a folder of these files and folders, which has no safetensors of a whole model, and what to do."""
    present = sorted(names)
    if not present:
        return "is empty"
    for pattern, reason in UNUSABLE:
        found = next((name for name in present if re.search(pattern, name) and not re.search(STATE_OF_TRAINER, name)), None)
        if found is not None:
            return reason.format(found)
    if any(re.search(STATE_OF_TRAINER, name) for name in present):
        return f"no weights here ({SINGLE} is missing), only the state of an optimizer or trainer; save the model itself"
    if "config.json" in present:
        return f"no weights here ({SINGLE} is missing); saving was cut short, or the download: save it or download it again"
    other = next((name for name in present if name.endswith(".safetensors")), None)
    return f"no weights here ({SINGLE} is missing{f', there is only {other}' if other else ''})"


def _shards(index: Path) -> list[str]:
    try:
        weight_map = json.loads(index.read_text(encoding="utf-8"))["weight_map"]
        names = sorted({str(name) for name in weight_map.values()})
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise PliantError(f"{index}: is not an index of weight files; download it again") from None
    strange = next((name for name in names if Path(name).name != name or not name.endswith(".safetensors")), None)
    if strange is not None or not names:
        raise PliantError(f"{index}: names {strange!r}, which is no safetensors file beside it")
    return names


def header(path: Path) -> dict[str, Any]:
    """Name -> {dtype, shape, data_offsets} of every tensor in a safetensors file.

    Raises PliantError when the file is missing, shorter or longer than its header says, or no safetensors at all.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > min(size - 8, LONGEST_HEADER):
                raise PliantError(f"{path}: is truncated or no safetensors file; download or save it again")
            content = json.loads(stream.read(length))
        tensors = {name: entry for name, entry in content.items() if name != "__metadata__"}
        end = 8 + length + max((int(entry["data_offsets"][1]) for entry in tensors.values()), default=0)
    except FileNotFoundError:
        raise PliantError(f"{path}: no such file; the checkpoint is incomplete") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise PliantError(f"{path}: is corrupt or no safetensors file ({type(error).__name__}); download or save it again") from None
    if end != size:
        raise PliantError(f"{path}: is truncated or corrupt ({size:,} bytes, its header says {end:,}); download or save it again")
    return tensors


def stored_parameters(files: Iterable[Path]) -> int:
    """Numbers stored in the files, tied tensors once: the parameter count wherever a model keeps no other buffers."""
    return sum(prod(entry["shape"]) for path in files for entry in header(path).values())


def has_tokenizer(folder: Path) -> bool:
    """Whether any file of a tokenizer is there."""
    return any(next(folder.glob(pattern), None) is not None for pattern in TOKENIZER_FILES)


def content_hash(folder: Path, files: Iterable[Path]) -> str:
    """16 hexadecimal digits over the bytes of the weight files and of what gives them meaning (configuration, tokenizer).

    Cost: reads every byte, one to two gigabytes a second; files that did not change since are not read again by this process.
    """
    beside = {path for pattern in ("config.json", *TOKENIZER_FILES) for path in folder.glob(pattern) if path.is_file()}
    content = hashlib.sha256()
    for path in sorted({*beside, *files}):
        found = path.stat()
        content.update(f"{path.name} {_file_hash(path, found.st_size, found.st_mtime_ns)}\n".encode())
    return content.hexdigest()[:16]


@cache
def _file_hash(path: Path, size: int, modified: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
