"""How few bits one model can stand: the lowest width of each tensor group, and a mixed allocation under a size limit.

Idea: round one group of tensors at a time, wider to narrower, and keep the narrowest whose paired loss rise stays under the
floor with 95% confidence. Then round all groups together and give back bits, to the group that costs most, until the whole
stays under the floor too. For a size limit, a single gradient pass predicts the rise of every matrix at every width, a
knapsack chooses, and the choice is measured.
When to use it: before choosing a format; the answer holds for the text it was measured on.
Cost: about groups x widths evaluations; one gradient pass over `SENSITIVITY_WINDOWS` windows for the allocation.
What goes wrong: floors near the noise need more samples; predictions add up rises that do not quite add up at 2-3 bits, and hold
for text like the training text: elsewhere the loss has a slope that a second-order prediction does not see.
Source: paired intervals as everywhere in pliant; second-order prediction as in `measures.curvature`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from pliant.changes import Quantize
from pliant.decide.model.allocation import allocate
from pliant.errors import PliantError
from pliant.measures import Loss
from pliant.models.modules import as_stored, blocks, select, tensor_groups
from pliant.progress import progress
from pliant.quantization.nearest import nearest
from pliant.statistics import spearman

if TYPE_CHECKING:
    from torch import Tensor

    from pliant.measures import Reading
    from pliant.models import Model
    from pliant.statistics import Estimate

SENSITIVITY_WINDOWS = 32
"""Windows of the gradient pass: a relative error of sqrt(2/32) = 25% for each prediction, all with the same labels."""

SCALE_BITS = 16
"""What each grid's scale adds to the size."""


@dataclass(frozen=True)
class GroupBits:
    """One group of tensors: the narrowest width under the floor when it alone is rounded, and what was measured on the way."""

    group: str
    weights: int
    """How many weights it holds."""
    bits: int
    """16 when even the widest tested width rises too much."""
    rises: dict[int, dict[str, float]]
    """bits -> rise, its standard error, and its one-sided 95% upper bound, nats/token."""


@dataclass(frozen=True)
class ModelBits:
    """The answer for one model."""

    verdict: str
    """`answered`, or `undetermined` when no width below 16 bits stays under the floor."""
    floor: float
    groups: list[GroupBits]
    together: dict[str, Any]
    """Bits of each group when all are rounded at once, with the measured rise and its upper bound."""
    allocation: dict[str, Any] | None = None
    layers: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """Predicted and measured rise of each block rounded alone."""
    rank_correlation: float | None = None
    """Spearman's, between the two over blocks."""

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


def lowest_bits(model: Model, loss: Loss, floor: float, template: Quantize, widths: Sequence[int] = (8, 6, 5, 4, 3, 2)) -> ModelBits:
    """The narrowest width of each group of tensors whose loss rise stays under `floor` nats/token with 95% confidence.

    `template` says how to round (method, scheme, group ...); its bits and tensors are replaced. Raises PliantError for a
    floor that is not positive, and what `Quantize` and `Loss` raise.
    """
    if not floor > 0:
        raise PliantError(f"the floor must be a loss rise above 0 nats/token, not {floor}")
    groups = tensor_groups(model.network, template.tensors)
    before = loss(model)
    found: list[GroupBits] = []
    with progress("bits", len(groups) * len(widths)) as advance:
        for group, names in groups.items():
            rises: dict[int, dict[str, float]] = {}
            for bits in sorted(widths, reverse=True):
                change = template.model_copy(update={"bits": bits, "tensors": ", ".join(names)})
                rises[bits] = _plain(_rise(model, loss, before, change))
                advance(1)
                if rises[bits]["high"] > floor:
                    break
            under = [bits for bits, rise in rises.items() if rise["high"] <= floor]
            weights = sum(select(model.network, ", ".join(names))[name].numel() for name in names)
            found.append(GroupBits(group, weights, min(under, default=16), rises))
    together = _together(model, loss, before, floor, template, groups, found, sorted(widths))
    verdict = "answered" if any(bits < 16 for bits in together["bits"].values()) else "undetermined"
    return ModelBits(verdict, floor, found, together)


def _together(
    model: Model,
    loss: Loss,
    before: Reading,
    floor: float,
    template: Quantize,
    groups: dict[str, list[str]],
    found: Sequence[GroupBits],
    widths: list[int],
) -> dict[str, Any]:
    """All groups at once; bits go back, to the group that costs most alone, until the whole is under the floor."""
    bits = {result.group: result.bits for result in found}
    alone = {result.group: {width: rise["value"] for width, rise in result.rises.items()} for result in found}
    while True:
        exceptions = {name: bits[group] for group, names in groups.items() for name in names}
        change = template.model_copy(update={"bits": 8, "tensors": ", ".join(exceptions), "exceptions": exceptions})
        rise = _plain(_rise(model, loss, before, change))
        narrow = {group: width for group, width in bits.items() if width < 16}
        if rise["high"] <= floor or not narrow:
            return {"bits": bits, **rise}
        worst = max(narrow, key=lambda group: alone[group].get(narrow[group], 0.0))
        bits[worst] = next((width for width in widths if width > bits[worst]), 16)


