"""Which half of the digits teaches: the hardest, random or the easiest by EL2N; with wrong labels, and past them (arXiv 2107.07075).

EL2N is averaged over networks that trained for 30 steps with seeds of their own; each half then trains fresh networks, seed by seed.
With a tenth of the labels wrong the hardest are the wrong ones, and a window that passes over the hardest mends that. Rate, steps and
networks were settled at size smoke (docs/log.md), so the other sizes have seeds of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

import pliant as pl
from pliant.data.images import Images
from pliant.files import write_atomic
from pliant.findings.finding import Finding, Outcome, Size
from pliant.findings.tuned import over_seeds, told
from pliant.models import build
from pliant.objectives import Label
from pliant.statistics import Array
from pliant.train import Recipe, train

if TYPE_CHECKING:
    from pliant.models import Model

LR = 1e-2
NOISE, EARLY, PASSED, ASKED = 0.1, 30, 0.12, 500
"""Wrong labels; steps of a network that scores; what the window passes over; images that are asked about."""
SCALES: dict[Size, tuple[int, int, int]] = {"smoke": (2, 3, 80), "laptop": (10, 12, 800), "gpu": (10, 24, 800)}
"""Networks that score, networks that each half trains, and their steps."""
HALVES: dict[str, dict[str, Any]] = {
    "hardest": {"order": "highest"},
    "random": {"order": "random"},
    "easiest": {"order": "lowest"},
    "window": {"order": "highest", "skip": PASSED},
}
COMPARED = {"clean": ("random", "hardest", "easiest"), "noisy": ("random", "hardest", "window")}


class HardExamples(Finding):
    """The hardest half teaches most on clean labels, and least where labels are wrong."""

    paper: ClassVar[str] = "Deep Learning on a Data Diet, arXiv 2107.07075; replicated in arXiv 2303.14753"
    claim: ClassVar[str] = (
        "By early EL2N the hardest half of clean data trains as good a classifier; with wrong labels, pass over the hardest."
    )
    published: ClassVar[str] = (
        "CIFAR-10, half of the data by EL2N at epoch 20: accuracy equal to or slightly above that of all; with 10% random labels the best "
        "window leaves the hardest out"
    )
    rule: ClassVar[str] = (
        "reproduced when, on clean digits, the hardest half's held-out accuracy minus a random half's is above 0 and the easiest half's "
        "is 5 points or more below, each with its 90% interval over paired seeds; and with a tenth of the labels wrong the hardest half "
        "is below a random one while the window past the hardest 12% is above it; contradicted when the hardest half's interval on clean "
        "digits lies below 0"
    )

    def test(self, folder: Path) -> Outcome:
        """Smoke: a few seconds; laptop: a minute or two."""
        place = folder / f"hard-examples-{self.size}"
        _split(place, self.first_seed)
        found = {labels: self._accuracies(place, labels) for labels in COMPARED}
        clean, noisy = ({half: values - of["random"] for half, values in of.items()} for of in found.values())
        apart = {
            f"{labels} {half}": over_seeds(values[half])
            for labels, values in (("clean", clean), ("noisy", noisy))
            for half in COMPARED[labels][1:]
        }
        checks = {
            f"clean: hardest above random ({told(apart['clean hardest'])})": apart["clean hardest"].low > 0,
            f"clean: easiest 5 points or more below random ({told(apart['clean easiest'])})": apart["clean easiest"].high <= -0.05,
            f"noisy: hardest below random ({told(apart['noisy hardest'])})": apart["noisy hardest"].high < 0,
            f"noisy: window above random ({told(apart['noisy window'])})": apart["noisy window"].low > 0,
        }
        ours = ", ".join(f"{name} {told(found)}" for name, found in apart.items()) + " of accuracy, against random"
        figures = {labels: {half: values.tolist() for half, values in of.items()} for labels, of in found.items()}
        return Outcome(self.judged(checks, against=apart["clean hardest"].high < 0), ours, checks, figures)

    def _accuracies(self, place: Path, labels: str) -> dict[str, Array]:
        """Of each half, a network for each seed: accuracy on the images that are asked about."""
        scored, trained, steps = SCALES[self.size]
        noise = {"fraction": NOISE} if labels == "noisy" else None
        scores = place / f"el2n-{labels}.parquet"
        if not scores.exists():
            early = [_trained(place, self.first_seed + seed + 100, EARLY, noise) for seed in range(scored)]
            pl.scores.El2n.parse({})(early, _objective(place, noise).examples(early[0], None)).save(scores)
        return {
            half: _kept(place, scores, labels, half, range(self.first_seed, self.first_seed + trained), steps, noise)
            for half in COMPARED[labels]
        }


def _split(place: Path, seed: int) -> None:
    """The built-in digits as two archives: those to learn from, and those that are asked about."""
    if (place / "asked.npz").exists():
        return
    place.mkdir(parents=True, exist_ok=True)
    pictures = Images.parse("builtin:digits").pictures("all")
    order = np.random.default_rng(seed).permutation(len(pictures))
    for name, numbers in (("learned", order[ASKED:]), ("asked", order[:ASKED])):
        np.savez(place / f"{name}.npz", x=pictures.pixels(numbers)[..., 0], y=pictures.labels[numbers])


def _objective(place: Path, noise: Any, select: Any = None) -> Label:
    source = {"source": str(place / "learned.npz"), **({"select": select} if select else {})}
    return Label.parse({"data": source, "part": "all", "noise": noise})


def _trained(place: Path, seed: int, steps: int, noise: Any, select: Any = None) -> Model:
    objective = _objective(place, noise, select)
    needs = objective.needs()
    model = build("mlp-128x1", seed=seed, images=needs.images, labels=needs.labels)
    train(model, objective, Recipe.parse({"lr": LR, "steps": steps}), seed=seed, quiet=True)
    return model


def _kept(place: Path, scores: Path, labels: str, half: str, seeds: range, steps: int, noise: Any) -> Array:
    """Accuracies (seeds,), kept in a file, so that a second run is instant."""
    stored = place / f"{labels}-{half}.txt"
    if not stored.exists():
        measure = pl.measures.Accuracy.parse({"data": str(place / "asked.npz"), "part": "all", "per_class": False})
        random = HALVES[half]["order"] == "random"
        chosen = [{**HALVES[half], "keep": 0.5, **({"seed": seed} if random else {"scores": str(scores)})} for seed in seeds]
        values = [measure(_trained(place, seed, steps, noise, select)).estimate().value for seed, select in zip(seeds, chosen, strict=True)]
        write_atomic(stored, " ".join(map(repr, values)))
    return np.array([float(word) for word in stored.read_text().split()])
