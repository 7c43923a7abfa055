"""How much work a network does on one image, in the coin of language models: tokens.

Idea: a network that reads text takes 2 x parameters operations a token. One that reads images uses each filter at many places, which only
its layers know; so the operations of a forward pass are counted on one image without numbers, and told as the tokens that would cost
as much. Whatever is worked out per token then holds for images, too.
Cost: one forward pass on PyTorch's device `meta`, some 20 ms; remembered for as long as the process lives.
What goes wrong: only convolutions, matrix products and attention are counted; a network that cannot run without numbers tells nothing.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pliant.models.images import configured_input
from pliant.models.model import parameter_counts
from pliant.models.modules import evaluating
from pliant.models.tasks import task_of

if TYPE_CHECKING:
    from transformers import PreTrainedModel


@lru_cache(maxsize=256)
def tokens_of_image(network: PreTrainedModel) -> float | None:
    """The tokens that one image counts as: operations of its forward pass over 2 x parameters.

    `network` is one without numbers, on the device `meta`. None where it reads no images, or reads text beside them, or where its
    operations cannot be counted.
    """
    task = task_of(network)
    if task.text or not task.images:
        return None
    operations = _counted(network)
    return operations / (2 * parameter_counts(network)[0]) if operations else None


def _counted(network: Any) -> float:
    """Operations (two for each multiply-add) of one image's forward pass; 0 where they cannot be counted."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    channels, (height, width) = configured_input(network.config)
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), evaluating(network), counter:
            network(pixel_values=torch.zeros(1, channels, height, width, device="meta"))
    except Exception:  # an architecture's own code: anything can come out of it
        return 0.0
    return float(counter.get_total_flops())
