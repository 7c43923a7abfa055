"""What the length of an example's gradient measures before anything is learned: how large its input is (arXiv 2303.14753).

GraNd of the digits over fresh networks, and over the same networks after 60 steps; each beside the length of the input and beside EL2N.
Inputs are the brightness of each pixel, 0 to 1; of pixels from -1 to 1, whose background is as long as the digit, it is 0.75.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np

import pliant as pl
from pliant.findings.finding import Finding, Outcome, Size, verdict
from pliant.models import build
from pliant.objectives import Label
from pliant.statistics import spearman
from pliant.train import Recipe, train

NETWORKS, STEPS = 10, 60
KEPT: dict[Size, float] = {"smoke": 0.1, "laptop": 0.5, "gpu": 1.0}
"""Share of the digits that are scored."""


class GradientsAtStart(Finding):
    """At initialisation GraNd ranks examples by the norm of their inputs."""

    paper: ClassVar[str] = "Dissecting the effects of GraNd at initialisation, arXiv 2303.14753; the score from arXiv 2107.07075"
    claim: ClassVar[str] = "At initialisation GraNd mostly measures the norm of the input; a little training makes it say what EL2N does."
    published: ClassVar[str] = (
        "GraNd at initialisation correlates strongly with the input norm on CIFAR-10, and prunes no better than random"
    )
    rule: ClassVar[str] = (
        "reproduced when Spearman's correlation of GraNd with the norm of the input is 0.8 or more at initialisation and less than half "
        "of that after 60 steps, where its correlation with EL2N is 0.9 or more; contradicted when it is below 0.3 at initialisation"
    )

    def test(self, folder: Path) -> Outcome:
        """Smoke: a few seconds; laptop: half a minute."""
        objective = Label.parse({"data": {"source": "builtin:digits", "select": {"keep": KEPT[self.size], "order": "random"}}})
        needs = objective.needs()
        assert needs.images is not None  # of a data set of images
        images = replace(needs.images, mean=(0.0,), std=(1.0,))
        models = [build("mlp-128x1", seed=seed, images=images, labels=needs.labels) for seed in range(NETWORKS)]
        examples = objective.examples(models[0], None)
        pixels = examples.at(np.arange(examples.unique)).inputs["pixel_values"]
        norms = pixels.flatten(1).double().norm(dim=1).numpy()
        start = pl.scores.Grand.parse({})(models, examples).values
        for seed, model in enumerate(models):
            train(model, Label.parse({"data": "builtin:digits"}), Recipe.parse({"lr": 3e-3, "steps": STEPS}), seed=seed, quiet=True)
        later, error = pl.scores.Grand.parse({})(models, examples).values, pl.scores.El2n.parse({})(models, examples).values
        pairs = {"GraNd at start, norm": (start, norms), "GraNd later, norm": (later, norms), "GraNd later, EL2N": (later, error)}
        found = {name: spearman(*pair) or 0.0 for name, pair in pairs.items()}
        first, second, third = found.values()
        checks = {
            f"at initialisation 0.8 or more with the norm ({first:.3f})": first >= 0.8,
            f"after {STEPS} steps less than half of that ({second:.3f})": abs(second) < first / 2,
            f"after {STEPS} steps 0.9 or more with EL2N ({third:.3f})": third >= 0.9,
        }
        return Outcome(
            verdict(checks, against=first < 0.3), ", ".join(f"{name} {value:.3f}" for name, value in found.items()), checks, found
        )
