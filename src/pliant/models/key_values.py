"""Rows of text that grow token by token, with the keys and values of what was read; rows join and leave as they please.

Idea: rows are padded on the left, so that their last tokens stand below each other; every row knows its own positions. A row that joins is
read with the others that join, and what has fewer columns is padded. Columns that only padding is left in are cut off. Behind the
last column there is room, so that a further token is written, and not copied with all that stand before it.
Cost: joining and leaving copy the keys and values.
What goes wrong: it is for networks whose whole memory is keys and values of all tokens (`bytes_of_a_token`); others are read anew at
every step.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from pliant.errors import PliantError

if TYPE_CHECKING:
    import torch
    from torch import Tensor


ROOM = 64
"""Columns for further tokens, made at once; as many of padding are worth cutting off."""


class GrowingTensor:
    """A tensor (rows, heads, columns, width) that grows by columns."""

    def __init__(self, part: Tensor) -> None:
        self.store, self.count = part, part.shape[2]

    @property
    def now(self) -> Tensor:
        """Without the room behind it."""
        return self.store[:, :, : self.count]

    def add(self, part: Tensor) -> Tensor:
        """All columns, with further ones behind them."""
        end = self.count + part.shape[2]
        if end > self.store.shape[2]:
            rows, heads, _, width = part.shape
            store = part.new_empty(rows, heads, end + ROOM, width)
            store[:, :, : self.count] = self.now
            self.store = store
        self.store[:, :, self.count : end] = part
        self.count = end
        return self.now

    def keep(self, rows: Tensor, start: int) -> None:
        """Let go of other rows, and of the columns before `start`."""
        self.store, self.count = self.store[rows, :, start:], self.count - start


class KeyValues:
    """`logits` (rows, vocabulary) are what each row's next token is chosen by. `cached`: see `bytes_of_a_token`."""

    logits: Tensor

    def __init__(self, network: Any, cached: bool = True) -> None:
        self.network, self.cached = network, cached
        self.device = next(network.parameters()).device
        self.rows: list[list[int]] = []
        """Tokens of each row, where nothing is cached."""
        self.layers: list[tuple[GrowingTensor, GrowingTensor]] = []
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
        layers, real, logits = read(self.network, prompts, self.device)
        layers = [(GrowingTensor(keys), GrowingTensor(values)) for keys, values in layers]
        longest = real.shape[1]
        if self.real is None or not len(self.real):
            self.layers, self.real, self.logits = layers, real, logits
            return
        columns = max(longest, self.real.shape[1])

        def both(there: Tensor, new: Tensor, after: int) -> Tensor:
            """One under the other, padded on the left of the dimension that has `after` others behind it."""
            wider = [pad(part, (0, 0) * after + (columns - part.shape[-1 - after], 0)) for part in (there, new)]
            return torch.cat(wider)

        self.layers = [
            (GrowingTensor(both(keys.now, new_keys.now, 1)), GrowingTensor(both(values.now, new_values.now, 1)))
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
        start = start if start >= ROOM else 0
        self.real = self.real[:, start:]
        for part in (part for layer in self.layers for part in layer):
            part.keep(chosen, start)
        self.logits = self.logits[chosen]

    def step(self, tokens: Sequence[int]) -> None:
        """One more token of every row. Raises PliantError for logits that are no numbers."""
        import torch
        from transformers import DynamicCache

        if not self.cached:
            for row, token in zip(self.rows, tokens, strict=True):
                row.append(token)
            self._read_anew()
            return
        assert self.real is not None
        positions = self.real.sum(-1, keepdim=True)
        self.real = torch.cat([self.real, torch.ones_like(self.real[:, :1])], dim=-1)
        cache: Any = DynamicCache()
        cache.layers += [_growing_layer()(keys, values) for keys, values in self.layers]
        self.logits = _forward(self.network, torch.tensor(tokens, device=self.device)[:, None], self.real, positions, cache)

    def _read_anew(self) -> None:
        import torch

        rows = [self.network(input_ids=torch.tensor([row], device=self.device), use_cache=False).logits[0, -1] for row in self.rows]
        if rows:
            self.logits = checked(torch.stack(rows))


def read(network: Any, prompts: Sequence[Sequence[int]], device: torch.device) -> tuple[list[tuple[Tensor, Tensor]], Tensor, Tensor]:
    """Keys and values (rows, heads, columns, width) of each layer, which columns (rows, columns) are a row's own, and the last logits of
    each row; padded on the left. Raises PliantError for logits that are no numbers.
    """
    import torch
    from transformers import DynamicCache

    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(prompt)) + list(prompt) for prompt in prompts], device=device)
    real = torch.tensor([[0] * (longest - len(prompt)) + [1] * len(prompt) for prompt in prompts], device=device)
    cache: Any = DynamicCache()
    logits = _forward(network, ids, real, (real.cumsum(-1) - 1).clamp(min=0), cache)
    return [(layer.keys, layer.values) for layer in cache.layers], real, logits


def _forward(network: Any, ids: Tensor, real: Tensor, positions: Tensor, cache: Any) -> Tensor:
    # without padding no mask is told, so that attention takes its fastest way
    mask = {} if bool(real.all()) else {"attention_mask": real}
    output = network(input_ids=ids, position_ids=positions, past_key_values=cache, use_cache=True, logits_to_keep=1, **mask)
    return checked(output.logits[:, -1])


@cache
def _growing_layer() -> Any:
    """transformers' layer of a cache, made of columns."""
    from transformers.cache_utils import DynamicLayer

    class Growing(DynamicLayer):
        def __init__(self, keys: GrowingTensor, values: GrowingTensor) -> None:
            super().__init__()
            self.columns = (keys, values)
            self.lazy_initialization(keys.now, values.now)
            self.keys, self.values = keys.now, values.now

        def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
            keys, values = self.columns
            self.keys, self.values = keys.add(key_states), values.add(value_states)
            return self.keys, self.values

    return Growing


class GrowingRows(Protocol):
    """Rows that join and grow."""

    logits: Tensor

    def join(self, prompts: Sequence[Sequence[int]]) -> None:
        """Further rows."""
        ...

    def step(self, tokens: Sequence[int]) -> None:
        """One more token of every row."""
        ...


def bytes_of_a_token(network: Any, tokens: Sequence[int], state: GrowingRows) -> int:
    """What the keys and values of one token take; 0 where reading `tokens` in two steps, in a new `state` beside a shorter row, gives
    other logits than reading them at once, so that they cannot be kept.
    """
    import torch

    plain = KeyValues(network, cached=False)
    plain.join([tokens])
    try:
        state.join([tokens[:1] if len(tokens) == 1 else tokens[:-1]])
        state.join([tokens[:1]])
        if len(tokens) > 1:
            state.step([tokens[-1], tokens[-1]])
        found = state.logits[0]
        layers, _, _ = read(network, [tokens[:1]], plain.device)
    except (AttributeError, TypeError, ValueError, RuntimeError, IndexError):  # an architecture of another build
        return 0
    scale = plain.logits.abs().nan_to_num(posinf=0.0).max()
    if not (found - plain.logits[0]).abs().nan_to_num().max() <= torch.finfo(found.dtype).eps ** 0.5 * scale:
        return 0
    return sum(part[0, :, 0].nbytes for layer in layers for part in layer)


def checked(logits: Tensor) -> Tensor:
    """As they are. Raises PliantError where they are no numbers."""
    if bool(logits.amax(-1).isnan().any()):  # a maximum is none where one of them is
        raise PliantError("the model's logits are not numbers; its weights are damaged, or too large for their number type")
    return logits
