"""AWQ's channel scales, undone in the layer before, so that quantized weights lie on plain grids.

Idea: W diag(s) is what lies on a grid; its inputs must come divided by s. They do when the gain of the norm before, or the rows of the
linear layer before, are divided by s. Rows of a quantized layer are divided by dividing their grids' steps, which is exact.
When to use it: to store AWQ's weights in a packed format. Cost: two forward passes over a few tokens.
What goes wrong: a layer that feeds others as well, or feeds this one through something that is not linear, cannot be folded into;
which layers feed which is known for blocks named as Llama's, and that folding changes nothing is tried on the whole network first.
Source: arXiv 2306.00978 (section 3.2).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError
from pliant.models.modules import token_embedding

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.models import Model

FEEDS = {
    "input_layernorm": ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    "self_attn.v_proj": ("self_attn.o_proj",),
    "post_attention_layernorm": ("mlp.gate_proj", "mlp.up_proj"),
    "mlp.up_proj": ("mlp.down_proj",),
}
"""Inside a block, which layers read each layer's outputs, channel by channel."""

OTHERWISE = "choose other `tensors`, method gptq or rtn, or save them fake-quantized (--format simulated)"


def feeding(network: Any, weights: Mapping[str, Tensor]) -> dict[str, str]:
    """The layer that feeds each of `weights` (by parameter name), by module name.

    Raises PliantError that names the first one whose channel scale no layer can take up.
    """
    modules = dict(network.named_modules())
    found: dict[str, str] = {}
    for name, weight in weights.items():
        layer = name.removesuffix(".weight")
        feeds = ((layer.removesuffix(f".{reader}"), source, readers) for source, readers in FEEDS.items() for reader in readers)
        block, source, readers = next((each for each in feeds if each[0] != layer), ("", "", ()))
        before: Any = modules.get(f"{block}.{source}")
        if before is None or len(before.weight) != weight.shape[1]:
            raise PliantError(f"{name}: no layer before it can take up AWQ's channel scale; {OTHERWISE}")
        missing = [reader for reader in readers if f"{block}.{reader}" in modules and f"{block}.{reader}.weight" not in weights]
        if missing:
            raise PliantError(f"{name}: {block}.{missing[0]} reads the same inputs and is not quantized with it; {OTHERWISE}")
        found[name] = f"{block}.{source}"
    return found


def check(model: Model, weights: Mapping[str, Tensor]) -> None:
    """Raises PliantError where `fold` cannot be done for `weights`, or would change what the network computes.

    It is tried: every column doubled, which is exact, and halved again.
    """
    import torch

    doubled = {name: torch.full_like(weight[0], 2.0) for name, weight in weights.items()}
    with torch.no_grad():
        expected = _some_logits(model.network)
        if not bool(torch.isfinite(expected).all()):
            raise PliantError("the model's answers are not finite numbers; its weights are damaged, or too large for their number type")
        fold(model, weights, doubled)
        try:
            found = _some_logits(model.network)
        finally:
            fold(model, weights, {name: 1 / scale for name, scale in doubled.items()})
    if not torch.allclose(found, expected, rtol=0, atol=float(expected.abs().max()) * torch.finfo(found.dtype).eps ** 0.5):
        raise PliantError(f"{type(model.network).__name__} is not built as its layers are named: AWQ cannot be folded into it; {OTHERWISE}")


def refusal(model: Model, weights: Mapping[str, Tensor]) -> str | None:
    """What `check` raises, in words; None where it raises nothing."""
    try:
        check(model, weights)
    except PliantError as error:
        return str(error)
    return None


def fold(model: Model, weights: Mapping[str, Tensor], channel_scales: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Scale up the columns of `weights` (the network's own, by name) and shrink the rows of what feeds them, in place.

    Returns, for every layer whose rows were divided, by what (out,), by its weight's name. See `check`, which comes first.
    """
    import torch

    divided: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, source in feeding(model.network, weights).items():
            weights[name].mul_(channel_scales[name])
            divided[f"{source}.weight"] = channel_scales[name]
        for name, scale in divided.items():
            before: Any = model.network.get_submodule(name.removesuffix(".weight"))
            before.weight.div_(scale.reshape(-1, *[1] * (before.weight.ndim - 1)))
            if getattr(before, "bias", None) is not None:
                before.bias.div_(scale)
    return divided


def _some_logits(network: Any) -> Tensor:
    import torch

    embedding = token_embedding(network).weight
    ids = torch.arange(2, 18, device=embedding.device)[None] % len(embedding)
    return network(input_ids=ids, use_cache=False).logits
