"""Negative log-likelihood of token sequences under any causal language model.

Idea: the head, not the body, is what makes evaluation wasteful. So sequences are sorted by length and batched by a budget of
tokens; padding is dropped before the head; and the head runs on a few hundred positions at a time, so that batch x length x
vocabulary never exists. The decoder never sees a mask: padding stands to the right, and a causal model cannot look there.
Whatever an architecture does after its head (scaling, soft caps, casts) is done by its own `forward`, whose decoder is made to
answer with hidden states that are already known. On a network's first batch this is checked against its plain output; a network
that does not agree is evaluated plainly.
Cost: one forward pass over inputs of length - 1; beside the weights one batch's activations and one slice of logits.
What goes wrong: a model with attention to the right (an encoder) has no such likelihood.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.models.checks import check_ids
from pliant.models.modules import decoder, evaluating, looks_ahead, token_embedding, token_head
from pliant.objectives.next_token import token_losses
from pliant.progress import progress

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from pliant.statistics import Array

Tokens = NDArray[np.integer[Any]]

Each = Callable[["Tensor", "Tensor"], "Tensor"]

BATCH_TOKENS = {"cpu": 2048, "cuda": 32768}
"""Tokens that go through the network at once."""

LOGITS = {"cpu": 2**20, "cuda": 2**26}
"""Entries of a slice of logits: what fits a processor's cache, or 256 MB of a GPU."""

FEWEST_ROWS = 128
"""Positions of a slice of logits at least: below it, matrix products are slow."""

NOT_A_NUMBER = "the model's loss is not a finite number; its weights are damaged, or too large for their number type"

_splits: WeakKeyDictionary[Any, bool] = WeakKeyDictionary()
"""Whether a network's head can be run apart from its decoder."""


def sequence_losses(
    network: PreTrainedModel, sequences: Sequence[Tokens], batch_tokens: int | None = None, each: Each = token_losses
) -> list[Array]:
    """-log p(token | tokens before it) in nats, for every token but the first: one float64 array (length - 1,) a sequence.

    Or what else `each` makes of logits (positions, vocabulary) and the tokens that follow (positions,).

    The network is used as it is (device, type) in evaluation mode without gradients, and left in the mode it was in.
    Raises PliantError for a sequence of fewer than two tokens, a token outside the vocabulary, and losses that are no numbers.
    """
    import torch

    if not sequences:
        return []
    check_sequences(network, sequences)
    device = next(network.parameters()).device
    budget = batch_tokens or batch_budget(device)
    lengths = [len(sequence) - 1 for sequence in sequences]
    order, found = [], []
    with torch.no_grad(), evaluating(network), progress("loss", sum(lengths)) as advance:
        for batch in batches(lengths, budget):
            order += batch
            found.append(_batch_losses(network, [sequences[index] for index in batch], device, each))
            advance(sum(lengths[index] for index in batch))
    flat = torch.cat(found).double().cpu().numpy()
    if not np.isfinite(flat).all():
        raise PliantError(NOT_A_NUMBER)
    ends = np.cumsum([lengths[index] for index in order])
    pieces = dict(zip(order, np.split(flat, ends[:-1]), strict=True))
    return [pieces[index] for index in range(len(sequences))]


def first_guesses(logits: Tensor, targets: Tensor) -> Tensor:
    """Whether the likeliest token is the right one: 1 or 0 at every position (positions,)."""
    return (logits.argmax(-1) == targets).float()


def batch_budget(device: torch.device) -> int:
    """Tokens that go through a network at once where nobody says."""
    return BATCH_TOKENS.get(device.type, BATCH_TOKENS["cuda"])


