"""What a frozen reference thinks of pairs of answers: worked out once, and kept by content.

Idea: a reference never changes, so its forward passes need not be made again at every step, nor in the next run over the same pairs.
Cost: one forward pass over the pairs; eight bytes a pair in the cache.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from pliant.data.once import read_once
from pliant.errors import PliantError
from pliant.files import cache_folder
from pliant.models.modules import evaluating
from pliant.objectives.next_token import token_losses
from pliant.objectives.paired import Pairs, side_by_side
from pliant.progress import progress
from pliant.spec import digest

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.models import Model
    from pliant.models.stored_model import StoredModel

_FORMAT = 1  # raise it when the same reference would give other numbers
_ROWS = 4  # pairs that the reference reads at once


def difference(logits: Tensor, targets: Tensor) -> Tensor:
    """log p(chosen) - log p(rejected), (rows,) in float64: each is some hundred nats, and a few are left.

    Args:
        logits: (2 x rows, length, vocabulary), the members of a row one after the other.
        targets: (rows, 2, length), -100 where nothing is learned.
    """
    import torch

    learned = (targets >= 0).flatten(0, 1)
    losses = token_losses(logits, targets.flatten(0, 1).clamp(min=0)).where(learned, 0.0)
    chosen, rejected = losses.sum(-1, dtype=torch.float64).view(-1, 2).unbind(1)
    return rejected - chosen


def reference_differences(named: StoredModel | None, model: Model, pairs: Pairs) -> NDArray[np.float64]:
    """(pairs,) log p(chosen) - log p(rejected) under a frozen reference: the one that is named, or `model` as it is now.

    Worked out once, and kept by the content of the reference and of the pairs. Raises PliantError for a reference that cannot be
    loaded, cannot read the same tokens, or gives no numbers.
    """
    known = model.weights() if named is None else named.fingerprint()
    key = digest(json.dumps([_FORMAT, pairs.fingerprint, model.tokenizer.fingerprint, known]))

    def write(path: Path) -> None:
        with path.open("wb") as stream:
            np.save(stream, _differences(model if named is None else _fitting(named, model, pairs), pairs))

    def read(path: Path) -> NDArray[np.float64] | None:
        try:
            found = np.load(path, allow_pickle=False)
        except (OSError, ValueError, EOFError):
            return None
        return found if found.shape == (len(pairs),) and found.dtype == np.float64 and np.isfinite(found).all() else None

    return read_once(cache_folder() / "references" / f"{key}.npy", write, read)


def _fitting(named: StoredModel, model: Model, pairs: Pairs) -> Model:
    """The reference, on the model's device. Raises PliantError where it cannot read the same tokens."""
    frozen = named.load(model.device)
    if frozen.tokenizer.fingerprint != model.tokenizer.fingerprint:
        raise PliantError(f"the reference {named.address} has another tokenizer than {model.checkpoint.address}; give one with the same")
    longest = int(np.diff(pairs.sequences.offsets).max()) - 1
    if frozen.context < longest:
        raise PliantError(f"the reference {named.address} has a context of {frozen.context} tokens, fewer than the {longest} of a pair")
    return frozen


def _differences(frozen: Model, pairs: Pairs) -> NDArray[np.float64]:
    """One forward pass over everything. Raises PliantError for a reference that gives no numbers."""
    import torch

    lengths = np.diff(pairs.sequences.offsets).reshape(-1, 2).max(-1)
    numbers = np.argsort(lengths, kind="stable")
    found = np.zeros(len(pairs))
    with torch.no_grad(), evaluating(frozen.network), progress("the reference", len(pairs)) as advance:
        for start in range(0, len(pairs), _ROWS):
            rows = numbers[start : start + _ROWS]
            batch = pairs.rows(rows).to(frozen.device)
            output = frozen.network(**side_by_side(batch), use_cache=False)
            found[rows] = difference(output.logits, batch.targets).cpu().numpy()
            advance(len(rows))
    if not np.isfinite(found).all():
        raise PliantError(f"{frozen.checkpoint.address}: as a reference it gives no finite numbers; its weights are damaged")
    return found
