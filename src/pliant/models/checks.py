"""What can be known to be wrong with a checkpoint just after transformers has loaded it.

Each check raises PliantError with one line that says what is wrong and what to do.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError
from pliant.models.modules import token_embedding, token_head
from pliant.models.tasks import CAUSAL, TASKS, task_of
from pliant.progress import remark

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from pliant.data.tokenizer import Tokenizer

Stored = Mapping[str, dict[str, Any]]
"""What the headers of the weight files say: name -> {dtype, shape, ...}."""
RECOMPUTED = re.compile(r"(^|[._])(inv_freq|(cos|sin)_cached|position_ids|num_batches_tracked|masked_bias)$")
"""Buffers that older versions stored and that networks compute for themselves."""
MASK = re.compile(r"(^|\.)(attn|attention|self_attn)\.bias$")
"""A causal mask, where it has the shape of one: a bias has the same name."""


def computed(name: str, entry: Mapping[str, Any] | None) -> bool:
    """Whether a stored tensor is a buffer that a network computes for itself, so that it need not be read."""
    shape = (entry or {}).get("shape", [])
    mask = len(shape) == 4 and shape[:2] == [1, 1] and shape[2] == shape[3]
    return RECOMPUTED.search(name) is not None or (MASK.search(name) is not None and mask)


def check_layers(config: Any, stored: Stored, address: str) -> None:
    """Refuses more layers than the files have tensors, before any is built: a thousand million would never end."""
    layers = getattr(config, "num_hidden_layers", None)
    if isinstance(layers, int) and layers > len(stored):
        raise PliantError(f"{address}: config.json asks for {layers} layers, but the files hold {len(stored)} tensors in all")


def check_complete(found: dict[str, Any], stored: Stored, address: str, network: PreTrainedModel) -> None:
    """Refuses a network part of which would be random, and files part of which would be left out.

    The head of another task may be left out, which is said: such files hold a trunk with several.

    Args:
        found: transformers' report on loading.
        stored: The tensors in the files; empty where the format is another.
        address: For the message.
        network: What was loaded.
    """
    spare = {name for name in found["unexpected_keys"] if not computed(name, stored.get(name))}
    task = task_of(network)
    if spare and task is not CAUSAL:
        others = spare & _names_of_other_heads(network)
        if others:
            remark(f"{address}: {min(others)}{_more(others)} left out: parts of another head than that of {task.called}")
        spare -= others
    missing = set(map(str, found["missing_keys"]))
    if missing and task is not CAUSAL and not missing & _trunk(network):
        raise PliantError(
            f"{address}: the weight files hold no head of {task.called} ({min(missing)} is missing); load it as what it is, and put a "
            "fresh one on with pliant.models.with_head"
        )
    for names, problem in (
        (found["missing_keys"], "missing from the weight files; the checkpoint is incomplete or its config.json belongs to another"),
        (found["mismatched_keys"], "not of the shape config.json asks for; one of the two belongs to another checkpoint"),
        (spare, "in the weight files without a place in the network; config.json belongs to another, or parts are still to be merged"),
    ):
        listed = sorted(item if isinstance(item, str) else item[0] for item in names)
        if listed:
            raise PliantError(f"{address}: {listed[0]}{_more(listed)} {problem}")


def _more(listed: Collection[str]) -> str:
    return f" and {len(listed) - 1} more" if len(listed) > 1 else ""


def _names_of_other_heads(network: PreTrainedModel) -> set[str]:
    """The tensors that networks of the same type and of other tasks have outside the trunk that they share with this one."""
    import torch
    from transformers.models.auto.modeling_auto import MODEL_FOR_PRETRAINING_MAPPING

    config: Any = network.config
    several: Any = MODEL_FOR_PRETRAINING_MAPPING.get(type(config), None)
    able = [task for task in TASKS.values() if task.classes(config.model_type)]
    plain = [task.network_class(config) for task in able if not (task is CAUSAL and TASKS["masked"] in able)]
    names: set[str] = set()
    for kind in {*plain, several} - {None}:
        with torch.device("meta"):
            names |= set(kind(config).state_dict())
    return names - _trunk(network)


def _trunk(network: PreTrainedModel) -> set[str]:
    """The names that the tensors of the network's trunk have in networks with a head."""
    return {f"{network.base_model_prefix}.{name}" for name in network.base_model.state_dict()}


