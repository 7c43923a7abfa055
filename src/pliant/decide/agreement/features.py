"""What a frozen trunk makes of examples: the inputs of its last linear layer, from one pass over the data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.errors import PliantError
from pliant.models.modules import evaluating, heads, linear_layers
from pliant.progress import progress

if TYPE_CHECKING:
    from pliant.models import Model
    from pliant.objectives.labelled import LabelledExamples
    from pliant.statistics import Array

ROWS = 128


def features_of(model: Model, examples: LabelledExamples, labelled: bool = True) -> tuple[Array, np.ndarray]:
    """(examples, width) features and (examples,) labels, the latter meaning nothing where there are none.

    Raises PliantError for a network whose head has no linear layer, soft labels, and features that are no finite numbers.
    """
    import torch

    layers = [layer for head in heads(model.network) for layer in linear_layers(head).values()]
    if not layers:
        raise PliantError(f"{model.checkpoint.address}: its head has no linear layer, so there are no features to put others on")
    caught: list[Any] = []
    hook = layers[-1].register_forward_pre_hook(lambda _, inputs: caught.append(inputs[0]))
    found, labels = [], []
    count = len(examples.ids)
    try:
        with torch.inference_mode(), evaluating(model.network), progress("features", count) as advance:
            for start in range(0, count, ROWS):
                batch = examples.at(np.arange(start, min(count, start + ROWS))).to(model.device)
                model.network(**batch.inputs)
                found.append(_pooled(caught.pop(), batch.inputs).float().cpu().numpy())
                if labelled and batch.targets.ndim != 1:
                    raise PliantError(f"{model.checkpoint.address}: heads are trained on one class an example, not on probabilities")
                labels.append(batch.targets.cpu().numpy())
                advance(len(batch.targets))
    finally:
        hook.remove()
    features = np.concatenate(found).astype(np.float64)
    if not np.isfinite(features).all():
        raise PliantError(f"{model.checkpoint.address}: its features are no finite numbers; its weights are damaged")
    return features, np.concatenate(labels)


def _pooled(features: Any, inputs: Any) -> Any:
    """(rows, width): of heads that answer at every token, what stands at the last one that is no padding."""
    import torch

    if features.ndim == 2:
        return features
    mask = inputs.get("attention_mask")
    length = features.shape[1]
    last = torch.full((len(features),), length - 1) if mask is None else (mask * torch.arange(1, length + 1, device=mask.device)).argmax(1)
    return features[torch.arange(len(features), device=features.device), last.to(features.device)]
