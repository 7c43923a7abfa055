"""A dual encoder of text and images as a classifier: each class is the text that would stand beside its images.

Idea: every class name is put into every template (`a photo of a {}.`), the embeddings of its texts are normalised and averaged, and an
image's logits are the scaled cosines between its embedding and those of the classes. Nothing is trained.
When to use it: CLIP and its like, to classify without examples.
Cost: one forward pass of the text encoder over classes x templates, then the image encoder alone.
What goes wrong: it depends on the wording, so report the templates; names such as `LABEL_3` or `7` say nothing about an image.
Source: arXiv 2103.00020, section 3.1.4.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError, first_line
from pliant.models.modules import evaluating

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.models.model import Model

TEMPLATES = ("a photo of a {}.",)


def class_embeddings(model: Model, classes: Sequence[str], templates: Sequence[str] = TEMPLATES) -> Tensor:
    """(classes, width) of length 1, in float32 at least: the mean over templates. Underlines in names are read as spaces.

    Raises PliantError for a model without both encoders, a template without its place for the name, and prompts that are too long.
    """
    import torch
    from torch.nn.functional import normalize

    if not (model.task.text and model.task.images):
        raise PliantError(
            f"{model.checkpoint.address} is {model.task.called}; prompts need a dual encoder of text and images, such as CLIP"
        )
    for template in templates or ("",):
        if template.count("{}") != 1:
            raise PliantError(f"the template {template[:60]!r} needs one {{}}, where the name of the class stands")
    means: list[Tensor] = []
    with evaluating(model.network), torch.inference_mode():
        for name in classes:
            prompts = [template.replace("{}", name.replace("_", " ")) for template in templates]
            means.append(normalize(_embedded(model, prompts), dim=-1).mean(0))
    return normalize(torch.stack(means), dim=-1)


def zero_shot_logits(model: Model, pixel_values: Tensor, embeddings: Tensor) -> Tensor:
    """(rows, classes) in float32 at least, of pixels (rows, channels, height, width) on the model's device; in the network's own mode."""
    network: Any = model.network
    logits = _wide(network.logit_scale).exp() * image_embeddings(model, pixel_values) @ embeddings.T
    bias = getattr(network, "logit_bias", None)
    return logits if bias is None else logits + _wide(bias)


def image_embeddings(model: Model, pixel_values: Tensor) -> Tensor:
    """(rows, width) of length 1, in float32 at least, of pixels (rows, channels, height, width); gradients flow."""
    from torch.nn.functional import normalize

    network: Any = model.network
    return normalize(_wide(_pooled(network.get_image_features(pixel_values=pixel_values))), dim=-1)


def _embedded(model: Model, prompts: list[str]) -> Tensor:
    """(prompts, width), padded to the length that the text encoder was trained with, as its kind of network expects."""
    words: Any = getattr(model.tokenizer, "tokenizer", None)
    if words is None:
        raise PliantError(f"{model.checkpoint.address}: its tokenizer has no template for prompts; load it with its own tokenizer")
    longest = int(model.network.config.get_text_config().max_position_embeddings)
    lengths = [len(ids) for ids in words(prompts, verbose=False)["input_ids"]]
    if max(lengths) > longest:
        raise PliantError(f"{prompts[lengths.index(max(lengths))][:60]!r} is {max(lengths)} tokens, more than the {longest} that are read")
    try:
        read = words(prompts, padding="max_length", max_length=longest, return_tensors="pt", verbose=False)
    except ValueError as error:
        raise PliantError(f"{model.checkpoint.address}: its tokenizer cannot fill prompts up ({first_line(error)})") from None
    inputs = {name: tensor.to(model.device) for name, tensor in read.items() if name in ("input_ids", "attention_mask")}
    network: Any = model.network
    return _wide(_pooled(network.get_text_features(**inputs)))


def _pooled(answer: Any) -> Tensor:
    """What transformers' encoders answer with: the embedding, or an object that holds it."""
    return getattr(answer, "pooler_output", answer)


def _wide(tensor: Tensor) -> Tensor:
    import torch

    return tensor if tensor.dtype == torch.float64 else tensor.float()
