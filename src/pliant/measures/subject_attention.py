"""How much attention the end of a question pays to its subject, mean over layers and heads.

Idea: the network runs once more with plain (eager) attention, whose weights it hands out; of the last token's, those on the subject's
tokens are summed. Cost: a forward pass, and the weights (layers, heads, length, length) of one question in memory at a time.
What goes wrong: first tokens draw much attention in most networks, so compare a model with itself, before and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.errors import PliantError
from pliant.models.modules import evaluating

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from pliant.models import Model
    from pliant.statistics import Array


@dataclass(frozen=True)
class SubjectPrompt:
    """A prompt in three parts: what stands before the subject, the subject, and what stands after it."""

    before: str
    subject: str
    after: str

    @property
    def prompt(self) -> str:
        """All of it."""
        return self.before + self.subject + self.after


def subject_attention(model: Model, asked: Sequence[SubjectPrompt]) -> Array:
    """(asked,) from 0 to 1. Raises PliantError for a network that does not tell its attention (recurrent ones)."""
    import torch

    begin = model.tokenizer.beginning_id
    start = 0 if begin is None else 1
    found = np.zeros(len(asked))
    with torch.inference_mode(), evaluating(model.network), ExitStack() as undo:
        _eager(model.network, undo)
        for place, one in enumerate(asked):
            ids = model.tokenizer.encode([one.prompt])[0]
            first, last = subject_span(model, one, ids)
            tokens = torch.as_tensor([*([] if begin is None else [begin]), *ids.tolist()], device=model.device)[None]
            told: Any = getattr(model.network(input_ids=tokens, output_attentions=True, use_cache=False), "attentions", None)
            layers = [layer for layer in told or () if layer is not None]
            if not layers:
                raise PliantError(f"{model.checkpoint.address}: does not tell its attention; leave out `attention`")
            inside = [layer[0, :, -1, start + first : start + last].sum(-1).double().mean() for layer in layers]
            found[place] = float(torch.stack(inside).mean())
    return found


def subject_span(model: Model, asked: SubjectPrompt, ids: NDArray[np.int32]) -> tuple[int, int]:
    """The subject's tokens among those of the prompt: from where it differs from what stands before to where all of it is told."""
    before, until = model.tokenizer.encode([asked.before, asked.before + asked.subject])
    first = _alike(before, ids)
    return first, max(_alike(until, ids), first + 1)


def _alike(one: NDArray[np.int32], other: NDArray[np.int32]) -> int:
    """How many tokens both begin with."""
    length = min(len(one), len(other))
    differs = np.flatnonzero(one[:length] != other[:length])
    return int(differs[0]) if len(differs) else length


def _eager(network: Any, undo: ExitStack) -> None:
    """Fused kernels hand out no weights; as before when `undo` closes."""
    configs = [getattr(module, "config", None) for module in network.modules()]
    owned: list[Any] = [config for config in configs if hasattr(config, "_attn_implementation")]
    for config in {id(config): config for config in owned}.values():  # modules share them
        undo.callback(setattr, config, "_attn_implementation_internal", config._attn_implementation)
        config._attn_implementation_internal = "eager"
