"""How many evaluations it takes to know, to a given interval width, how much more sensitive one checkpoint is than another.

Quantity: growth of the rise of the held-out loss under Gaussian noise between a checkpoint of 0.5M and one of 2M tokens. One
evaluation is one pass of one set of weights over 256 windows; estimators are compared by their variance per evaluation, since the
evaluations needed for a given interval width are in proportion to it.

- ours: a study with `split` noise: antithetic pairs, each reading its own share of the windows, the same noise and the same
  windows at both checkpoints. It costs six evaluations: plus, minus and no noise at each checkpoint. It is run with many seeds, and
  its variance is that of its answers from seed to seed, and what sampling the windows adds;
- independent noise: fresh noise at each checkpoint and draw, the same windows throughout, read draw by draw: what a careful script
  does. Four evaluations: noise and no noise at each checkpoint. The ratio is taken against this one, so it shows what the noise
  draws alone gain. `ratio_no_base` counts the noisy evaluations of such a script only, as if those without noise were free;
- independent noise and text: fresh windows for every evaluation too, as a loop with a random evaluation batch has it.

`ratio_printed` takes the half-width of the interval that the package itself gives for each run of ours, in the place of the
variance between runs. `seconds_ratio` is what 256 windows in shares take over 256 windows at once, making the noise included.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from pliant.changes import Perturb
from pliant.data import Corpus, load_tokenizer
from pliant.measures import Loss, Reading
from pliant.measures.measure import documents
from pliant.models import Model, save
from pliant.models.presets import build
from pliant.objectives import NextToken
from pliant.statistics import clustered_error
from pliant.study import Runs, run
from pliant.train import Recipe, train

BUDGETS = ("0.5M", "2M")
SCALES = (0.025, 0.05, 0.1)
HEADLINE = 0.05
PAIRS, WINDOWS, SEEDS = 32, 256, 48
Z90 = 1.645
Array = np.ndarray


def checkpoints(text: Corpus) -> list[Model]:
    """Two independent, annealed runs of the demo's network."""
    tokenizer = load_tokenizer("ascii")
    models = []
    for tokens in BUDGETS:
        model = build("llama-16x2", tokenizer, seed=0, context=64)
        train(model, NextToken(data=text), Recipe(tokens=tokens, lr=1e-2), quiet=True)
        models.append(model)
    return models


def split_study(models: list[Model], folder: Path, loss: Loss) -> Runs:
    """The study that a user would run, with many seeds."""
    for budget, model in zip(BUDGETS, models, strict=True):
        save(model, folder / budget)
    form = {
        "name": "sensitivity",
        "checkpoints": [str(folder / budget) for budget in BUDGETS],
        "changes": [{"perturb": {"scale": list(SCALES), "unit": "rms", "draws": 2 * PAIRS, "split": True}}],
        "measures": {"generic": loss},
        "seeds": list(range(SEEDS)),
    }
    return run(form, folder / "ledger", workers=0, quiet=True)


def growths(runs: Runs, scale: float) -> tuple[Array, list[Reading]]:
    """Each seed's growth as the study gives it, and sample by sample."""
    rises = runs.ledger.sql(
        f"select checkpoint, seed, rise from rises where (change_json::json->>'scale')::double = {scale} order by seed, checkpoint"
    ).to_pylist()
    found = {(Path(row["checkpoint"]).name, row["seed"]): row["rise"] for row in rises}
    lists = runs.ledger.sql(
        "select checkpoint, seed, draw, list(value) as values, any_value(change_kind) as kind, list(sample) as ids, "
        "list(weight) as weights from samples "
        f"where change_kind = 'none' or (change_json::json->>'scale')::double = {scale} group by key, checkpoint, seed, draw"
    ).to_pylist()
    base = {Path(row["checkpoint"]).name: row for row in lists if row["kind"] == "none"}
    noisy = {(Path(row["checkpoint"]).name, row["seed"], row["draw"]): row for row in lists if row["kind"] != "none"}
    ids, weights = base[BUDGETS[0]]["ids"], np.array(base[BUDGETS[0]]["weights"])
    assert all(row["ids"] == ids for row in lists)
    readings = []
    for seed in range(SEEDS):
        first, last = (
            np.mean([noisy[budget, seed, draw]["values"] for draw in (0, 1)], axis=0) - np.array(base[budget]["values"])
            for budget in BUDGETS
        )
        readings.append(Reading("loss", "nats/token", ids, last - first, weights, shares=PAIRS))
    values = np.array([found[BUDGETS[1], seed] - found[BUDGETS[0], seed] for seed in range(SEEDS)])
    assert np.allclose(values, [reading.estimate().value for reading in readings], atol=1e-9)
    return values, readings


