"""Likelihood of several continuations of one context, the context read once.

Idea: what the continuations have in common, their context above all, is a stem; the rest of each is a branch. A stem and its branches
are one row, every branch at the positions it would have by itself, with a mask that shows it the stem and not the other branches.
So a question with four answers costs its length once, and one whose answers are single tokens, as letters are, has no branches at
all. Continuations are put into one row as long as that costs less than rows of their own (`_cost`). Rows are sorted by length and
batched as all likelihoods are; the head runs on the positions that are asked for only.
Cost: a mask of length x length a row.
What goes wrong: not every network can be told positions and such a mask (recurrent ones, attention in windows). So the longest row
is read plainly as well, once a network; where that gives other numbers, everything is read plainly.
Source: the tree attention of speculative decoding (arXiv 2305.09781).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.measures.likelihood import (
    NOT_A_NUMBER,
    Tokens,
    batch_budget,
    batches,
    check_sequences,
    sequence_losses,
    token_logits,
)
from pliant.models.modules import evaluating
from pliant.objectives.next_token import token_losses
from pliant.progress import progress

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from pliant.statistics import Array


ROW_COST = 128
"""What a row costs beside its attention, counted in tokens that its tokens look at: for itself, and for each of its tokens."""

_agreed: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""The longest row in which a network was seen to give the losses it gives plainly; 0 where it does not."""


@dataclass(frozen=True)
class Ending:
    """A sequence of tokens, whose last `count` are to be scored."""

    tokens: Tokens
    count: int


def ending_losses(network: PreTrainedModel, groups: Sequence[Sequence[Ending]], batch_tokens: int | None = None) -> list[list[Array]]:
    """-log p of the scored tokens in nats, each given all tokens before it: for every ending of every group one float64 array (count,).

    The endings of a group should begin alike: that is what is read once. The network is used and left as by `sequence_losses`, and
    the same is refused.
    """
    import torch

    if not groups:
        return []
    check_sequences(network, [ending.tokens for group in groups for ending in group])
    parts = [part for group in groups for part in _parts(group)]
    rows = [_row(part) for part in parts]
    lengths = [len(row) for row in rows]
    branched = [number for number, row in enumerate(rows) if row.branched]
    found: dict[int, list[Array]] = {}
    with torch.no_grad(), evaluating(network), progress("loss", sum(lengths)) as advance:
        longest = max(branched, key=lambda number: lengths[number], default=None)
        if longest is not None and not _can_branch(network, rows[longest], parts[longest]):
            plain = iter(_plain_losses(network, [ending for group in groups for ending in group], batch_tokens))
            return [[next(plain) for _ in group] for group in groups]
        for batch in batches(lengths, batch_tokens or batch_budget(next(network.parameters()).device)):
            flat = _batch_losses(network, [rows[number] for number in batch]).double().cpu().numpy()
            pieces = iter(np.split(flat, np.cumsum([count for number in batch for count in rows[number].counts])[:-1]))
            found |= {number: [next(pieces) for _ in rows[number].counts] for number in batch}
            advance(sum(lengths[number] for number in batch))
    losses = [loss for number in range(len(rows)) for loss in found[number]]
    if not all(np.isfinite(loss).all() for loss in losses):
        raise PliantError(NOT_A_NUMBER)
    each = iter(losses)
    return [[next(each) for _ in group] for group in groups]


def _parts(group: Sequence[Ending]) -> Iterator[Sequence[Ending]]:
    """The group in runs that share a row: the next ending joins where one row costs less than two."""
    stem = _stem([ending.tokens for ending in group])
    start, length = 0, len(group[0].tokens) - 1
    for number, ending in enumerate(group[1:], 1):
        alone = len(ending.tokens) - 1
        if _cost(length + alone - stem) <= _cost(length) + _cost(alone):
            length += alone - stem
        else:
            yield group[start:number]
            start, length = number, alone
    yield group[start:]


def _cost(length: int) -> int:
    """Of a row, in its own unit."""
    return length * length + ROW_COST * (length + 1)


def _plain_losses(network: PreTrainedModel, group: Sequence[Ending], batch_tokens: int | None = None) -> list[Array]:
    """The same of one group, every sequence by itself."""
    losses = sequence_losses(network, [ending.tokens for ending in group], batch_tokens)
    return [loss[len(loss) - ending.count :] for loss, ending in zip(losses, group, strict=True)]


@dataclass(frozen=True)
class _Row:
    """A group as one row: the stem, then its branches; of each scored token the place in the row that predicts it."""

    ids: NDArray[np.int64]
    """Of the stem and the branches, as are the next two."""
    positions: NDArray[np.int64]
    branches: NDArray[np.int64]
    """The number of each token's branch, from 1; 0 in the stem."""
    places: NDArray[np.int64]
    targets: NDArray[np.int64]
    counts: list[int]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def branched(self) -> bool:
        """Whether it is not plain text."""
        return bool(self.branches[-1] > 1)


