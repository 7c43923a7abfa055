"""Likelihood of many endings, whatever several of them begin with read once.

Idea: sorted as in a dictionary, sequences that begin alike stand next to each other, and each adds only what the one before it does not
have: the next answer to a question adds the answer, the next question of a subject adds the question. What they add stands one behind
the other in one row without padding, every token at the position it has in its own sequence; attention alone knows of sequences, and
gives each token those before it in its own (`pliant.models.paths`). The head runs on the positions that are asked for only.
Cost: one forward pass over the tokens that are left; the keys and values of a sequence's beginning are copied for each ending.
What goes wrong: not every network can be read so (recurrent ones, attention in windows or with more than softmax of scores). So
the longest sequence and some that begin alike are read plainly as well, once a network; where that gives other numbers, everything is read
plainly.
Source: the tree attention of speculative decoding (arXiv 2305.09781); prefix trees of serving engines (arXiv 2312.07104).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.measures.likelihood import NOT_A_NUMBER, Tokens, batch_budget, check_sequences, sequence_losses, token_logits
from pliant.models.modules import evaluating
from pliant.models.paths import along_paths
from pliant.objectives.next_token import losses_at
from pliant.progress import progress

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from pliant.statistics import Array


_agreed: WeakKeyDictionary[Any, int] = WeakKeyDictionary()
"""The longest sequence at which a network was seen to give the losses it gives plainly; 0 where it does not."""


@dataclass(frozen=True)
class Ending:
    """A sequence of tokens, whose last `count` are to be scored."""

    tokens: Tokens
    count: int


def ending_losses(network: PreTrainedModel, groups: Sequence[Sequence[Ending]], batch_tokens: int | None = None) -> list[list[Array]]:
    """-log p of the scored tokens in nats, each given all tokens before it: for every ending of every group one float64 array (count,).

    What any of them begin with together is read once. The network is used and left as by `sequence_losses`, and the same is refused.
    """
    import torch

    endings = [ending for group in groups for ending in group]
    if not endings:
        return [[] for _ in groups]
    check_sequences(network, [ending.tokens for ending in endings])
    budget = batch_tokens or batch_budget(next(network.parameters()).device)
    runs = _runs(endings)
    with torch.no_grad(), evaluating(network), progress("loss", sum(len(run) for run in runs)) as advance:
        if not _can_share(network, runs):
            return _grouped(_plain_losses(network, endings, batch_tokens), groups)
        found: dict[int, Array] = {}
        for batch in _batches(runs, budget):
            flat = _batch_losses(network, batch).double().cpu().numpy()
            pieces = np.split(flat, np.cumsum([run.ending.count for run in batch])[:-1])
            found |= {run.number: losses for run, losses in zip(batch, pieces, strict=True)}
            advance(sum(len(run) for run in batch))
    if not all(np.isfinite(losses).all() for losses in found.values()):
        raise PliantError(NOT_A_NUMBER)
    return _grouped([found[number] for number in range(len(endings))], groups)


def _grouped(losses: Sequence[Array], groups: Sequence[Sequence[Ending]]) -> list[list[Array]]:
    each = iter(losses)
    return [[next(each) for _ in group] for group in groups]


def _plain_losses(network: PreTrainedModel, endings: Sequence[Ending], batch_tokens: int | None = None) -> list[Array]:
    """The same, every sequence by itself."""
    losses = sequence_losses(network, [ending.tokens for ending in endings], batch_tokens)
    return [loss[len(loss) - ending.count :] for loss, ending in zip(losses, endings, strict=True)]


@dataclass(frozen=True)
class _Run:
    """An ending, its number, and how many of its tokens the one before it begins with."""

    ending: Ending
    number: int
    shared: int

    def __len__(self) -> int:
        """How many tokens it adds. The last token of a sequence is predicted, not read."""
        return len(self.ending.tokens) - 1 - self.shared


def _runs(endings: Sequence[Ending]) -> list[_Run]:
    """As in a dictionary."""
    order = sorted(range(len(endings)), key=lambda number: endings[number].tokens[:-1].astype(">u4").tobytes())
    read = [endings[number].tokens[:-1] for number in order]
    shared = [0, *(_alike(before, tokens) for before, tokens in pairwise(read))]
    return [_Run(endings[number], number, count) for number, count in zip(order, shared, strict=True)]


def _alike(one: Tokens, other: Tokens) -> int:
    """How many tokens both begin with."""
    length = min(len(one), len(other))
    differs = one[:length] != other[:length]
    return int(differs.argmax()) if differs.any() else length


def _batches(runs: Sequence[_Run], budget: int) -> Iterator[list[_Run]]:
    """Neighbours that add `budget` tokens at most, or one that adds more; the first of each adds all that it has."""
    batch: list[_Run] = []
    tokens = 0
    for run in runs:
        if batch and tokens + len(run) > budget:
            yield batch
            batch = []
        if not batch:
            run, tokens = _Run(run.ending, run.number, 0), 0
        batch.append(run)
        tokens += len(run)
    yield batch


def _can_share(network: PreTrainedModel, runs: Sequence[_Run]) -> bool:
    """Whether the network, told which tokens see which, gives the losses that it gives sequences one by one."""
    longest = max(range(len(runs)), key=lambda place: len(runs[place].ending.tokens))
    length = len(runs[longest].ending.tokens)
    if network not in _agreed or 0 < _agreed[network] < length:
        most = max(range(len(runs)), key=lambda place: runs[place].shared)
        near = {place + step for place in (longest, most) for step in (-1, 0, 1)} & set(range(len(runs)))
        _agreed[network] = length if _agrees(network, [runs[place].ending for place in near]) else 0
    return _agreed[network] > 0


def _agrees(network: PreTrainedModel, endings: Sequence[Ending]) -> bool:
    import torch

    runs = _runs(endings)
    plain = np.concatenate(_plain_losses(network, [run.ending for run in runs]))
    try:
        found = _batch_losses(network, runs).double().cpu().numpy()
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError):  # an architecture of another build
        return False
    number = next(network.parameters()).dtype
    return bool(np.allclose(found, plain, rtol=0, atol=torch.finfo(number).eps ** 0.5 * max(1.0, float(np.abs(plain).max()))))


def _batch_losses(network: Any, batch: Sequence[_Run]) -> Tensor:
    """The losses of the scored tokens of one batch, one ending after the other."""
    import torch

    device, paths = next(network.parameters()).device, _paths(batch)
    places = np.concatenate([path[len(path) - run.ending.count :] for path, run in zip(paths, batch, strict=True)])
    targets = np.concatenate([run.ending.tokens[len(run.ending.tokens) - run.ending.count :] for run in batch]).astype(np.int64)
    ids = np.concatenate([run.ending.tokens[run.shared : -1] for run in batch]).astype(np.int64)
    positions = np.concatenate([np.arange(run.shared, len(path)) for path, run in zip(paths, batch, strict=True)])
    asked = np.zeros(len(ids), bool)
    asked[places] = True
    numbers = torch.from_numpy((np.cumsum(asked) - 1)[places]).to(device)  # of each scored token among the places that are asked for
    wanted, inputs = torch.from_numpy(targets).to(device), torch.from_numpy(ids).to(device)[None]
    parts = [(len(run), path) for run, path in zip(batch, paths, strict=True) if len(run)]

    def read(module: Any) -> Any:
        with along_paths(network, parts):
            return module(input_ids=inputs, position_ids=torch.from_numpy(positions).to(device)[None], use_cache=False)

    losses = torch.empty(len(places), dtype=torch.float64 if network.dtype == torch.float64 else torch.float32, device=device)
    done = 0
    for logits in token_logits(network, inputs, torch.from_numpy(asked).to(device)[None], read):
        here = ((numbers >= done) & (numbers < done + len(logits))).nonzero()[:, 0]
        losses[here] = losses_at(logits, numbers[here] - done, wanted[here])
        done += len(logits)
    return losses


def _paths(batch: Sequence[_Run]) -> list[NDArray[np.int64]]:
    """Where in the row the tokens of each sequence stand."""
    found: list[NDArray[np.int64]] = []
    path, start = np.zeros(0, np.int64), 0
    for run in batch:
        path = np.concatenate([path[: run.shared], np.arange(start, start + len(run))])
        start += len(run)
        found.append(path)
    return found