def noisy_losses(model: Model, loss: Loss, scale: float, seed: int) -> Array:
    """Loss of each (draw, window), for as many draws of plain noise as ours has."""
    rows = []
    for draw in range(0, 4 * PAIRS, 2):
        with Perturb(scale=scale, unit="rms").applied(model, seed, draw):
            rows.append(loss(model).values)
    return np.array(rows)


def spread(values: Array, weights: Array) -> tuple[float, float]:
    """Variance of the mean over windows from draw to draw, and what sampling the windows adds to it (draws, windows)."""
    within = float(values.var(axis=1, ddof=1).mean()) / values.shape[1]
    return float((values @ weights / weights.sum()).var(ddof=1)), within


def compare(models: list[Model], loss: Loss, runs: Runs, scale: float) -> dict[str, float]:
    """Variance of the growth's estimate times the evaluations behind it, for each way; and the estimates themselves."""
    values, readings = growths(runs, scale)
    base = [loss(model) for model in models]
    weights = base[0].weights
    fresh = [noisy_losses(model, loss, scale, seed) for seed, model in enumerate(models, 1000)]
    rises = [noisy - before.values for noisy, before in zip(fresh, base, strict=True)]
    draws = sum(spread(values, weights)[0] for values in rises)
    # windows weigh the same for both: the spread of the growth from document to document, averaged over all draws of both
    growth = np.mean([np.mean([reading.values for reading in readings], axis=0), (rises[1] - rises[0]).mean(axis=0)], axis=0)
    windows = clustered_error(growth, weights, documents(base[0].samples)) ** 2
    text = sum(float(before.values.var(ddof=1)) / WINDOWS for before in base)
    printed = np.mean([reading.estimate().high - reading.estimate().low for reading in readings]) / 2
    independent = float(np.mean((rises[1] - rises[0]) @ weights / weights.sum()))
    return {
        "ours": 6 * (values.var(ddof=1) + windows),
        "printed": 6 * (printed / Z90) ** 2,
        "independent": 4 * (sum(sum(spread(noisy, weights)) for noisy in fresh) + text),
        "independent_noise": 4 * (draws + windows),
        "no_base": 2 * (draws + windows),
        "growth": float(values.mean()),
        "growth_independent": independent,
        "error": float(np.sqrt(values.var(ddof=1) / SEEDS + draws / (2 * PAIRS))),
        "draws": float(values.var(ddof=1)),
        "windows": windows,
    }


def seconds_ratio(runs: Runs) -> float:
    """Time of a record in shares over that of one reading without noise."""
    (row,) = runs.ledger.sql(
        "select median(seconds) filter (change_kind = 'perturb') / median(seconds) filter (change_kind = 'none') as ratio from records"
    ).to_pylist()
    return row["ratio"]


def main() -> None:
    """Print the comparison at the headline's noise, and the ratios at the other scales."""
    corpus = Corpus.parse("builtin:code")
    models = checkpoints(corpus)
    loss = Loss(data=corpus, samples=WINDOWS)
    with tempfile.TemporaryDirectory() as folder:
        runs = split_study(models, Path(folder), loss)
        results = {scale: compare(models, loss, runs, scale) for scale in SCALES}
        seconds = seconds_ratio(runs)
    headline = results[HEADLINE]
    needed = (Z90 / (0.1 * headline["growth"])) ** 2
    report: dict[str, Any] = {
        "name": "sensitivity",
        "claim": f"Evaluations ({WINDOWS} windows each) until the 90% interval of the growth of noise sensitivity from {BUDGETS[0]} to "
        f"{BUDGETS[1]} tokens is within a tenth of it, at noise of {HEADLINE} x RMS: {PAIRS} antithetic pairs that share the windows among "
        "them, common to both checkpoints, against fresh noise for every evaluation, all on the same text. `ratio_fresh_text` is against "
        "fresh text for every evaluation as well, `ratio_no_base` against fresh noise whose evaluations without noise are not counted, "
        "`ratio_printed` takes the intervals that the package prints instead of the spread that repeated runs show.",
        "ours": headline["ours"] * needed,
        "peer": headline["independent_noise"] * needed,
        "ratio": headline["independent_noise"] / headline["ours"],
        "target": 5.0,
        "equal_results": all(abs(r["growth"] - r["growth_independent"]) < 4 * r["error"] for r in results.values()),
        "floor": 6 * headline["windows"] * needed,
        "unit": "evaluations",
        "seconds_ratio": seconds,
    }
    for scale, result in results.items():
        report[f"growth_{scale}"] = result["growth"]
        report[f"growth_independent_{scale}"] = result["growth_independent"]
        report[f"ratio_{scale}"] = result["independent_noise"] / result["ours"]
        report[f"ratio_no_base_{scale}"] = result["no_base"] / result["ours"]
        report[f"ratio_printed_{scale}"] = result["independent_noise"] / result["printed"]
        report[f"ratio_fresh_text_{scale}"] = result["independent"] / result["ours"]
    print(json.dumps(report))


if __name__ == "__main__":
    main()
