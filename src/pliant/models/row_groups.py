"""Rows of text that grow token by token, their keys and values kept in groups of like length.

Idea: attention to one new token costs as much as what it reads, the keys and values of the row. Rows of like length are a group, a
block of its own without much padding; all else that the network does to a token it does to the tokens of all groups at once. A
group that joins touches no other; a row that leaves has its own group copied; groups that have become small are put together.
Cost: four small operations a group, layer and step. Columns stand last in memory, so that products run along them.
What goes wrong: it is plain attention, softmax of scores and nothing else; networks that do more (windows, caps, sinks, other
memories) are found out by what they tell of it, and by their logits (`rows_of`), and get `pliant.models.key_values` instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pliant.models.attention import attending
from pliant.models.key_values import ROOM, KeyValues, bytes_of_a_token, checked, read

if TYPE_CHECKING:
    import torch
    from torch import Tensor

NAME = "pliant_groups"
"""What configs call this attention; nobody makes a mask for it."""

MOST_ROWS = 32
"""Rows of a group."""

WASTE = 2**16
"""Numbers of padding, a layer, that cost as much as one more group."""

PLAIN = {"dropout", "position_ids", "use_cache"}
"""What layers may tell of an attention that is softmax of scores and nothing else, dropout being off."""


class RowGroup:
    """Rows of like length: keys and values (rows, heads, width, columns) of each layer, with room behind the columns."""

    def __init__(self, layers: Sequence[tuple[Tensor, Tensor]], hidden: Tensor) -> None:
        """`hidden` (rows, columns): zero, or the lowest number where there is only padding."""
        self.layers, self.hidden, self.columns = list(layers), hidden, hidden.shape[1]
        self.padded = bool(hidden.any())

    def __len__(self) -> int:
        return len(self.hidden)

    @property
    def width(self) -> int:
        """Numbers of a column, in a row and layer."""
        return sum(part[0, ..., 0].numel() for part in self.layers[0])

    def make_room(self) -> None:
        """For one more column."""
        if self.columns == self.hidden.shape[1]:
            self._replace(self.columns + ROOM, 0)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """(rows, heads, width) of scaled queries; `key` and `value` (rows, heads, width) are written into the column behind the last."""
        keys, values = self.layers[layer]
        rows, heads, width = query.shape
        end, shared = self.columns + 1, keys.shape[1]
        keys[..., self.columns], values[..., self.columns] = key, value
        scores = query.reshape(rows * shared, -1, width).bmm(keys.flatten(0, 1)[..., :end])
        if self.padded:
            scores.view(rows, heads, end).add_(self.hidden[:, None, :end])
        return scores.softmax(-1).bmm(values.flatten(0, 1)[..., :end].transpose(1, 2)).view(rows, heads, -1)

    def keep(self, rows: Sequence[int]) -> None:
        """Let go of all other rows."""
        import torch

        chosen = torch.tensor(rows, device=self.hidden.device)
        self.layers = [(keys[chosen], values[chosen]) for keys, values in self.layers]
        self.hidden = self.hidden[chosen]

    def waste(self, other: RowGroup) -> int:
        """Numbers of padding, a layer, that the two would have together."""
        shorter, longer = sorted((self, other), key=lambda group: group.columns)
        return (longer.columns - shorter.columns) * len(shorter) * self.width

    def take_in(self, other: RowGroup) -> None:
        """Further rows, under one's own."""
        import torch

        columns = max(self.columns, other.columns)
        for group in (self, other):
            group._replace(columns + ROOM, columns - group.columns)
        self.layers = [
            (torch.cat([keys, more_keys]), torch.cat([values, more_values]))
            for (keys, values), (more_keys, more_values) in zip(self.layers, other.layers, strict=True)
        ]
        self.hidden = torch.cat([self.hidden, other.hidden])
        self.columns, self.padded = columns, bool(self.hidden.any())

    def _replace(self, room: int, before: int) -> None:
        """What is there, behind `before` columns of padding, in room for as many columns in all."""
        import torch
        from torch.nn.functional import pad

        around = (before, room - before - self.columns)
        self.layers = [tuple(pad(part[..., : self.columns], around) for part in layer) for layer in self.layers]  # type: ignore[misc]
        self.hidden = pad(self.hidden[:, : self.columns], around)
        self.hidden[:, :before] = torch.finfo(self.hidden.dtype).min