def _row(group: Sequence[Ending]) -> _Row:
    stem = _stem([ending.tokens for ending in group])
    lengths = [len(ending.tokens) - 1 - stem for ending in group]  # the last token is predicted, not read
    starts = np.cumsum([stem, *lengths])
    places = [
        np.concatenate([np.arange(stem), np.arange(start, start + length)])[stem + length - ending.count :]
        for ending, start, length in zip(group, starts, lengths, strict=False)
    ]
    return _Row(
        np.concatenate([group[0].tokens[:stem], *(ending.tokens[stem:-1] for ending in group)]).astype(np.int64),
        np.concatenate([np.arange(stem), *(np.arange(stem, stem + length) for length in lengths)]),
        np.repeat(np.arange(len(group) + 1), [stem, *lengths]),
        np.concatenate(places),
        np.concatenate([ending.tokens[len(ending.tokens) - ending.count :] for ending in group]).astype(np.int64),
        [ending.count for ending in group],
    )


def _stem(sequences: Sequence[Tokens]) -> int:
    """How many tokens all begin with, the last of each left out."""
    length = min(map(len, sequences)) - 1
    first = sequences[0][:length]
    for other in sequences[1:]:
        differs = np.flatnonzero(first != other[: len(first)])
        first = first[: differs[0]] if len(differs) else first
    return len(first)


def _can_branch(network: PreTrainedModel, row: _Row, group: Sequence[Ending]) -> bool:
    """Whether the network can be told of branches: whether it gives `row` the losses that it gives its sequences one by one."""
    if network not in _agreed or 0 < _agreed[network] < len(row):
        _agreed[network] = len(row) if _agrees(network, row, group) else 0
    return _agreed[network] > 0


def _agrees(network: PreTrainedModel, row: _Row, group: Sequence[Ending]) -> bool:
    import torch

    plain = np.concatenate(_plain_losses(network, group))
    try:
        found = _batch_losses(network, [row]).double().cpu().numpy()
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError):  # an architecture of another build
        return False
    number = next(network.parameters()).dtype
    return bool(np.allclose(found, plain, rtol=0, atol=torch.finfo(number).eps ** 0.5 * max(1.0, float(np.abs(plain).max()))))


def _batch_losses(network: Any, rows: Sequence[_Row]) -> Tensor:
    """The losses of the scored tokens of one batch of rows, one after the other."""
    import torch

    device, width = next(network.parameters()).device, max(map(len, rows))
    ids = torch.from_numpy(_padded([row.ids for row in rows], width, 0)).to(device)
    flat = torch.from_numpy(np.concatenate([row.places + number * width for number, row in enumerate(rows)])).to(device)
    targets = torch.from_numpy(np.concatenate([row.targets for row in rows])).to(device)
    asked = torch.zeros(ids.numel(), dtype=torch.bool, device=device)
    asked[flat] = True
    numbers = asked.cumsum(0)[flat] - 1  # of each scored token among the places that are asked for
    losses = torch.empty(len(flat), dtype=torch.float64 if network.dtype == torch.float64 else torch.float32, device=device)
    done = 0
    read = _reader(network, rows, ids) if any(row.branched for row in rows) else None
    for logits in token_logits(network, ids, asked.view(ids.shape), read):
        here = ((numbers >= done) & (numbers < done + len(logits))).nonzero()[:, 0]
        losses[here] = token_losses(logits[numbers[here] - done], targets[here])
        done += len(logits)
    return losses


def _reader(network: Any, rows: Sequence[_Row], ids: Tensor) -> Callable[[Any], Any]:
    """What reads rows with branches: every token at its position, looking at its stem and its own branch."""
    import torch

    width = ids.shape[1]
    positions = torch.from_numpy(_padded([row.positions for row in rows], width, 0)).to(ids.device)
    branches = torch.from_numpy(_padded([row.branches for row in rows], width, -1)).to(ids.device)
    own = (branches[:, None, :] == 0) | (branches[:, None, :] == branches[:, :, None])
    sees = (own & torch.ones((width, width), dtype=torch.bool, device=ids.device).tril())[:, None]
    mask = torch.zeros(sees.shape, dtype=network.dtype, device=ids.device).masked_fill_(~sees, torch.finfo(network.dtype).min)
    return lambda module: module(input_ids=ids, attention_mask=mask, position_ids=positions, use_cache=False)


def _padded(rows: Sequence[NDArray[np.int64]], length: int, padding: int) -> NDArray[np.int64]:
    found = np.full((len(rows), length), padding, np.int64)
    for row, values in zip(found, rows, strict=True):
        row[: len(values)] = values
    return found