def allocation(model: Model, loss: Loss, template: Quantize, limit: float, widths: Sequence[int] = (2, 3, 4, 5, 6, 8)) -> dict[str, Any]:
    """Bits of each matrix with the least predicted rise at `limit` bits per weight on average, scales included, and its measured rise.

    Also measured: the widest uniform rounding within the same limit. Raises PliantError when the narrowest width is above the limit.
    """
    weights = select(model.network, template.tensors)
    predicted = predict(model, loss, template, widths)
    sizes = {name: {bits: float(_size(weight, bits, template)) for bits in widths} for name, weight in weights.items()}
    choices = {name: {bits: (sizes[name][bits], predicted[name][bits]) for bits in widths} for name in weights}
    total = sum(weight.numel() for weight in weights.values())
    chosen = allocate(choices, limit * total)
    before = loss(model)
    mixed = template.model_copy(update={"bits": 8, "exceptions": chosen.bits})
    uniform = [bits for bits in widths if sum(sizes[name][bits] for name in weights) <= limit * total]
    result = {
        "bits": chosen.bits,
        "limit": limit,
        "bits_per_weight": chosen.size / total,
        "predicted": chosen.rise,
        "measured": _plain(_rise(model, loss, before, mixed)),
    }
    if not uniform:
        return result
    plain = template.model_copy(update={"bits": max(uniform)})
    shared = {"bits": max(uniform), "predicted": sum(predicted[name][max(uniform)] for name in weights)}
    return {**result, "uniform": {**shared, "measured": _plain(_rise(model, loss, before, plain))}}


def layer_sensitivity(model: Model, loss: Loss, template: Quantize) -> tuple[list[dict[str, Any]], float | None]:
    """Predicted and measured rise of each block rounded alone to `template.bits`, and Spearman's correlation between them."""
    stack = list(blocks(model.network))
    if not stack:
        raise PliantError(f"{type(model.network).__name__} has no stack of blocks with linear layers; leave out --layers")
    predicted = predict(model, loss, template, [template.bits])
    before = loss(model)
    layers: list[dict[str, Any]] = []
    with progress("layers", len(stack)) as advance:
        for block in stack:
            inside = [name for name in predicted if name.startswith(f"{block}.")]
            rise = _rise(model, loss, before, template.model_copy(update={"tensors": ", ".join(inside)}))
            layers.append({"layer": block, "predicted": sum(predicted[name][template.bits] for name in inside), "measured": _plain(rise)})
            advance(1)
    return layers, spearman([layer["predicted"] for layer in layers], [layer["measured"]["value"] for layer in layers])


def predict(model: Model, loss: Loss, template: Quantize, widths: Sequence[int]) -> dict[str, dict[int, float]]:
    """Predicted rise, nats/token, of each matrix rounded to nearest at each width: one gradient pass over the measure's text."""
    from pliant.data import packed
    from pliant.measures.curvature import predicted_rises

    weights = select(model.network, template.tensors)
    text = packed(loss.data, model.tokenizer, "train").windows(loss.length(model) - 1, SENSITIVITY_WINDOWS)

    def displace(name: str, value: Tensor) -> dict[Any, Tensor]:
        if name not in weights:
            return {}
        rows = weights[name]
        moves = {bits: nearest(rows, bits, template.scheme, template.group).values - rows for bits in widths}
        return {bits: as_stored(move, model.network, name) for bits, move in moves.items()}

    found = predicted_rises(model, [window.tokens.tolist() for window in text], displace)
    return {name: {bits: float(found[name, bits].mean()) for bits in widths} for name in weights}


def _size(weight: Tensor, bits: int, template: Quantize) -> int:
    """Bits of a rounded matrix with its grids."""
    grids = 1 if template.group == "tensor" else weight.numel() // (weight.shape[-1] if template.group == "channel" else template.group)
    return weight.numel() * bits + SCALE_BITS * grids


def _rise(model: Model, loss: Loss, before: Reading, change: Quantize) -> Estimate:
    """Paired rise; the upper end of its 90% interval is a one-sided 95% bound."""
    with change.applied(model) as changed:
        return (loss(changed) - before).estimate(confidence=0.9)


def _plain(rise: Estimate) -> dict[str, float]:
    return {"value": rise.value, "stderr": rise.stderr, "high": rise.high}
