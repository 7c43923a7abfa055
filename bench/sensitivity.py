"""How many evaluations it takes to know, to a given interval width, how much more sensitive one checkpoint is than another.

Quantity: growth of the rise of the held-out loss under Gaussian noise between a checkpoint of 0.5M and one of 2M tokens. One
evaluation is one pass of one set of weights over 256 windows; estimators are compared by their variance per evaluation, since the
evaluations needed for a given interval width are in proportion to it.

- ours: noise in antithetic pairs, the same noise and the same windows at both checkpoints, with and without noise;
- independent noise: fresh noise at each checkpoint and draw, the same windows throughout, read pair by pair: what a careful script
  does. The ratio is taken against this one, so it shows what the noise draws alone gain;
- independent noise and text: fresh windows for every evaluation too, as a loop with a random evaluation batch has it.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from pliant.changes import Perturb
from pliant.data import Corpus, load_tokenizer, packed
from pliant.measures import Loss
from pliant.models import Model
from pliant.models.presets import build
from pliant.train import Recipe, train

BUDGETS = ("0.5M", "2M")
SCALES = (0.025, 0.05, 0.1)
HEADLINE = 0.05
PAIRS, WINDOWS = 32, 256
Array = np.ndarray


def checkpoints(text: Corpus) -> list[Model]:
    """Two independent, annealed runs of the demo's network."""
    tokenizer = load_tokenizer("ascii")
    models = []
    for tokens in BUDGETS:
        model = build("llama-16x2", tokenizer, seed=0, context=64)
        train(model, packed(text, tokenizer), Recipe(tokens=tokens, lr=1e-2), quiet=True)
        models.append(model)
    return models


def noisy_losses(model: Model, loss: Loss, scale: float, seed: int, draws: range) -> Array:
    """Loss of each (draw, window)."""
    rows = []
    for draw in draws:
        with Perturb(scale=scale, unit="rms").applied(model, seed, draw):
            rows.append(loss(model).values)
    return np.array(rows)


def spread(values: Array) -> tuple[float, float]:
    """Variance of the mean over windows from draw to draw, and what sampling the windows adds to it (draws, windows)."""
    within = float(values.var(axis=1, ddof=1).mean()) / values.shape[1]
    return float(values.mean(axis=1).var(ddof=1)), within


def compare(models: list[Model], loss: Loss, scale: float) -> dict[str, float]:
    """Variance of the growth's estimate times the evaluations behind it, for each way; and the estimates themselves."""
    base = [loss(model).values[None] for model in models]
    common = [noisy_losses(model, loss, scale, 0, range(2 * PAIRS)) - before for model, before in zip(models, base, strict=True)]
    pairs = [rises.reshape(PAIRS, 2, -1).mean(axis=1) for rises in common]
    fresh = [noisy_losses(model, loss, scale, seed, range(0, 4 * PAIRS, 2)) for seed, model in enumerate(models, 1)]
    ours = pairs[1] - pairs[0]
    rises = [values - before for values, before in zip(fresh, base, strict=True)]
    unpaired = rises[1] - rises[0]
    text = sum(float(before.var(ddof=1)) / before.shape[1] for before in base)
    return {
        "ours": 6 * sum(spread(ours)),  # a pair at two checkpoints, and both without noise
        "independent": 4 * (sum(sum(spread(values)) for values in fresh) + text),
        "independent_noise": 4 * (sum(spread(values)[0] for values in rises) + spread(unpaired)[1]),
        "growth": float(ours.mean()),
        "growth_independent": float(unpaired.mean()),
        "error": float(np.sqrt(spread(ours)[0] / PAIRS + sum(spread(values)[0] for values in rises) / (2 * PAIRS))),
    }


def main() -> None:
    """Print the comparison at the headline's noise, and the ratios at the other scales."""
    corpus = Corpus.parse("builtin:code")
    models = checkpoints(corpus)
    loss = Loss(data=corpus, samples=WINDOWS)
    results = {scale: compare(models, loss, scale) for scale in SCALES}
    headline = results[HEADLINE]
    half_width = 0.1 * headline["growth"]
    report: dict[str, Any] = {
        "name": "sensitivity",
        "claim": f"Evaluations ({WINDOWS} windows each) until the 90% interval of the growth of noise sensitivity from {BUDGETS[0]} to "
        f"{BUDGETS[1]} tokens is within a tenth of it, at noise of {HEADLINE} x RMS: antithetic pairs and common noise, against fresh "
        "noise for every evaluation, both on the same text. `ratio_fresh_text` is against fresh text for every evaluation as well.",
        "ours": headline["ours"] * (1.645 / half_width) ** 2,
        "peer": headline["independent_noise"] * (1.645 / half_width) ** 2,
        "ratio": headline["independent_noise"] / headline["ours"],
        "target": 5.0,
        "equal_results": all(abs(r["growth"] - r["growth_independent"]) < 4 * r["error"] for r in results.values()),
        "floor": None,
        "unit": "evaluations",
    }
    for scale, result in results.items():
        report[f"growth_{scale}"] = result["growth"]
        report[f"ratio_{scale}"] = result["independent_noise"] / result["ours"]
        report[f"ratio_fresh_text_{scale}"] = result["independent"] / result["ours"]
    print(json.dumps(report))


if __name__ == "__main__":
    main()
