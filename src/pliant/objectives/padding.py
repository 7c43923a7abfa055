"""Less padding: the rows of a pass in two groups of like length, where that is worth a second pass.

Idea: rows are padded to the longest of them, and on a processor every padded token costs as much as a real one. Put apart at the best
place, short rows and long rows are padded to their own longest; no row's loss is another for it.
Cost: a second pass's fixed time, so it is done only where enough is saved (`SECOND_PASS`); accelerators are kept busy by one large pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SECOND_PASS = 1.5e7
"""Parameters x tokens whose arithmetic takes about as long as the fixed part of a pass, measured on one core at 10^4 to 10^6 parameters."""


def by_length(learned: Tensor, parameters: int) -> list[tuple[Tensor, int]]:
    """Which rows go together, and how long they are up to the last position of which anything is learned.

    Args:
        learned: (rows, length) whether a position is learned.
        parameters: Of the network, by which a token's cost is judged.
    """
    import torch

    places = torch.arange(1, learned.shape[1] + 1, device=learned.device)
    whole = [(torch.arange(len(learned), device=learned.device), learned.shape[1])]
    if learned.device.type != "cpu" or len(learned) < 2:
        return whole
    lengths, rows = (learned * places).amax(1).sort(stable=True)
    counts = torch.arange(1, len(rows))
    padded = counts * lengths[:-1] + (len(rows) - counts) * lengths[-1]
    best = int(padded.argmin())
    if (learned.numel() - int(padded[best])) * parameters < SECOND_PASS or not int(lengths[0]):
        return whole
    return [(rows[: best + 1], int(lengths[best])), (rows[best + 1 :], int(lengths[-1]))]