def batches(lengths: Sequence[int], budget: int) -> Iterator[list[int]]:
    """Indices of `lengths`, longest first, in batches whose padded size (rows x longest) stays within `budget` tokens.

    A sequence longer than the budget is a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    while order:
        rows = max(1, budget // max(1, lengths[order[0]]))
        yield order[:rows]
        order = order[rows:]


def _batch_losses(network: PreTrainedModel, rows: Sequence[Tokens], device: torch.device, each: Each) -> Tensor:
    """The losses of one batch of sequences, longest first, one after the other: (sum of lengths - 1,) in float32 or wider."""
    import torch

    longest = len(rows[0])
    padded = np.zeros((len(rows), longest), dtype=np.int64)
    for row, sequence in zip(padded, rows, strict=True):
        row[: len(sequence)] = sequence
    ids = torch.from_numpy(padded).to(device)
    inputs, targets = ids[:, :-1], ids[:, 1:]
    if len(rows[-1]) == longest:
        real = None
        targets = targets.flatten()
    else:
        lengths = torch.tensor([len(row) - 1 for row in rows], device=device)
        real = torch.arange(longest - 1, device=device) < lengths[:, None]
        targets = targets[real]
    losses: list[Tensor] = []
    for logits in token_logits(network, inputs, real):
        done = sum(len(loss) for loss in losses)
        losses.append(each(logits, targets[done : done + len(logits)]))
    return torch.cat(losses)


def token_logits(network: Any, inputs: Tensor, real: Tensor | None, read: Callable[[Any], Any] | None = None) -> Iterator[Tensor]:
    """Logits (positions, vocabulary) of the real positions of `inputs` (rows, length) in order, a slice at a time.

    `read` runs the decoder, or the network whole, and gives its output for all positions, where rows are no plain text. Raises
    PliantError for a network that has no such likelihood. To be used without gradients, in evaluation mode.
    """
    read = read or (lambda module: module(input_ids=inputs, use_cache=False))
    if network not in _splits:
        _splits[network] = _can_split(network, inputs[:1, :32])
    if not _splits[network]:
        logits = read(network).logits
        yield logits.flatten(0, 1) if real is None else logits[real]
        return
    body = decoder(network)
    output = read(body)
    hidden = output.last_hidden_state
    hidden = hidden.flatten(0, 1) if real is None else hidden[real]
    head: Any = token_head(network)
    rows = max(FEWEST_ROWS, LOGITS.get(hidden.device.type, LOGITS["cuda"]) // len(head.weight))
    with _answering(body, output):
        for piece in hidden.split(rows):
            yield _head(network, output, piece)


def _head(network: Any, output: Any, hidden: Tensor) -> Tensor:
    """What the network makes of hidden states (positions, width): its logits (positions, vocabulary)."""
    import torch

    output.last_hidden_state = hidden[None]
    unread = torch.zeros((1, len(hidden)), dtype=torch.long, device=hidden.device)
    return network(input_ids=unread, use_cache=False).logits[0]


@contextlib.contextmanager
def _answering(body: nn.Module, output: Any) -> Generator[None]:
    """Inside the block `body` answers with `output`, whatever it is asked."""
    own = body.__dict__.get("forward")
    body.forward = lambda *arguments, **options: output
    try:
        yield
    finally:
        del body.forward
        if own is not None:
            body.forward = own


def _can_split(network: Any, inputs: Tensor) -> bool:
    """Whether running the head apart from the decoder gives the network's own logits on `inputs` (1, length).

    Raises PliantError for a network whose attention looks to the right, and for one that gives no numbers.
    """
    import torch

    if looks_ahead(network):
        raise PliantError(f"{type(network).__name__} looks at tokens to the right, so it has no loss as a language model")
    logits = network(input_ids=inputs, use_cache=False).logits
    if token_head(network) is None and (logits.ndim != 3 or logits.shape[-1] < len(token_embedding(network).weight)):
        raise PliantError(f"{type(network).__name__} predicts no tokens, so it has no loss as a language model")
    expected = logits[0]
    if expected.isnan().any():
        raise PliantError(NOT_A_NUMBER)
    if token_head(network) is None:
        return False
    try:
        body = decoder(network)
        output = body(input_ids=inputs, use_cache=False)
        with _answering(body, output):
            found = _head(network, output, output.last_hidden_state[0])
    except (AttributeError, TypeError, ValueError, RuntimeError, RecursionError):  # an architecture of another build
        return False
    if found.shape != expected.shape:
        return False
    error, scale = (found - expected).abs().nan_to_num().max(), expected.abs().nan_to_num(posinf=0.0).max()
    return bool(error <= torch.finfo(expected.dtype).eps ** 0.5 * scale)


def check_sequences(network: Any, sequences: Sequence[Tokens]) -> None:
    """Raises PliantError for a sequence of fewer than two tokens, and for a token outside the vocabulary."""
    if min(len(sequence) for sequence in sequences) < 2:
        raise PliantError("a loss needs samples of at least two tokens")
    check_ids(token_embedding(network), max(int(np.max(sequence)) for sequence in sequences))
