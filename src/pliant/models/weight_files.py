"""The weight files of a model folder, looked at before anything is loaded.

Idea: a safetensors file says in its first bytes what it holds and how long it must be. Reading only that finds a
truncated download in milliseconds, counts parameters without torch, and keeps pickles out: a folder that has nothing
but pickled weights is refused, never opened.
What is looked at and hashed is exactly what transformers reads; a folder in which it would read other files is refused.
Source: the safetensors format (8 bytes of header length, a JSON header with dtype, shape and offsets, the data).
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from math import prod
from pathlib import Path
from typing import Any

from pliant.data.content import contents
from pliant.data.regular import check_files
from pliant.errors import PliantError
from pliant.models.images import PROCESSOR
from pliant.models.tasks import configured_task
from pliant.spec.yaml import parse_json, read_json

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
    (r"^adapter_(config|model)\.", "holds an adapter, but no adapter_model.safetensors; save it with safetensors, or merge it with peft"),
    (r"\.gguf$", f"no {SINGLE}, but a GGUF; name that file, or load it with gguf_file={{0!r}}"),
    (
        r"\.(bin|pt|pth|ckpt|pkl)$",
        "the weights are pickled ({0}), and unpickling runs whatever code is inside; convert them where you trust "
        "them: AutoModelForCausalLM.from_pretrained(FOLDER).save_pretrained(NEW) writes safetensors",
    ),
)
"""What is found in the place of weights, by a pattern of its name, and what to do."""
LONGEST_BESIDE = 2**28
"""Bytes of a configuration's or tokenizer's file; a vocabulary of a quarter of a million takes about 35 MB."""
LONGEST_HEADER = 100_000_000
"""Bytes; the format's own limit."""
NUMBER_BITS = {"BOOL": 8, "BF16": 16, "C64": 64, **{f"F{bits}": bits for bits in (4, 16, 32, 64)}} | {
    f"{kind}{bits}": bits for kind in "IU" for bits in (8, 16, 32, 64)
}
"""Bits a number, by the format's names of number types; those of 8 and 6 bits have further names."""
_RANK_SHARD = re.compile(r"shard-\d{5}-model-\d{5}-of-\d{5}\.safetensors")
TOKENIZER_FILES = (
    *("tokenizer*", "vocab*", "merges.txt", "*.model", "*.tiktoken", "tekken.json"),
    *("special_tokens_map.json", "added_tokens.json", "chat_template*"),
)
"""Patterns of the files a tokenizer is made of, in every format transformers reads."""


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files that make up the model in `folder`, each checked to be whole.

    Raises PliantError when there are none (with what to do about pickled ones), when one that the index names is
    missing, when one is truncated, and when transformers would read others.
    """
    check_files(folder)
    part = next((path for path in folder.iterdir() if _RANK_SHARD.fullmatch(path.name)), None)
    if part is not None:  # which transformers would read in place of any other
        raise PliantError(f"{part}: is a part that torch.distributed wrote; save the model whole, in a folder of its own")
    if (folder / SINGLE).is_file():
        files = [folder / SINGLE]
    elif (folder / INDEX).is_file():
        files = [folder / name for name in _shards(folder / INDEX)]
    else:
        raise PliantError(f"{folder}: {why_no_weights(path.name for path in folder.iterdir())}")
    tensors(files)
    return files


def tensors(files: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Name -> {dtype, shape, data_offsets} of every tensor in the files. Raises PliantError, also for a name that comes twice."""
    found: dict[str, dict[str, Any]] = {}
    for path in files:
        here = header(path)
        twice = next((name for name in here if name in found), None)
        if twice is not None:
            raise PliantError(f"{path}: holds {twice}, which another file of the model holds too; download or save them again")
        found |= here
    return found


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
    weight_map: Any = read_json(index, finite=False)
    weight_map = weight_map.get("weight_map") if isinstance(weight_map, dict) else None
    if not isinstance(weight_map, dict) or not weight_map:
        raise PliantError(f"{index}: is not an index of weight files; download it again")
    names = {str(name) for name in weight_map.values()}
    plain = {name for name in names if Path(name).name == name and name.isprintable() and name.endswith(".safetensors")}
    if plain != names:
        raise PliantError(f"{index}: names {min(names - plain)!r:.80}, which is no safetensors file beside it")
    return sorted(names)


