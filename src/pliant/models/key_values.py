"""Rows of text that grow token by token, with the keys and values of what was read; rows join and leave as they please.

Idea: rows are padded on the left, so that their last tokens stand below each other; every row knows its own positions. A row that joins is
read with the others that join, and what has fewer columns is padded. Columns that only padding is left in are cut off.
Cost: joining and leaving copy the keys and values.
What goes wrong: it is for networks whose whole memory is keys and values of all tokens (`can_cache`); others are read anew at every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError

if TYPE_CHECKING:
    from torch import Tensor


class KeyValues:
    """`logits` (rows, vocabulary) are what each row's next token is chosen by. `cached`: see `can_cache`."""

    logits: Tensor

    def __init__(self, network: Any, cached: bool = True) -> None:
        self.network, self.cached = network, cached
        self.device = next(network.parameters()).device
        self.rows: list[list[int]] = []
        """Tokens of each row, where nothing is cached."""
        self.layers: list[tuple[Tensor, Tensor]] = []
        """Keys and values (rows, heads, columns, width) of each layer."""
        self.real: Tensor | None = None
        """Which columns (rows, columns) are a row's own."""

    def join(self, prompts: Sequence[Sequence[int]]) -> None:
        """Further rows, read up to their last token. Raises PliantError for logits that are no numbers."""
        import torch
        from torch.nn.functional import pad

        if not self.cached:
            self.rows += [list(prompt) for prompt in prompts]
            self._read_anew()
            return
        longest = max(map(len, prompts))
        ids = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=self.device)
        real = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=self.device)
        layers, logits = self._forward(ids, real, (real.cumsum(-1) - 1).clamp(min=0), [])
        if self.real is None or not len(self.real):
            self.layers, self.real, self.logits = layers, real, logits
            return
        columns = max(longest, self.real.shape[1])

        def both(there: Tensor, new: Tensor, after: int) -> Tensor:
            """One under the other, padded on the left of the dimension that has `after` others behind it."""
            wider = [pad(part, (0, 0) * after + (columns - part.shape[-1 - after], 0)) for part in (there, new)]
            return torch.cat(wider)

        self.layers = [
            (both(keys, new_keys, 1), both(values, new_values, 1))
            for (keys, values), (new_keys, new_values) in zip(self.layers, layers, strict=True)
        ]
        self.real = both(self.real, real, 0)
        self.logits = torch.cat([self.logits, logits])

    def keep(self, rows: Sequence[int]) -> None:
        """Let go of all other rows."""
        import torch

        if not self.cached:
            self.rows = [self.rows[row] for row in rows]
            return
        assert self.real is not None
        chosen = torch.tensor(rows, dtype=torch.long, device=self.device)
        self.real = self.real[chosen]
        start = int((self.real.any(0)).int().argmax()) if len(rows) else 0
        self.real = self.real[:, start:]
        self.layers = [(keys[chosen, :, start:], values[chosen, :, start:]) for keys, values in self.layers]
        self.logits = self.logits[chosen]

    def step(self, tokens: Sequence[int]) -> None:
        """One more token of every row. Raises PliantError for logits that are no numbers."""
        import torch

        if not self.cached:
            for row, token in zip(self.rows, tokens, strict=True):
                row.append(token)
            self._read_anew()
            return
        assert self.real is not None
        positions = self.real.sum(-1, keepdim=True)
        self.real = torch.cat([self.real, torch.ones_like(self.real[:, :1])], dim=-1)
        self.layers, self.logits = self._forward(torch.tensor(tokens, device=self.device)[:, None], self.real, positions, self.layers)

    def _forward(
        self, ids: Tensor, real: Tensor, positions: Tensor, before: list[tuple[Tensor, Tensor]]
    ) -> tuple[list[tuple[Tensor, Tensor]], Tensor]:
        from transformers import DynamicCache

        cache: Any = DynamicCache()
        for number, (keys, values) in enumerate(before):
            cache.update(keys, values, number)
        # without padding no mask is told, so that attention takes its fastest way
        mask = {} if bool(real.all()) else {"attention_mask": real}
        output = self.network(input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1, **mask)
        return [(layer.keys, layer.values) for layer in cache.layers], _checked(output.logits[:, -1])

    def _read_anew(self) -> None:
        import torch

        rows = [self.network(input_ids=torch.tensor([row], device=self.device), use_cache=False).logits[0, -1] for row in self.rows]
        if rows:
            self.logits = _checked(torch.stack(rows))


def can_cache(network: Any, tokens: Sequence[int]) -> bool:
    """Whether reading `tokens` in two steps, beside a shorter row, gives the logits of reading them at once."""
    import torch

    plain = KeyValues(network, cached=False)
    plain.join([tokens])
    state = KeyValues(network)
    try:
        state.join([tokens[:1] if len(tokens) == 1 else tokens[:-1]])
        state.join([tokens[:1]])
        if len(tokens) > 1:
            state.step([tokens[-1], tokens[-1]])
        found = state.logits[0]
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError):  # an architecture of another build
        return False
    scale = plain.logits.abs().nan_to_num(posinf=0.0).max()
    return bool((found - plain.logits[0]).abs().nan_to_num().max() <= torch.finfo(found.dtype).eps ** 0.5 * scale)


def _checked(logits: Tensor) -> Tensor:
    if bool(logits.isnan().any()):
        raise PliantError("the model's logits are not numbers; its weights are damaged, or too large for their number type")
    return logits
