"""Building a network of a preset, with fresh weights."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.errors import PliantError
from pliant.models.presets.preset import Given, Preset
from pliant.models.tasks import task_called

if TYPE_CHECKING:
    from collections.abc import Sequence

    from transformers import PreTrainedModel

    from pliant.data.tokenizer import Tokenizer
    from pliant.models.images import ImageInput
    from pliant.models.model import Model


def build(
    preset: str,
    tokenizer: Tokenizer | None = None,
    seed: int = 0,
    context: int = 64,
    *,
    images: ImageInput | None = None,
    labels: Sequence[str] | None = None,
) -> Model:
    """A network with fresh float32 weights on the CPU; the same numbers for the same arguments.

    The global random state is left untouched. Move it with `model.network.to(device)`.

    Args:
        preset: Its shape, see above.
        tokenizer: Gives the vocabulary and the special tokens of a network that reads text.
        seed: Seed of the initial weights.
        context: Longest text, in tokens.
        images: The form of the images that a network of images reads; by default what its family is for.
        labels: What a classifier has an output for, in order.

    Raises PliantError for an unknown preset, a context of no tokens, and for a preset that needs what is not given.
    """
    from pliant.models.checkpoint import Checkpoint
    from pliant.models.model import Model, parameter_counts

    shape = Preset.parse(preset)
    if context < 1:
        raise PliantError(f"context must be at least one token, not {context}")
    given = Given(tokenizer, context, images, None if labels is None else tuple(labels))
    network = _network(shape, given, seed)
    total, inner = parameter_counts(network)
    facts = Checkpoint(name=shape.name, params=total, params_non_embedding=inner, tokens=0, seed=seed)
    reads = task_called(shape.task)
    return Model(network, tokenizer if reads.text else None, facts, pixels=shape.pixels(given) if reads.images else None)


def _network(shape: Preset, given: Given, seed: int) -> PreTrainedModel:
    import torch

    with torch.random.fork_rng(devices=[]), torch.device("cpu"):
        torch.random.manual_seed(seed)
        return shape.network(given)
