"""What the length of an example's gradient measures before anything is learned: how large its input is (arXiv 2303.14753).

GraNd of the digits over fresh networks, and over the same networks after 60 steps; each beside the length of the input and beside EL2N.
Inputs are the brightness of each pixel, 0 to 1. On inputs as networks get them otherwise, with mean and spread taken out, the background is
as long as the digit and the claim is weaker; that is told beside it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

import pliant as pl
from pliant.findings.finding import Finding, Outcome, Size, verdict
from pliant.findings.tuned import over_seeds, told
from pliant.models import build
from pliant.objectives import Label
from pliant.statistics import Array, spearman
from pliant.train import Recipe, train

STEPS = 60
SCALES: dict[Size, tuple[float, int, int]] = {"smoke": (0.1, 5, 3), "laptop": (0.5, 10, 5), "gpu": (1.0, 10, 10)}
"""Share of the digits that are scored, networks that are averaged over, and how often all is done with fresh networks."""
SOURCE = "builtin:digits"


class GradientsAtStart(Finding):
    """At initialisation GraNd ranks examples by the norm of their inputs."""

    paper: ClassVar[str] = "Dissecting the effects of GraNd at initialisation, arXiv 2303.14753; the score from arXiv 2107.07075"
    claim: ClassVar[str] = "At initialisation GraNd mostly measures the norm of the input; a little training makes it say what EL2N does."
    published: ClassVar[str] = (
        "GraNd at initialisation correlates strongly with the input norm on CIFAR-10, and prunes no better than random"
    )
    rule: ClassVar[str] = (
        "reproduced when Spearman's correlation of GraNd with the norm of the input is 0.8 or more at initialisation and less than half "
        "of that after 60 steps, where its correlation with EL2N is 0.9 or more, each with its whole 90% interval over sets of fresh "
        "networks; contradicted when the interval at initialisation lies below 0.3. Inputs are pixels from 0 to 1; the correlation on "
        "inputs whose mean and spread are taken out is told beside it, and decides nothing."
    )

    def test(self, folder: Path) -> Outcome:
        """Smoke: a few seconds; laptop: about a minute. Nothing is kept."""
        share, networks, repeats = SCALES[self.size]
        data = {"source": SOURCE, "select": {"keep": share, "order": "random", "seed": self.first_seed}}
        seeds = range(self.first_seed, self.first_seed + networks * repeats)
        rows = [_correlations(Label.parse({"data": data}), seeds[at : at + networks]) for at in range(0, len(seeds), networks)]
        found = {name: over_seeds(np.array([row[name] for row in rows])) for name in rows[0]}
        start, later, error, _ = found.values()
        checks = {
            f"at initialisation 0.8 or more with the norm ({told(start)})": start.low >= 0.8,
            f"after {STEPS} steps less than half of that ({told(later)})": max(abs(later.low), abs(later.high)) < start.value / 2,
            f"after {STEPS} steps 0.9 or more with EL2N ({told(error)})": error.low >= 0.9,
        }
        ours = ", ".join(f"{name} {told(each)}" for name, each in found.items())
        return Outcome(verdict(checks, against=start.high < 0.3), ours, checks, {name: [row[name] for row in rows] for name in found})


def _correlations(objective: Label, seeds: range) -> dict[str, float]:
    """What GraNd, averaged over networks with these seeds, goes with."""
    needs, grand = objective.needs(), pl.scores.Grand.parse({})
    assert needs.images is not None  # of a data set of images
    pixels = replace(needs.images, mean=(0.0,), std=(1.0,))
    models = [build("mlp-128x1", seed=seed, images=pixels, labels=needs.labels) for seed in seeds]
    examples = objective.examples(models[0], None)
    norms = _norms(examples)
    start = grand(models, examples).values
    for seed, model in zip(seeds, models, strict=True):
        train(model, Label.parse({"data": SOURCE}), Recipe.parse({"lr": 3e-3, "steps": STEPS}), seed=seed, quiet=True)
    later, error = grand(models, examples).values, pl.scores.El2n.parse({})(models, examples).values
    others = [build("mlp-128x1", seed=seed, images=needs.images, labels=needs.labels) for seed in seeds]
    usual = objective.examples(others[0], None)
    pairs = {
        "GraNd at start, norm": (start, norms),
        "GraNd later, norm": (later, norms),
        "GraNd later, EL2N": (later, error),
        "at start, mean and spread taken out": (grand(others, usual).values, _norms(usual)),
    }
    return {name: spearman(*pair) or 0.0 for name, pair in pairs.items()}


def _norms(examples: Any) -> Array:
    """Lengths of the inputs."""
    pixels = examples.at(np.arange(examples.unique)).inputs["pixel_values"]
    return pixels.flatten(1).double().norm(dim=1).numpy()
