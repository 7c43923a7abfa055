"""Attention over one row of tokens in which sequences share what they begin with.

Idea: a row holds the tokens of several sequences without padding and without repeating a common beginning. Each sequence is a path
through the row, and its tokens see those before them on their path. So all that a network does token by token it does to a token once;
for attention, which is done path by path, tokens of paths that are alike in length go together.
Cost: keys and values of a path are copied for whatever attends along it.
What goes wrong: layers that do more than softmax of scores (windows, caps, sinks), or mix tokens otherwise, compute something else so;
compare with what the network gives plainly before you rely on it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pliant.models.attention import attending

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


NAME = "pliant_paths"
"""What configs call this attention; nobody makes a mask for it."""

CALL_COST = 4096
"""What a call of attention costs beside its scores, counted in scores."""

QUERIES = 64
"""Tokens of a run that attend together at most."""

CALL_SCORES = {"cpu": 2**17, "cuda": 2**22}
"""Scores of a head in a call of attention at most: what fits a processor's cache."""

PLAIN = {"scaling", "dropout", "position_ids", "use_cache"}
"""What layers tell of an attention that is softmax of scores and nothing else, dropout being off."""

Part = tuple[int, NDArray[np.int64]]
"""How many tokens attend, the last of a path, and the path."""


def along_paths(network: nn.Module, parts: Sequence[Part]) -> AbstractContextManager[None]:
    """Inside, the network takes one row (1, tokens) as made of `parts`: each attends along its path. Every token is in one part."""
    weight = next(network.parameters())
    most = CALL_SCORES.get(weight.device.type, CALL_SCORES["cuda"])
    return attending(network, NAME, _Attention([_call(chosen, weight.device, weight.dtype) for chosen in _calls(parts, most)]))


@dataclass(frozen=True)
class _Call:
    """Runs of like length, padded: where in the row the queries and keys of each stand."""

    queries: Tensor
    keys: Tensor
    real: Tensor
    """Which of the queries are tokens, and not padding, as the next says where in the row they stand."""
    places: Tensor
    mask: Tensor
    """What is added to scores (runs, 1, queries, keys)."""


def _calls(parts: Sequence[Part], most: int) -> Iterator[list[Part]]:
    """All runs that add tokens, those of like length together, in calls that waste no more on padding than a further one would cost."""
    parts = sorted((half for part in parts for half in _split(*part)), key=lambda part: (-(part[0] // 8), -len(part[1])))
    chosen: list[Part] = []
    queries = keys = real = 0
    for count, path in parts:
        more, wider, scores = max(queries, count), max(keys, len(path)), real + count * len(path)
        padded = (len(chosen) + 1) * more * wider
        if chosen and (padded > scores + CALL_COST or padded > most):
            yield chosen
            chosen, more, wider, scores = [], count, len(path), count * len(path)
        chosen.append((count, path))
        queries, keys, real = more, wider, scores
    yield chosen


def _split(count: int, path: NDArray[np.int64]) -> Iterator[Part]:
    """The last `count` tokens of a path in parts that are given no keys behind them, which they would not see."""
    for start in range(len(path) - count, len(path), QUERIES):
        end = min(start + QUERIES, len(path))
        yield end - start, path[:end]


def _call(runs: Sequence[Part], device: torch.device, number: torch.dtype) -> _Call:
    import torch

    longest, width = max(count for count, _ in runs), max(len(path) for _, path in runs)
    queries, keys = np.zeros((len(runs), longest), np.int64), np.zeros((len(runs), width), np.int64)
    first = np.array([len(path) - count for count, path in runs])
    for row, (count, path) in enumerate(runs):
        queries[row, :count], keys[row, : len(path)] = path[len(path) - count :], path
    real = np.arange(longest) < np.array([count for count, _ in runs])[:, None]
    sees = np.arange(width) <= (first[:, None] + np.arange(longest))[:, :, None]
    hidden = torch.from_numpy(~sees[:, None]).to(device)
    return _Call(
        queries=torch.from_numpy(queries).to(device),
        keys=torch.from_numpy(keys).to(device),
        real=torch.from_numpy(real.ravel().nonzero()[0]).to(device),
        places=torch.from_numpy(queries[real]).to(device),
        mask=torch.zeros(hidden.shape, dtype=number, device=device).masked_fill_(hidden, torch.finfo(number).min),
    )


class _Attention:
    """What attends for a layer of transformers: one row of queries, keys and values (1, heads, tokens, width of a head)."""

    def __init__(self, calls: Sequence[_Call]) -> None:
        self.calls = calls

    def __call__(self, layer: Any, query: Tensor, key: Tensor, value: Tensor, mask: None, **told: Any) -> tuple[Tensor, None]:
        """(1, tokens, heads, width)."""
        attend = _products if query.device.type == "cpu" and query.element_size() >= 4 and set(told) <= PLAIN else _fused
        query, key, value = (part[0].transpose(0, 1) for part in (query, key, value))
        found = query.new_empty(*query.shape[:2], value.shape[2])
        for call in self.calls:
            parts = (_taken(query, call.queries), _taken(key, call.keys), _taken(value, call.keys))
            found[call.places] = attend(layer, *parts, call.mask, **told)[call.real]
        return found[None], None


def _taken(rows: Tensor, places: Tensor) -> Tensor:
    """(runs, heads, length, width) of the tokens at `places` (runs, length)."""
    return rows.index_select(0, places.flatten()).view(*places.shape, *rows.shape[1:]).transpose(1, 2)


def _fused(layer: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, **told: Any) -> Tensor:
    """(runs x queries, heads, width) by the kernel there is."""
    from transformers.integrations.sdpa_attention import sdpa_attention_forward

    return sdpa_attention_forward(layer, query, key, value, mask, **told)[0].flatten(0, 1)


def _products(layer: Any, query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float, **_: Any) -> Tensor:
    """The same by products of matrices, which a processor is faster at where the scores are few. Heads of one key are one matrix."""
    runs, heads, queries, width = query.shape
    shared, keys = key.shape[1:3]
    together = (query * scaling).reshape(runs * shared, -1, width)
    scores = together.bmm(key.reshape(runs * shared, keys, width).transpose(1, 2)).view(runs, heads, queries, keys)
    weights = scores.add_(mask).softmax(-1).view(runs * shared, -1, keys)
    found = weights.bmm(value.reshape(runs * shared, keys, -1))
    return found.view(runs, heads, queries, -1).transpose(1, 2).flatten(0, 1)