class RowGroups:
    """`logits` (rows, vocabulary) are what each row's next token is chosen by."""

    logits: Tensor

    def __init__(self, network: Any) -> None:
        self.network = network
        self.device = next(network.parameters()).device
        self.groups: list[RowGroup] = []
        self.lengths: Tensor | None = None
        """Tokens of each row."""

    def join(self, prompts: Sequence[Sequence[int]]) -> None:
        """Further rows, of like length, read up to their last token. Raises PliantError for logits that are no numbers."""
        import torch

        layers, real, logits = read(self.network, prompts, self.device)
        lengths = torch.tensor([len(prompt) for prompt in prompts], device=self.device)
        width = sum(part[0, :, 0].numel() for part in layers[0])
        for rows in _alike([len(prompt) for prompt in prompts], width):
            columns = max(len(prompt) for prompt in prompts[rows])
            hidden = torch.zeros(real[rows, -columns:].shape, dtype=layers[0][0].dtype, device=self.device)
            hidden.masked_fill_(real[rows, -columns:] == 0, torch.finfo(hidden.dtype).min)
            own = [tuple(part[rows, :, -columns:].transpose(2, 3).contiguous() for part in layer) for layer in layers]
            self.groups.append(RowGroup(own, hidden))  # type: ignore[arg-type]
        there = self.lengths is not None and len(self.lengths) > 0
        self.lengths = torch.cat([self.lengths, lengths]) if there and self.lengths is not None else lengths
        self.logits = torch.cat([self.logits, logits]) if there else logits

    def keep(self, rows: Sequence[int]) -> None:
        """Let go of all other rows; those kept are told in their order."""
        import torch

        assert self.lengths is not None
        first, groups = 0, list[RowGroup]()
        for group in self.groups:
            own = [row - first for row in rows if first <= row < first + len(group)]
            first += len(group)
            if own and len(own) < len(group):
                group.keep(own)
            if own and groups and len(groups[-1]) + len(own) <= MOST_ROWS and groups[-1].waste(group) <= WASTE:
                groups[-1].take_in(group)
            elif own:
                groups.append(group)
        self.groups = groups
        chosen = torch.tensor(rows, dtype=torch.long, device=self.device)
        self.lengths, self.logits = self.lengths[chosen], self.logits[chosen]

    def step(self, tokens: Sequence[int]) -> None:
        """One more token of every row. Raises PliantError for logits that are no numbers."""
        import torch

        assert self.lengths is not None
        for group in self.groups:
            group.make_room()
        ids, positions = torch.tensor(tokens, device=self.device)[:, None], self.lengths[:, None]
        with attending(self.network, NAME, self._attend):
            output = self.network(input_ids=ids, position_ids=positions, past_key_values=self._cache(), use_cache=True, logits_to_keep=1)
        self.logits = checked(output.logits[:, -1])
        self.lengths = self.lengths + 1
        for group in self.groups:
            group.columns += 1

    def _attend(
        self, layer: Any, query: Tensor, key: Tensor, value: Tensor, mask: None, scaling: float, **told: Any
    ) -> tuple[Tensor, None]:
        """(rows, 1, heads, width), and no weights."""
        import torch

        if mask is not None or any(value is not None for name, value in told.items() if name not in PLAIN):
            raise ValueError("more than softmax of scores")
        sizes = [len(group) for group in self.groups]
        parts = zip(*((part[:, :, 0].split(sizes)) for part in (query * scaling, key, value)), strict=True)
        found = [group.attend(layer.layer_idx, *part) for group, part in zip(self.groups, parts, strict=True)]
        return torch.cat(found)[:, None], None

    def _cache(self) -> Any:
        """What transformers believes to be a cache: it hands on a token's own keys and values."""
        from transformers import DynamicCache

        cache: Any = DynamicCache()
        cache.layers += [_passing(max(group.columns for group in self.groups)) for _ in self.groups[0].layers]
        return cache


def _alike(lengths: Sequence[int], width: int) -> list[slice]:
    """Rows, in order, in groups that have little padding."""
    found, start = list[slice](), 0
    for end in range(1, len(lengths) + 1):
        wider = lengths[start : end + 1]
        if end == len(lengths) or len(wider) > MOST_ROWS or (max(wider) * len(wider) - sum(wider)) * width > WASTE:
            found.append(slice(start, end))
            start = end
    return found


def _passing(length: int) -> Any:
    from transformers.cache_utils import DynamicLayer

    class Passing(DynamicLayer):
        def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
            return key_states, value_states

        def get_seq_length(self) -> int:
            return length

    return Passing()


def rows_of(network: Any, tokens: Sequence[int]) -> tuple[KeyValues | RowGroups, int]:
    """Where rows grow, and the bytes that a token takes there: in groups on a processor and where attention is plain; else padded to one
    length; else, with 0 bytes, read anew at every step. Tried on `tokens`.
    """
    weight = next(network.parameters())
    if weight.device.type == "cpu" and weight.element_size() >= 4 and _full(network):
        held = bytes_of_a_token(network, tokens, RowGroups(network))
        if held:
            return RowGroups(network), held
    held = bytes_of_a_token(network, tokens, KeyValues(network))
    return KeyValues(network, held > 0), held


def _full(network: torch.nn.Module) -> bool:
    """Whether nothing in the configs asks for windows or chunks, or for anything but full attention."""
    configs = [config for module in network.modules() if (config := getattr(module, "config", None)) is not None]
    return not any(
        getattr(config, "sliding_window", None)
        or getattr(config, "attention_chunk_size", None)
        or set(getattr(config, "layer_types", None) or ()) - {"full_attention"}
        for config in configs
    )