def check_numbers(network: PreTrainedModel, address: str) -> None:
    """Refuses weights that are no finite numbers: whatever is computed from them is none either."""
    import torch

    for name, weight in network.named_parameters():
        # one pass without a copy finds any; huge numbers, whose sum is none, are looked at one by one
        if not torch.isfinite(weight.detach().sum(dtype=torch.float32)) and not torch.isfinite(weight.detach()).all():
            raise PliantError(f"{address}: {name} holds what is not a finite number; the training diverged, or the file is damaged")


def check_head(network: PreTrainedModel, address: str) -> None:
    """Says where embedding and output head are two although the configuration makes them one."""
    head = token_head(network)
    tied = getattr(network.config, "tie_word_embeddings", False)
    if tied and head is not None and getattr(head, "weight", None) is not token_embedding(network).weight:
        remark(f"{address}: config.json ties the output head to the embedding, but the files hold a head of its own, which is used")


def check_vocabulary(network: PreTrainedModel, tokenizer: Tokenizer, address: str) -> None:
    """Every id needs its row of the embedding, and an embedding may be padded beyond them.

    Special tokens that were added without rows of their own are let through, and stopped where a text holds one.
    """
    embedding: Any = token_embedding(network)
    rows, ids = int(embedding.weight.shape[0]), tokenizer.vocab_size
    sizes = f"{address}: the tokenizer has {ids} ids but the model {rows}"
    if ids > rows:
        added: dict[int, tuple[str, bool]] = getattr(tokenizer, "added_tokens", {})
        outside = [added.get(number) for number in range(max(rows, ids - len(added) - 1), ids)]
        known = [token for token in outside if token is not None]
        if len(outside) != ids - rows or len(known) != len(outside):
            raise PliantError(f"{sizes}; they do not belong together: name the model's own with `tokenizer`")
        if not all(special for _, special in known):
            more = f" and {len(known) - 1} more" if len(known) > 1 else ""
            raise PliantError(
                f"{sizes}: {known[0][0]!r}{more} was added to the tokenizer and not to the model; add rows with "
                f"resize_token_embeddings({ids}), or remove it from the tokenizer"
            )
        embedding.added_without_row = {rows + i: token for i, (token, _) in enumerate(known)}
        embedding.register_forward_pre_hook(_check_inputs)
    elif rows >= 1.5 * ids and not _is_padding(embedding.weight[ids:], embedding.weight[:ids]):
        raise PliantError(
            f"{sizes}; they do not belong together. If the rest is padding, cut it off: load the model with transformers, "
            f"resize_token_embeddings({ids}), save it"
        )


def _is_padding(rest: Tensor, used: Tensor) -> bool:
    """Whether the rows of an embedding beyond the ids are all nearly the same, as none that stand for tokens are."""
    return bool(rest.detach().float().std(dim=0, correction=0).norm() < 0.1 * used.detach().float().std(dim=0, correction=0).norm())


def check_ids(embedding: Any, largest: int) -> None:
    """Refuses ids up to `largest` where the embedding has no row for it, naming the token where it is known."""
    rows = int(embedding.weight.shape[0])
    if largest < rows:
        return
    token = getattr(embedding, "added_without_row", {}).get(largest)
    if token is None:
        raise PliantError(f"token {largest} is outside the model's vocabulary of {rows}; tokenizer and model do not belong together")
    raise PliantError(
        f"token {largest} is outside the model's vocabulary of {rows}: the text holds {token!r}, which was added to the tokenizer "
        "only; add rows with resize_token_embeddings, or remove it from the text or the tokenizer"
    )


def _check_inputs(embedding: Any, inputs: tuple[Any, ...]) -> None:
    """What torch calls before the embedding looks ids up."""
    if inputs and inputs[0].numel():
        check_ids(embedding, int(inputs[0].max()))
