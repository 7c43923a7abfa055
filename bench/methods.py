"""What a step costs with each method, as a multiple of a plain step of the same network on the same rows.

Same weights first, bit for bit: SAM with next to no climb, Bi-Drop that drops and masks nothing, and layer dropping that keeps all blocks
train as plain training does; of adversarial self-attention the first loss is plain training's.
Then each method is timed right after plain training (Bi-Drop after plain training under the same dropout), by the processor time between
the end of the first step and that of the last; the ratio is the median over such pairs. One thread: processor time is what the work takes,
also where others are at work on the machine.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from typing import Any

from pliant.data import Corpus, load_tokenizer, packed
from pliant.methods import AdversarialSelfAttention, BiDrop, Method, MethodState, ProgressiveLayerDropping, Run, Sam
from pliant.models import build
from pliant.models.modules import dropouts
from pliant.objectives import NextToken
from pliant.train import Recipe, train

TARGETS = {"sam": 2.05, "bi_drop": 2.1, "adversarial_self_attention": 2.5, "progressive_layer_dropping": 0.82}
METHODS: dict[str, Method] = {
    "sam": Sam(),
    "bi_drop": BiDrop(),
    "adversarial_self_attention": AdversarialSelfAttention(),
    "progressive_layer_dropping": ProgressiveLayerDropping(),
}
OFF: dict[str, Method] = {
    "sam": Sam(rho=1e-12),
    "bi_drop": BiDrop(keep=1.0),
    "progressive_layer_dropping": ProgressiveLayerDropping(keep=1.0),
}
"""With their effect turned off, so that plain training is left."""
NEXT_TO_NONE = 1e-12
"""Dropout that drops nothing: the kernels of dropout, and no chance."""
SHAPES = {"six": ("gpt-neox-64x6", 64, 16), "wide": ("gpt-neox-192x6", 64, 16)}
"""Preset, tokens of a row and rows: what the demo trains, and with matrices that take most of the time."""
DROPOUT = {"bi_drop": 0.1}
"""Under which a method and the plain training that it is compared with both run."""
STEPS, TURNS = 16, 3


class Clock(Method):
    """Notes the processor time after each step."""

    times: list[float]

    def after_step(self, run: Run, state: MethodState) -> None:
        """Now."""
        self.times.append(time.process_time())

    @property
    def step(self) -> float:
        """Seconds of a step, the first left out."""
        return (self.times[-1] - self.times[0]) / (len(self.times) - 1)


def run(shape: str, method: Method | None, steps: int = STEPS, dropout: float = 0.0) -> tuple[float, str, float]:
    """Seconds of a step; the weights it ends with, and its first loss."""
    preset, length, rows = SHAPES[shape]
    model = build(preset, load_tokenizer("ascii"))
    for module, name, _ in dropouts(model.network) if dropout else ():
        setattr(module, name, dropout)
    recipe = Recipe(lr=1e-3, steps=steps, batch=rows, length=length, warmup=0)
    clock = Clock.model_construct(times=[])
    log = train(model, NextToken(data=Corpus(source="builtin:code")), recipe, methods=[clock, *([method] if method else [])], quiet=True)
    return clock.step, model.weights(), log.losses[0]


def equal(shape: str) -> dict[str, bool]:
    """Whether plain training is left where a method's effect is turned off."""
    found: dict[str, bool] = {}
    for name, method in OFF.items():
        none = NEXT_TO_NONE if name in DROPOUT else 0.0
        found[name] = run(shape, method, 3, none)[1] == run(shape, None, 3, none)[1]
    first = run(shape, None, 2)[2]
    found["adversarial_self_attention"] = run(shape, METHODS["adversarial_self_attention"], 2)[2] == first
    return found


def ratios(shape: str) -> dict[str, list[float]]:
    """Of each method, its step over a plain step, turn by turn."""
    found: dict[str, list[float]] = {name: [] for name in METHODS}
    for _ in range(TURNS):
        for name, method in METHODS.items():
            plain, own = (run(shape, one, dropout=DROPOUT.get(name, 0.0))[0] for one in (None, method))
            found[name].append(own / plain)
    return found


def main() -> None:
    """Print the report; its ratio is the worst of the four against its target. Shapes may be named."""
    shapes = sys.argv[1:] or list(SHAPES)
    packed(Corpus(source="builtin:code"), load_tokenizer("ascii"))
    same = {shape: equal(shape) for shape in shapes}
    found = {shape: ratios(shape) for shape in shapes}
    median = {shape: {name: statistics.median(values) for name, values in part.items()} for shape, part in found.items()}
    report: dict[str, Any] = {
        "name": "methods",
        "claim": "Processor time of a step with a method over that of a plain step (the median of pairs), against the most that each may "
        "take: SAM 2.05, Bi-Drop with two passes 2.1, adversarial self-attention 2.5, progressive layer dropping 0.82. The ratio is the "
        "worst of the four over its limit, at the first of the shapes; at most 1 is within it.",
        "ratio": max(median[shapes[0]][name] / target for name, target in TARGETS.items()),
        "target": 1.0,
        "equal_results": all(all(part.values()) for part in same.values()),
        "same": same,
        **{f"times_{shape}": {name: round(value, 3) for name, value in part.items()} for shape, part in median.items()},
        **{f"spread_{shape}": {name: [round(min(v), 3), round(max(v), 3)] for name, v in part.items()} for shape, part in found.items()},
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
