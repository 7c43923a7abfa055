"""Likelihood of several continuations of one context, the context read once.

Idea: what the continuations have in common, their context above all, is a stem; the rest of each is a branch. Stems are read first, and
their keys and values kept; then the branches of each stem in one row, every branch at the positions it would have by itself, with a
mask that shows it the stem and not the other branches. So a question with four answers costs its length once, and one whose
answers are single tokens, as letters are, has no branches at all. Rows are sorted by length and batched as all likelihoods are; the head
runs on the positions that are asked for only.
Cost: beside the stems' keys and values a mask of branches x (stem + branches) tokens a row.
What goes wrong: not every network can be told positions and such a mask (recurrent ones, attention in windows). So the longest row
is read plainly as well, every time; where that gives other numbers, everything is read plainly.
Source: a cache of keys and values, with the tree attention of speculative decoding (arXiv 2305.09781) behind it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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


WORTHWHILE = 0.75
"""Tokens of one row over those of its sequences, above which the mask costs more than the row saves."""


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
    branched = [number for number, row in enumerate(rows) if len(row.ids)]
    found: dict[int, list[Array]] = {}
    with torch.no_grad(), evaluating(network), progress("loss", sum(lengths)) as advance:
        longest = max(branched, key=lambda number: lengths[number], default=None)
        if longest is not None and not _agrees(network, rows[longest], parts[longest]):
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


def _parts(group: Sequence[Ending]) -> list[Sequence[Ending]]:
    """The group, where one row for it is worth its mask, or else every ending by itself."""
    stem, lengths = _stem([ending.tokens for ending in group]), [len(ending.tokens) - 1 for ending in group]
    together = stem + sum(length - stem for length in lengths)
    return [group] if stem and together <= WORTHWHILE * sum(lengths) else [[ending] for ending in group]


def _plain_losses(network: PreTrainedModel, group: Sequence[Ending], batch_tokens: int | None = None) -> list[Array]:
    """The same of one group, every sequence by itself."""
    losses = sequence_losses(network, [ending.tokens for ending in group], batch_tokens)
    return [loss[len(loss) - ending.count :] for loss, ending in zip(losses, group, strict=True)]


@dataclass(frozen=True)
class _Row:
    """A group as one row: the stem, then its branches; of each scored token the place (in the row) that predicts it."""

    stem: NDArray[np.int64]
    ids: NDArray[np.int64]
    """Of the branches, as are the next two."""
    positions: NDArray[np.int64]
    branches: NDArray[np.int64]
    """The number of each token's branch."""
    places: NDArray[np.int64]
    """Counted from the stem's beginning; those in branches from -1 downwards, the first branch token being -1."""
    targets: NDArray[np.int64]
    counts: list[int]

    def __len__(self) -> int:
        return len(self.stem) + len(self.ids)


def _row(group: Sequence[Ending]) -> _Row:
    stem = _stem([ending.tokens for ending in group])
    lengths = [len(ending.tokens) - 1 - stem for ending in group]  # the last token is predicted, not read
    starts = np.cumsum([0, *lengths])
    places = [
        np.concatenate([np.arange(stem), -1 - np.arange(start, start + length)])[stem + length - ending.count :]
        for ending, start, length in zip(group, starts, lengths, strict=False)
    ]
    return _Row(
        group[0].tokens[:stem].astype(np.int64),
        np.concatenate([ending.tokens[stem:-1] for ending in group]).astype(np.int64),
        np.concatenate([np.arange(stem, stem + length) for length in lengths]),
        np.repeat(np.arange(len(group)), lengths),
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


def _agrees(network: PreTrainedModel, row: _Row, group: Sequence[Ending]) -> bool:
    """Whether the network can be told of branches: whether it gives `row` the losses that it gives its sequences one by one."""
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

    device = next(network.parameters()).device
    longest, most = max(len(row.stem) for row in rows), max(len(row.ids) for row in rows)
    stems = torch.from_numpy(_padded([row.stem for row in rows], longest, 0)).to(device)
    width = longest + most
    places = [np.where(row.places < 0, longest - 1 - row.places, row.places) + number * width for number, row in enumerate(rows)]
    flat = torch.from_numpy(np.concatenate(places)).to(device)
    targets = torch.from_numpy(np.concatenate([row.targets for row in rows])).to(device)
    asked = torch.zeros(len(rows) * width, dtype=torch.bool, device=device)
    asked[flat] = True
    numbers = asked.cumsum(0)[flat] - 1  # of each scored token among the places that are asked for
    losses = torch.empty(len(flat), dtype=torch.float64 if network.dtype == torch.float64 else torch.float32, device=device)
    done = 0
    for logits in token_logits(network, stems, asked.view(len(rows), width), _reader(network, rows, stems, most) if most else None):
        here = ((numbers >= done) & (numbers < done + len(logits))).nonzero()[:, 0]
        losses[here] = token_losses(logits[numbers[here] - done], targets[here])
        done += len(logits)
    return losses


def _reader(network: Any, rows: Sequence[_Row], stems: Tensor, most: int) -> Callable[[Any], Any]:
    """What reads stems and then branches, and answers as if they lay behind each other."""
    import torch
    from transformers import DynamicCache

    ids, positions, branches = (
        torch.from_numpy(_padded([getattr(row, name) for row in rows], most, padding)).to(stems.device)
        for name, padding in (("ids", 0), ("positions", 0), ("branches", -1))
    )
    lengths = torch.tensor([len(row.stem) for row in rows], device=stems.device)
    stem = (torch.arange(stems.shape[1], device=stems.device) < lengths[:, None])[:, None, :].expand(-1, most, -1)
    before = torch.ones((most, most), dtype=torch.bool, device=stems.device).tril()
    sees = torch.cat([stem, before & (branches[:, None, :] == branches[:, :, None])], dim=-1)[:, None]
    mask = torch.zeros(sees.shape, dtype=network.dtype, device=stems.device).masked_fill_(~sees, torch.finfo(network.dtype).min)

    def read(module: Any) -> Any:
        cache = DynamicCache()
        first = module(input_ids=stems, past_key_values=cache, use_cache=True)
        then = module(input_ids=ids, past_key_values=cache, attention_mask=mask, position_ids=positions, use_cache=True)
        name = "logits" if hasattr(then, "logits") else "last_hidden_state"
        setattr(then, name, torch.cat([getattr(first, name), getattr(then, name)], dim=1))
        return then

    return read


def _padded(rows: Sequence[NDArray[np.int64]], length: int, padding: int) -> NDArray[np.int64]:
    found = np.full((len(rows), length), padding, np.int64)
    for row, values in zip(found, rows, strict=True):
        row[: len(values)] = values
    return found
