"""A merged model written as files, without loading any of those it is made of.

Idea: the format says at the beginning of a file where each tensor will lie, so pieces can be written as they come. Everything is put
into a hidden folder that takes its place in the end: a kill leaves nothing half.
Cost: memory for a piece of each input (with TIES, the magnitudes of one tensor beside them); every weight is read once, by slerp and
TIES twice, and what was written once more, for its hash.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.data.tokenizer import load_tokenizer
from pliant.errors import PliantError
from pliant.files import disk_errors, expanded, workplace
from pliant.merging.blend import Account, blended
from pliant.merging.formulas import Formula, Setting
from pliant.merging.inputs import opened, plain_outline
from pliant.merging.pieces import TYPES, Entry, FileWeights, entries_of, spans
from pliant.models.checkpoint import Checkpoint, write_facts
from pliant.models.images import PROCESSOR
from pliant.models.load import DTYPES, split_address
from pliant.models.model import parameter_counts
from pliant.models.save import replaced_folder
from pliant.models.trainer_state import facts_beside
from pliant.models.weight_files import INDEX, SINGLE, TOKENIZER_FILES, has_tokenizer, weight_files
from pliant.spec.yaml import read_json

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from pliant.models.stored_model import StoredModel

SHARD = 5 * 10**9
"""Bytes beyond which another file is begun."""
BESIDE = ("generation_config.json", PROCESSOR)
"""What is copied from the base, besides configuration and tokenizer."""


def rewritten(
    named: StoredModel, others: Sequence[StoredModel], formula: Formula, told: Setting, folder: Path
) -> tuple[Account, str] | None:
    """Write the merged model to `folder`; the account of it and the hash of its weights, or None where the base must be loaded.

    Numbers are written in the base's own types, or in the one its `dtype` says. Raises PliantError where the inputs do not fit together.
    """
    network = plain_outline(named)
    if network is None:
        return None
    source, account = named.folder(), Account()
    words = load_tokenizer(named.tokenizer or source) if named.tokenizer or has_tokenizer(source) else None
    with workplace(folder) as scratch, replaced_folder(folder) as made, ExitStack() as closing:
        base = FileWeights(weight_files(source), named.address)
        closing.callback(base.close)
        inputs = [opened(other, network, words, named.address, scratch) for other in others]
        for weights in inputs:
            closing.callback(weights.close)
        written = _written(base, entries_of(network), named.dtype)
        files = write_weights(made, written, blended(base, inputs, written, formula, told, account))
        _put_beside(named, source, made, network)
        return account, weights_hash(FileWeights(files, str(folder)))


def _written(base: FileWeights, wanted: Mapping[str, Entry], dtype: str | None) -> dict[str, Entry]:
    """What will be in the files, wider types first, as the format has them."""
    own = {name: base.entries[name] for name in wanted}
    if dtype is not None and dtype not in (*DTYPES, "auto"):
        raise PliantError(f"unknown dtype {dtype!r}; {', '.join(DTYPES)} or auto")
    if dtype is not None and dtype != "auto":
        own = {name: Entry(entry.shape, dtype) if entry.floating else entry for name, entry in own.items()}
    return dict(sorted(own.items(), key=lambda item: (-item[1].torch_dtype.itemsize, item[0])))


def write_weights(folder: Path, written: Mapping[str, Entry], pieces: Iterator[tuple[str, int, Tensor]]) -> list[Path]:
    """Put the pieces, which come in the order of `written`, into safetensors files. Raises PliantError for a full disk."""
    import torch

    shards: list[dict[str, Entry]] = [{}]
    for name, entry in written.items():
        if shards[-1] and sum(one.size for one in shards[-1].values()) + entry.size > SHARD:
            shards.append({})
        shards[-1][name] = entry
    count = len(shards)
    names = [SINGLE] if count == 1 else [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
    holder = {name: file for file, shard in zip(names, shards, strict=True) for name in shard}
    with ExitStack() as closing, disk_errors(folder):
        streams = {file: closing.enter_context((folder / file).open("wb")) for file in names}
        for file, shard in zip(names, shards, strict=True):
            streams[file].write(_header(shard))
        for name, _, piece in pieces:
            streams[holder[name]].write(piece.contiguous().view(torch.uint8).numpy().data)
        if count > 1:
            total = sum(entry.size for entry in written.values())
            (folder / INDEX).write_text(json.dumps({"metadata": {"total_size": total}, "weight_map": holder}, indent=1) + "\n")
    return [folder / file for file in names]


def _header(shard: Mapping[str, Entry]) -> bytes:
    formats = {ours: theirs for theirs, ours in TYPES.items()}
    content: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, entry in shard.items():
        content[name] = {"dtype": formats[entry.dtype], "shape": list(entry.shape), "data_offsets": [end, end + entry.size]}
        end += entry.size
    text = json.dumps(content, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _put_beside(named: StoredModel, source: Path, made: Path, network: PreTrainedModel) -> None:
    """Configuration, tokenizer and facts, as saving the base would write them."""
    config: Any = read_json(source / "config.json", finite=False)
    if named.dtype not in (None, "auto"):
        config = {name: value for name, value in config.items() if name != "torch_dtype"} | {"dtype": named.dtype}
    with disk_errors(made):
        (made / "config.json").write_text(json.dumps(config, indent=1) + "\n", encoding="utf-8")
        patterns = BESIDE if named.tokenizer else (*BESIDE, *TOKENIZER_FILES)
        for path in {path for pattern in patterns for path in source.glob(pattern) if path.is_file()}:
            shutil.copyfile(path, made / path.name)
    if named.tokenizer:
        load_tokenizer(named.tokenizer).save(made)
    hub, revision = (named.address, None) if expanded(named.address).is_dir() else split_address(named.address)
    total, inner = parameter_counts(network)
    known = {"name": hub, "revision": revision, "params": total, "params_non_embedding": inner}
    write_facts(Checkpoint.parse(facts_beside(source)[0] | known), made)


def weights_hash(weights: FileWeights) -> str:
    """That of `Model.weights`, of what the files hold."""
    import torch

    content = hashlib.sha256()
    for name, entry in sorted(weights.entries.items()):
        content.update(f"{name} {entry.dtype} {list(entry.shape)}\n".encode())
        for begin, end in spans(entry.count):
            content.update(weights.read(name, begin, end).view(torch.uint8).numpy().data)
    weights.close()
    return content.hexdigest()[:16]