def header(path: Path) -> dict[str, dict[str, Any]]:
    """Name -> {dtype, shape, data_offsets} of every tensor in a safetensors file.

    Raises PliantError when the file is missing, not what its header says, or no safetensors at all.
    """
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 8 or length > min(size - 8, LONGEST_HEADER):
                raise PliantError(f"{path}: is truncated or no safetensors file; download or save it again")
            content: Any = parse_json(stream.read(length), str(path))
    except FileNotFoundError:
        raise PliantError(f"{path}: no such file; the checkpoint is incomplete") from None
    except OSError as error:
        raise PliantError(f"{path}: cannot be read ({error.strerror or error})") from None
    named: dict[str, Any] = content if isinstance(content, dict) else {"": None}
    entries = {name: entry for name, entry in named.items() if name != "__metadata__"}
    end = _end(path, entries)
    if 8 + length + end != size:
        raise PliantError(
            f"{path}: is truncated or corrupt ({size:,} bytes, its header says {8 + length + end:,}); download or save it again"
        )
    return entries


def _end(path: Path, entries: dict[str, Any]) -> int:
    """Bytes of data that a header describes, after checking that its tensors follow each other without gap or overlap."""
    end = 0
    try:
        for name, entry in sorted(entries.items(), key=lambda item: item[1]["data_offsets"]):
            begin, after = map(_count, entry["data_offsets"])
            if begin != end or (after - begin) * 8 != prod(map(_count, entry["shape"])) * _bits(entry["dtype"]):
                raise ValueError(name)
            end = after
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        where = f" ({error})" if isinstance(error, ValueError) else ""
        raise PliantError(f"{path}: is corrupt or no safetensors file{where}; download or save it again") from None
    return end


def _count(number: Any) -> int:
    if type(number) is not int or number < 0:
        raise ValueError(f"{number!r:.40} is no size")
    return number


def _bits(dtype: str) -> int:
    return NUMBER_BITS[dtype] if dtype in NUMBER_BITS else int(re.fullmatch(r"F([68])_E\w+", dtype)[1])  # pyright: ignore[reportOptionalSubscript]


def stored_parameters(files: Iterable[Path]) -> int:
    """Numbers stored in the files, tied tensors once: the parameter count wherever a model keeps no other buffers."""
    return sum(prod(entry["shape"]) for entry in tensors(files).values())


def has_tokenizer(folder: Path) -> bool:
    """Whether any file of a tokenizer is there."""
    return any(next(folder.glob(pattern), None) is not None for pattern in TOKENIZER_FILES)


def content_hash(folder: Path, files: Iterable[Path]) -> str:
    """16 hexadecimal digits over the bytes of the weight files and of what gives them meaning (configuration, tokenizer, form of images).

    Cost: reads every byte, one to two gigabytes a second; files that did not change since are not read again (see `data/content`).
    Raises PliantError for a file that cannot be read, or changes meanwhile.
    """
    patterns = ("config.json", *TOKENIZER_FILES, *((PROCESSOR,) if _reads_images(folder) else ()))
    beside = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    for path in beside:
        if path.stat().st_size > LONGEST_BESIDE:
            raise PliantError(f"{path}: is larger than such a file can be ({LONGEST_BESIDE / 1e6:.0f} MB)")
    paths = sorted({*beside, *files})
    told = "".join(f"{path.name} {content}\n" for path, content in zip(paths, contents(paths), strict=True))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def _reads_images(folder: Path) -> bool:
    """Whether the form of its images is part of what a model is; text models may have such a file for parts that nobody uses here."""
    if not (folder / PROCESSOR).is_file() or not (folder / "config.json").is_file():
        return False
    config: Any = read_json(folder / "config.json", finite=False)
    task = configured_task(config) if isinstance(config, dict) else None
    return task is not None and task.images
