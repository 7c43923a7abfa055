"""Self-attention in which links between tokens can be cut: the one place that knows how transformers computes attention.

Idea: networks of transformers ask for attention by a name in their config. Under another name they get plain attention (softmax of
scores, no fused kernel) in which a function decides which links there are, for all heads of a layer alike.
Cost: scores (rows, heads, length, length) in memory. What goes wrong: architectures that do more than softmax of masked scores (caps,
sinks, biases) compute something else under that name, so compare logits with all links before you rely on it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn

NAME = "pliant_links"
"""What configs call this attention."""

CUT = -1e4
"""The score of a link that is cut: far below any other, and above that of a link that never was."""

Links = Callable[["nn.Module", "Tensor", "Tensor"], "Tensor"]
"""From a layer, its input (rows, length, width) and which links it never has (rows or 1, length, length) to those that there are (rows,
length, length): 1, or 0 where one is cut."""


def self_attention_layers(network: nn.Module) -> dict[str, nn.Module]:
    """The layers that compute attention, by name, as far as they tell of it."""
    return {name: module for name, module in network.named_modules() if hasattr(module, "is_causal") and hasattr(module, "config")}


@contextmanager
def linked(network: nn.Module, links: Links) -> Generator[None]:
    """Attention inside sees the links that `links` leaves it; as before after it."""
    from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, eager_mask

    hidden: dict[nn.Module, Tensor] = {}

    def listen(layer: nn.Module, inputs: Any, named: Any) -> None:
        hidden[layer] = inputs[0] if inputs else named["hidden_states"]

    def attention(layer: Any, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **told: Any) -> Any:
        blocked = _blocked(layer, query, attention_mask)
        return _attended(layer, query, key, value, blocked, links(layer, hidden.pop(layer), blocked), **told)

    ALL_MASK_ATTENTION_FUNCTIONS.register(NAME, eager_mask)
    with ExitStack() as undo:
        for layer in self_attention_layers(network).values():
            undo.callback(layer.register_forward_pre_hook(listen, with_kwargs=True).remove)
        undo.enter_context(attending(network, NAME, attention))
        yield


@contextmanager
def attending(network: nn.Module, name: str, attention: Callable[..., Any]) -> Generator[None]:
    """Layers inside compute attention by `attention`, which transformers knows as `name`; as before after it.

    It is given a layer, its queries, keys and values (rows, heads, length, width of a head) and a mask, which is None where nobody
    registered how masks of that name are made.
    """
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    owned = [config for module in network.modules() if hasattr(config := getattr(module, "config", None), "_attn_implementation")]
    configs: list[Any] = list({id(config): config for config in owned}.values())
    with ExitStack() as undo:
        ALL_ATTENTION_FUNCTIONS[name] = attention
        undo.callback(ALL_ATTENTION_FUNCTIONS.__delitem__, name)
        for config in configs:
            undo.callback(setattr, config, "_attn_implementation_internal", config._attn_implementation)
            config._attn_implementation_internal = name
        yield


def _blocked(layer: Any, query: Tensor, mask: Tensor | None) -> Tensor:
    """(rows or 1, length, length) the links that the architecture does not have."""
    import torch

    length = query.shape[2]
    if mask is not None:
        return mask[:, 0, :, :length] < CUT
    ahead = torch.ones(length, length, dtype=torch.bool, device=query.device).triu(1)
    return (ahead if layer.is_causal else ahead & False)[None]


def _attended(
    layer: Any, query: Tensor, key: Tensor, value: Tensor, blocked: Tensor, kept: Tensor, scaling: float, dropout: float = 0.0, **_: Any
) -> tuple[Tensor, Tensor]:
    """(rows, length, heads, width of a head) with scores of cut links zero, and then far below the others."""
    import torch
    from torch.nn.functional import dropout as dropped

    groups = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(groups, 1), value.repeat_interleave(groups, 1)
    scores = (query @ key.transpose(2, 3) * scaling).float()
    scores = scores.masked_fill((kept.detach() == 0)[:, None], 0.0) + (1 - kept.float())[:, None] * CUT
    weights = scores.masked_fill(blocked[:, None], torch.finfo(scores.dtype).min).softmax(-1).to(value.dtype)
    weights = dropped(weights, p=dropout, training=layer.training)
    return (weights @ value).transpose(1, 2).contiguous(), weights
