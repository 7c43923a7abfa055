"""What is merged, opened and looked at: the same tensors everywhere, of the same shapes, for the same tokens and labels.

Idea: a folder whose files hold the network's own tensors is read where it lies. Anything else (an adapter, a GGUF, packed weights,
files that name their tensors otherwise) is loaded once, an adapter merged into its base, and put into a file of its own.
What goes wrong: shapes do not show how attention is divided into heads, nor what an id stands for: so configurations and tokenizers
are compared too. That two checkpoints come from one start cannot be seen; those that do not are of no use together.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pliant.errors import PliantError, brief
from pliant.files import disk_errors, expanded
from pliant.merging.pieces import TYPES, Entry, FileWeights, entries_of
from pliant.models.adapters import is_adapter
from pliant.models.checks import computed
from pliant.models.modules import embedding_weights, head_weights
from pliant.models.outline import folder_outline
from pliant.models.weight_files import has_tokenizer, tensors, weight_files
from pliant.progress import remark

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pliant.data.tokenizer import Tokenizer
    from pliant.models.stored_model import StoredModel

HEADS = re.compile(r"(^|_)(n_?)?heads?$|num_.*heads|head_dim|model_type|hidden_act|activation_function")
"""Entries of a configuration that decide what the numbers mean and that no shape shows."""
OF_NO_ACCOUNT = re.compile(
    r"^_|_ids?$|^(id2label|label2id|architectures|dtype|torch_dtype|use_cache|transformers_version|tie_word_embeddings|problem_type)$"
    r"|drop|initializer|quantization_config|attn_implementation|^(output|return|chunk|gradient)_|task_specific|pretraining_tp"
)
SAMPLED = 1000
"""Ids whose tokens are compared where two tokenizers are not known to be the same."""


def plain_outline(named: StoredModel) -> PreTrainedModel | None:
    """The network, without numbers, of a folder whose files hold its tensors as they are; None where it must be loaded to be read.

    Raises PliantError where there is no such model, or its files are damaged.
    """
    if expanded(named.address).is_file():
        return None
    folder = named.folder()
    if is_adapter(folder):
        return None
    stored = tensors(weight_files(folder))
    network = folder_outline(folder)
    if network is None:
        return None
    wanted = entries_of(network)
    held = {name: entry for name, entry in stored.items() if name in wanted or not computed(name, entry)}
    whole = all(entry["dtype"] in TYPES for entry in held.values())
    if not whole or held.keys() != wanted.keys():
        return None
    found = FileWeights(weight_files(folder), named.address).entries
    return network if all(found[name].floating == entry.floating for name, entry in wanted.items()) else None


def opened(named: StoredModel, network: PreTrainedModel, words: Tokenizer | None, base: str, scratch: Path) -> FileWeights:
    """One of the others, fit to be merged with `network` (which may be an outline); what has to be loaded for it goes into `scratch`.

    Raises PliantError that says what does not fit.
    """
    outline = plain_outline(named) if named.dtype in (None, "auto") else None
    if outline is not None:
        folder = named.folder()
        found, weights = outline, FileWeights(weight_files(folder), named.address)
        theirs = _tokenizer(named, folder) if words is not None else None
    else:
        found, theirs, weights = _loaded(named, scratch)
    check_entries(entries_of(network), weights, network, base)
    check_configuration(network, found, named.address, base)
    if words is not None and theirs is not None:
        check_tokens(words, theirs, named.address, base)
    return weights


def _loaded(named: StoredModel, scratch: Path) -> tuple[PreTrainedModel, Tokenizer | None, FileWeights]:
    from safetensors.torch import save_file

    from pliant.models.model import stored_tensors

    model = named.load("cpu")
    path = scratch / f"{sum(1 for _ in scratch.glob('*.safetensors'))}.safetensors"
    with disk_errors(path):
        save_file({name: tensor.detach().contiguous() for name, tensor in stored_tensors(model.network)}, path)
    return model.network, model.words, FileWeights([path], named.address)


def _tokenizer(named: StoredModel, folder: Path) -> Tokenizer | None:
    from pliant.data.tokenizer import load_tokenizer

    if named.tokenizer is not None:
        return load_tokenizer(named.tokenizer, named.trust_remote_code)
    return load_tokenizer(folder, named.trust_remote_code) if has_tokenizer(folder) else None


def check_entries(wanted: Mapping[str, Entry], other: FileWeights, network: PreTrainedModel, base: str) -> None:
    """Refuses tensors that only one side has, and other shapes."""
    held = {name for name, entry in other.entries.items() if name in wanted or not computed(name, {"shape": list(entry.shape)})}
    for names, holder, lacking in ((wanted.keys() - held, base, other.address), (held - wanted.keys(), other.address, base)):
        if names:
            more = f" and {len(names) - 1} more tensors" if len(names) > 1 else ""
            raise PliantError(f"{holder} has {min(names)}{more}, which {lacking} has not: they are not of one architecture")
    for name, entry in wanted.items():
        theirs = other.entries[name]
        if theirs.shape != entry.shape:
            said = f"{other.address}: {name} is {_size(theirs)}, in {base} {_size(entry)}"
            if theirs.shape[1:] == entry.shape[1:] and name in embedding_weights(network) | head_weights(network):
                rows = max(theirs.shape[0], entry.shape[0])
                raise PliantError(
                    f"{said}: the vocabularies differ or are padded differently; where the ids they share mean the same, bring both to "
                    f"one size with resize_token_embeddings({rows}) and save them"
                )
            raise PliantError(f"{said}: they are not of one shape")
        if theirs.floating != entry.floating:
            raise PliantError(f"{other.address}: {name} holds {theirs.dtype}, in {base} {entry.dtype}")


def _size(entry: Entry) -> str:
    return " x ".join(map(str, entry.shape)) or "one number"


def check_configuration(network: PreTrainedModel, other: PreTrainedModel, address: str, base: str) -> None:
    """Refuses what makes numbers mean something else (heads, activations, labels), and says what else differs."""
    ours, theirs = _described(network), _described(other)
    if type(network) is not type(other):
        raise PliantError(f"{address} is a {type(other).__name__}, {base} a {type(network).__name__}: they are not of one architecture")
    differing = [name for name in ours if ours[name] != theirs.get(name)]
    for name in differing:
        if HEADS.search(name.rpartition(".")[2]):
            told = f"{name} is {brief(str(theirs.get(name)))}, in {base} {brief(str(ours[name]))}"
            raise PliantError(f"{address}: {told}; their weights do not mean the same")
    labels: Any = [getattr(one.config, "id2label", None) for one in (network, other)]
    if labels[0] != labels[1]:
        raise PliantError(f"{address}: its labels are not those of {base}, so the rows of the heads do not mean the same")
    if differing:
        remark(f"{address}: {', '.join(differing[:4])} differ{'s' if len(differing) == 1 else ''} from {base}, whose config.json is kept")


def _described(network: PreTrainedModel) -> dict[str, Any]:
    return dict(_flat(network.config.to_dict()))


def _flat(config: Mapping[str, Any], before: str = "") -> Iterator[tuple[str, Any]]:
    """Every entry that says something of the network, those of parts under the part's name."""
    for name, value in config.items():
        if not OF_NO_ACCOUNT.search(name):
            if isinstance(value, dict):
                yield from _flat(cast("dict[str, Any]", value), f"{before}{name}.")
            else:
                yield before + name, value


def check_tokens(words: Tokenizer, theirs: Tokenizer, address: str, base: str) -> None:
    """Refuses tokenizers for which an id stands for something else; a sample of ids is asked for."""
    if words.fingerprint == theirs.fingerprint:
        return
    shared = min(words.vocab_size, theirs.vocab_size)
    for token in range(0, shared, max(1, shared // SAMPLED)):
        if (ours := words.decode([token])) != (other := theirs.decode([token])):
            raise PliantError(
                f"{address}: token {token} is {brief(other)!r}, in {base} {brief(ours)!r}: the rows of embeddings do not mean the same"
            )
