"""SAM learns the hard feature beside an easy one (arXiv 2405.20439).

Two images stand over each other: an easy one (digit 0 or 1) and a hard one (digits 3, 5, 8 or 4, 6, 9, under noise). In training the
hard one is the label, and the easy one agrees with it 95% of the time. How well each feature can be read off the last hidden layer by a
linear probe, on images in which the two are independent, tells what was learned. Rates and radii are chosen by the loss on
validation images like those of training.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pliant.data.images import Images
from pliant.errors import PliantError
from pliant.findings.finding import Finding, Outcome, Size
from pliant.findings.images_made import archive
from pliant.findings.tuned import Setting, TunedSetting, classified, fit, new, remembered, told, tuned
from pliant.models import Model
from pliant.objectives import Label

EASY = ((0,), (1,))
HARD = ((3, 5, 8), (4, 6, 9))
"""Classes that stand for the labels 0 and 1: of digits, and of whatever other source the hard images are from."""
AGREEING = 0.95
"""Of the training images, those whose easy feature tells the label; the hard one always does."""
FEATURES = ("easy", "hard")
SGD: dict[str, Any] = {"optimizer": {"sgd": {"momentum": 0.9}}, "weight_decay": 0.0, "clip": 0.0}


@dataclass(frozen=True)
class DiversityScale:
    """How much is trained at one size."""

    preset: str
    images: int
    """Of training; a probe learns on as many, and as many judge it."""
    noise: float
    """Standard deviation over the hard image, in the 255 steps of a pixel."""
    steps: int
    seeds: int
    rates: tuple[float, ...]
    rhos: tuple[float, ...]
    probe_steps: int


SCALES: dict[Size, DiversityScale] = {
    "smoke": DiversityScale("mlp-16x1", 64, 40.0, 12, 2, (0.02,), (0.1,), 12),
    "laptop": DiversityScale("mlp-32x2", 320, 40.0, 400, 12, (0.005, 0.02, 0.05), (0.05, 0.1, 0.2), 300),
    "gpu": DiversityScale("cnn-64x3", 4000, 30.0, 4000, 8, (0.005, 0.02, 0.05), (0.05, 0.1, 0.2), 1000),
}


class SamFeatureDiversity(Finding):
    """SAM leaves more of the hard feature in what a network makes inside."""

    paper: ClassVar[str] = "Sharpness-Aware Minimization Enhances Feature Quality via Balanced Learning, arXiv 2405.20439"
    claim: ClassVar[str] = "Where an easy, spurious feature goes with the label, SAM learns the hard one better than SGD does."
    published: ClassVar[str] = (
        "lower probing error of both features, more so of the hard one, at equal accuracy (CelebA, Waterbirds, CIFAR-MNIST)"
    )
    rule: ClassVar[str] = (
        "reproduced when the accuracy of a linear probe for the hard feature is higher after SAM than after SGD and than after SGD for "
        "twice the steps, both with the 90% interval over paired seeds above 0, and SAM and SGD are both right on 95% of the training "
        "images; contradicted when the interval against SGD lies below 0. SAM in the head alone, and the easy feature, are told beside it."
    )

    images: Images = Field(Images.parse("builtin:digits"), description="Images that the hard ones are taken from")

    def test(self, folder: Path) -> Outcome:
        """Smoke: about two seconds; laptop: about two minutes on one core; gpu: an hour."""
        scale, place = SCALES[self.size], folder / "sam-feature-diversity"
        parts = self._parts(scale, place)
        forms: dict[str, tuple[list[Any], int]] = {
            "sgd": ([[]], 1),
            "sgd, twice the steps": ([[]], 2),
            "sam": ([[{"sam": {"rho": rho}}] for rho in scale.rhos], 1),
            "sam in the head": ([[{"sam": {"rho": rho, "layers": "head"}}] for rho in scale.rhos], 1),
        }

        def arm(methods: list[Any], times: int) -> TunedSetting:
            grid = [{"lr": rate, "methods": some, "steps": times * scale.steps} for rate in scale.rates for some in methods]
            return tuned(lambda setting, seed: self._run(scale, place, parts, setting, seed), grid, scale.seeds, tuning_seeds=2)

        arms = {name: arm(*form) for name, form in forms.items()}
        gains = {name: {part: arms["sam"].above(arms[name], part) for part in FEATURES} for name in ("sgd", "sgd, twice the steps")}
        right = {name: arms[name].mean("training accuracy") for name in ("sgd", "sam")}
        checks = {
            **{f"hard feature: above {name} ({told(gain['hard'])})": gain["hard"].low > 0 for name, gain in gains.items()},
            f"95% of the training images right (SGD {right['sgd']:.3f}, SAM {right['sam']:.3f})": min(right.values()) >= 0.95,
        }
        probed = {name: f"{found.mean('hard'):.3f}" for name, found in arms.items()}
        hard = ", ".join(f"{name} {value}" for name, value in probed.items())
        ours = f"hard feature {hard}; easy, SAM against SGD {told(gains['sgd']['easy'])}"
        figures = {name: found.figures() for name, found in arms.items()}
        return Outcome(self.judged(checks, against=gains["sgd"]["hard"].high < 0), ours, checks, figures)

    def _parts(self, scale: DiversityScale, place: Path) -> dict[str, Images]:
        """Archives of disjoint images: `train` and `valid` of which the hard feature is the label, `probe` and `judge` for each feature."""
        generator = np.random.default_rng(0)
        count = scale.images
        digits = Images.parse("builtin:digits")
        height, width, channels = self.images.whole().shape
        easy, hard = _split(digits, EASY, generator, (height, width)), _split(self.images, HARD, generator)
        found: dict[str, Images] = {}
        for number, part in enumerate(("train", "valid", "probe", "judge")):
            labels = {name: generator.integers(0, 2, count) for name in FEATURES}
            if part in ("train", "valid"):
                labels["easy"] = np.where(generator.random(count) < AGREEING, labels["hard"], 1 - labels["hard"])
            below = _drawn(hard, number, labels["hard"], generator).astype(float)
            below = np.clip(below + generator.normal(0, scale.noise, below.shape), 0, 255)
            above = _drawn(easy, number, labels["easy"], generator).repeat(channels, axis=3)
            pixels = np.concatenate([above, below.astype(np.uint8)], axis=1)
            for name in FEATURES if part in ("probe", "judge") else ("hard",):
                told_part = f"{part} {name}" if part in ("probe", "judge") else part
                found[told_part] = archive(place / f"{told_part} {count}.npz".replace(" ", "-"), pixels, labels[name], ("0", "1"))
        return found

    def _run(self, scale: DiversityScale, place: Path, parts: dict[str, Images], setting: Setting, seed: int) -> dict[str, float]:
        """Minus the validation loss, training accuracy, and accuracies of a probe for each feature."""
        objective = Label(data=parts["train"], part="all")

        def made() -> dict[str, float]:
            model = new({"preset": scale.preset}, self.size, seed, objective)
            fit(model, objective, {**SGD, **setting}, seed, batch=32)
            valid, trained = (classified(model, parts[name]) for name in ("valid", "train"))
            read = {"valid": -valid[1], "training accuracy": trained[0]}
            return read | {name: _probed(scale, model, parts, name, seed) for name in FEATURES}

        described = {"scale": [scale.preset, scale.probe_steps], **setting, "seed": seed}
        return remembered(place, described | {"data": [data.fingerprint() for data in parts.values()]}, made)


def _probed(scale: DiversityScale, model: Model, parts: dict[str, Images], feature: str, seed: int) -> float:
    """The accuracy of a fresh linear head for the feature on the frozen trunk."""
    probe = Label(data=parts[f"probe {feature}"], part="all", fresh_head=True)
    fit(model, probe, {"lr": 1e-2, "methods": ["probe"], "steps": scale.probe_steps}, seed, batch=64, weight_decay=0.0)
    return classified(model, parts[f"judge {feature}"])[0]


def _split(
    images: Images, groups: tuple[tuple[int, ...], ...], generator: np.random.Generator, size: tuple[int, int] | None = None
) -> list[list[NDArray[np.uint8]]]:
    """The images of each group in four disjoint parts: [group][part] (images, height, width, channels)."""
    pictures = images.whole(size)
    numbers = [generator.permutation(np.flatnonzero(np.isin(pictures.labels, group))) for group in groups]
    for found, group in zip(numbers, groups, strict=True):
        if len(found) < 4:
            raise PliantError(f"{images.source}: holds {len(found)} images of its classes number {group}, and four parts are made of them")
    return [[pictures.pixels(part) for part in np.array_split(found, 4)] for found in numbers]


def _drawn(split: list[list[NDArray[np.uint8]]], part: int, labels: NDArray[np.int64], generator: np.random.Generator) -> NDArray[np.uint8]:
    """An image of the group that each label names."""
    return np.stack([split[label][part][generator.integers(len(split[label][part]))] for label in labels.tolist()])
