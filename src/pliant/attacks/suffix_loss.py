"""What a target costs after a prompt and a suffix, for many suffixes that differ by one token: what they share is read once.

Idea: keys and values of the prompt are kept; each step those of the current suffix join them, and a candidate whose swap is at place p
starts from there with all before p read already. Candidates are sorted by place and go together in rows, from the first place of any of
them. Only the target's positions reach the head.
What goes wrong: networks without keys and values of all tokens (recurrent ones, attention in windows) read every candidate whole.
"""

from __future__ import annotations

from dataclasses import dataclass
from inspect import signature
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError
from pliant.models.modules import evaluating

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.models import Model


@dataclass(frozen=True)
class SuffixLoss:
    """The loss of `target` after `prompt` and any suffix of one length."""

    network: Any
    prompt: Tensor
    """(tokens,) with what opens a text."""
    target: Tensor
    """(tokens,)."""
    rows: int
    """That go through the network together."""
    kept: tuple[tuple[Tensor, Tensor], ...] | None
    """Keys and values (1, heads, tokens, width) of the prompt, layer by layer; None where the network has none that can be cut."""

    @classmethod
    def of(cls, model: Model, prompt: str, target: str, length: int, rows: int) -> SuffixLoss:
        """Raises PliantError for a target without tokens, and for texts that are too long for the model together."""
        import torch

        before, after = ([int(number) for number in ids] for ids in model.tokenizer.encode([prompt, target]))
        opening = model.tokenizer.opening_id
        before = [*([] if opening is None else [opening]), *before]
        if not after:
            raise PliantError(f"the target {target[:40]!r} has no tokens")
        if (total := len(before) + length + len(after)) > model.context:
            raise PliantError(f"prompt, suffix and target are {total} tokens, more than the model's context of {model.context}")
        ids, wanted = (torch.tensor(part, dtype=torch.long, device=model.device) for part in (before, after))
        loss = cls(model.network, ids, wanted, rows, None)
        with torch.no_grad(), evaluating(model.network):
            return cls(model.network, ids, wanted, rows, loss.read(ids[None], None))

    def read(self, ids: Tensor, kept: tuple[tuple[Tensor, Tensor], ...] | None) -> tuple[tuple[Tensor, Tensor], ...] | None:
        """Keys and values of what was kept and of these ids (1, tokens) behind it; None where they cannot be had."""
        if kept is None and not ids.shape[1]:
            return None
        cache = self._cache(kept, 1, None)
        output = self.network(input_ids=ids, past_key_values=cache, use_cache=True)
        layers = getattr(output.past_key_values, "layers", None)
        if layers is None or any(type(layer).__name__ != "DynamicLayer" for layer in layers):
            return None
        return tuple((layer.keys, layer.values) for layer in layers)

    def gradient(self, suffix: Tensor) -> Tensor:
        """(suffix, vocabulary) of the loss in the one-hot rows of the suffix's tokens."""
        import torch

        table = self.network.get_input_embeddings()
        moved = table(suffix[None]).detach().requires_grad_(True)
        whole = [moved, table(self.target[None]).detach()]
        with torch.enable_grad():
            if self.kept is None:
                whole = [table(self.prompt[None]).detach(), *whole]
            logits = self._logits(1, self.kept, inputs_embeds=torch.cat(whole, 1))
            (gradient,) = torch.autograd.grad(self._costs(logits).sum(), moved)
        if not torch.isfinite(gradient).all():
            raise PliantError("the gradient of the target's loss is not finite; the model's weights are damaged")
        return gradient[0] @ table.weight.detach().T

    def of_swaps(self, suffix: Tensor, places: Tensor, tokens: Tensor) -> Tensor:
        """(swaps,) the loss in nats a token, of the suffix (tokens,) with another token at one place each."""
        import torch

        order = places.argsort()
        found = torch.empty(len(places), device=places.device)
        whole = None if self.kept is None else self.read(suffix[None], self.kept)
        for chosen in order.split(self.rows):
            rows = suffix.repeat(len(chosen), 1)
            rows[torch.arange(len(chosen)), places[chosen]] = tokens[chosen]
            shared = 0 if whole is None else int(places[chosen].min())
            ids = torch.cat([rows[:, shared:], self.target.expand(len(chosen), -1)], 1)
            if whole is None:
                ids = torch.cat([self.prompt.expand(len(chosen), -1), ids], 1)
            logits = self._logits(len(chosen), whole, len(self.prompt) + shared, input_ids=ids)
            found[chosen] = self._costs(logits).to(found.dtype)
        return found

    def _logits(self, rows: int, kept: Any, columns: int | None = None, **given: Tensor) -> Tensor:
        """(rows, target, vocabulary) that the target's tokens are told by."""
        count = len(self.target) + 1
        few = {"logits_to_keep": count} if "logits_to_keep" in signature(self.network.forward).parameters else {}
        cached = {} if kept is None else {"past_key_values": self._cache(kept, rows, columns)}
        output = self.network(**given, **cached, **few, use_cache=bool(cached))
        return output.logits[:, -count:-1]

    def _cache(self, kept: Any, rows: int, columns: int | None) -> Any:
        """A fresh cache with the first columns of what was kept, in every row; the kept ones are not written to."""
        from transformers import DynamicCache

        cache: Any = DynamicCache()
        layers: Any = () if kept is None else kept
        for number, (keys, values) in enumerate(layers):
            cache.update(keys[:, :, :columns].expand(rows, -1, -1, -1), values[:, :, :columns].expand(rows, -1, -1, -1), number)
        return cache

    def _costs(self, logits: Tensor) -> Tensor:
        """(rows,) nats a token of the target."""
        from torch.nn.functional import cross_entropy

        wanted = self.target.expand(len(logits), -1)
        return cross_entropy(logits.float().transpose(1, 2), wanted, reduction="none").mean(1)
