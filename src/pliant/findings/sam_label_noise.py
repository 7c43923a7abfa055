"""SAM withstands wrong labels, and its Jacobian is why (arXiv 2405.03676).

A small network learns images of which 30% have a wrong label, by SGD, by SAM (one step uphill for the batch, or one for each row), by the
halves of row-wise SAM (J-SAM: the Jacobian uphill; L-SAM: the loss's derivative uphill) and by the cheap penalty that J-SAM amounts to.
Settings are chosen on validation data whose labels are as wrong; what counts is the accuracy on clean test data after the last epoch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from pliant.data.images import Images
from pliant.data.label_noise import LabelNoise
from pliant.errors import PliantError
from pliant.findings.finding import Finding, Outcome, Size
from pliant.findings.images_made import archive
from pliant.findings.tuned import Setting, TunedSetting, classified, fit, new, remembered, told, tuned
from pliant.objectives import Label

PLAIN: dict[str, Any] = {"optimizer": {"sgd": {"momentum": 0.0}}, "schedule": "constant", "warmup": 0, "weight_decay": 0.0, "clip": 0.0}
WRONG = 0.3


def wrong(seed: int) -> LabelNoise:
    """Labels that are wrong."""
    return LabelNoise.parse({"fraction": WRONG, "seed": seed})


@dataclass(frozen=True)
class NoiseScale:
    """How much is trained at one size."""

    preset: str
    images: int
    """Of training; as many choose settings, and what is left, at most `test`, judges."""
    test: int
    epochs: int
    batch: int
    seeds: int
    rates: tuple[float, ...]
    rhos: tuple[float, ...]
    """Uphill for the batch."""
    row_rhos: tuple[float, ...]
    penalties: tuple[float, ...]


SCALES: dict[Size, NoiseScale] = {
    "smoke": NoiseScale("mlp-16x1", 48, 200, 2, 16, 2, (0.1,), (0.1,), (0.01,), (1e-2,)),
    "laptop": NoiseScale("mlp-64x2", 300, 1000, 30, 16, 4, (0.01, 0.02, 0.05), (0.1, 0.2, 0.4), (0.003, 0.01, 0.03), (3e-3, 1e-2, 3e-2)),
    "gpu": NoiseScale("cnn-64x3", 5000, 10000, 40, 64, 5, (0.02, 0.05, 0.1), (0.03, 0.1, 0.3), (0.003, 0.01, 0.03), (3e-3, 1e-2, 3e-2)),
}


class SamLabelNoise(Finding):
    """SAM learns less of wrong labels than SGD does."""

    paper: ClassVar[str] = "Why is SAM Robust to Label Noise?, arXiv 2405.03676"
    claim: ClassVar[str] = (
        "SAM is more accurate than SGD under label noise, through what it does to the Jacobian: J-SAM has its gain, L-SAM has not, and a "
        "penalty on the last activations and weights recovers most of it."
    )
    published: ClassVar[str] = "J-SAM about as accurate as row-wise SAM, L-SAM about as SGD (CIFAR-10, 30% wrong labels, ResNet-18)"
    rule: ClassVar[str] = (
        "reproduced when the clean test accuracy after the last epoch is above SGD's, with 90% intervals over paired seeds above 0, for "
        "SAM by batch, SAM by rows and the penalty, J-SAM has at least half of the gain of SAM by rows, and L-SAM at most half of it; "
        "contradicted when the interval of SAM by batch or by rows lies below 0. Rates, radii and penalties are tuned on other seeds and "
        "noisy validation labels; SAM by rows has the rate of SAM by batch, and J-SAM and L-SAM, its halves, its rate and radius."
    )

    images: Images = Field(Images.parse("builtin:digits"), description="Images with right labels")

    def test(self, folder: Path) -> Outcome:
        """Smoke: about two seconds; laptop: about three minutes on one core; gpu: hours, by rows."""
        scale, place = SCALES[self.size], folder / "sam-label-noise"
        parts = self._parts(scale, place)

        def arm(settings: list[Setting]) -> TunedSetting:
            return tuned(lambda setting, seed: self._run(scale, place, parts, setting, seed), settings, scale.seeds)

        arms = {"sgd": arm([{"lr": rate, "methods": []} for rate in scale.rates])}
        grids = {
            "by batch": [{"sam": {"rho": rho}} for rho in scale.rhos],
            "by rows": [{"sam": {"rho": rho, "variant": "example"}} for rho in scale.row_rhos],
            "penalty": [{"activation_penalty": {"gamma_z": gamma, "gamma_v": gamma}} for gamma in scale.penalties],
        }
        for name, grid in grids.items():
            rates = scale.rates if name != "by rows" else [arms["by batch"].setting["lr"]]
            arms[name] = arm([{"lr": rate, "methods": [method]} for rate in rates for method in grid])
        rate, rho = arms["by rows"].setting["lr"], arms["by rows"].setting["methods"][0]["sam"]["rho"]
        for name, variant in (("J-SAM", "jacobian"), ("L-SAM", "logit")):
            arms[name] = arm([{"lr": rate, "methods": [{"sam": {"rho": rho, "variant": variant}}]}])
        gains = {name: found.above(arms["sgd"], "accuracy") for name, found in arms.items() if name != "sgd"}
        half = gains["by rows"].value / 2
        checks = {
            **{f"{name}: above SGD ({told(gains[name])})": gains[name].low > 0 for name in grids},
            f"J-SAM: at least half of the gain by rows ({told(gains['J-SAM'])})": gains["J-SAM"].value >= half > 0,
            f"L-SAM: at most half of it ({told(gains['L-SAM'])})": gains["L-SAM"].value <= half,
        }
        against = any(gains[name].high < 0 for name in ("by batch", "by rows"))
        ours = f"SGD {arms['sgd'].mean('accuracy'):.3f}; " + ", ".join(f"{name} {told(gain)}" for name, gain in gains.items())
        return Outcome(self.judged(checks, against), ours, checks, {name: found.figures() for name, found in arms.items()})

    def _parts(self, scale: NoiseScale, place: Path) -> dict[str, Images]:
        """Three archives: to train on, to choose by (with wrong labels), to judge by."""
        pictures = self.images.whole()
        if len(pictures) <= 2 * scale.images:
            raise PliantError(
                f"{self.images.source}: holds {len(pictures)} images, and size {self.size} takes more than {2 * scale.images}"
            )
        order = np.random.default_rng(0).permutation(len(pictures))
        cuts = np.split(order, [scale.images, 2 * scale.images, 2 * scale.images + scale.test])
        labels = {part: pictures.labels[numbers] for part, numbers in zip(("train", "valid", "test"), cuts, strict=False)}
        ids = [pictures.ids[number] for number in cuts[1]]
        labels["valid"] = wrong(1)(ids, labels["valid"], len(pictures.classes))
        return {
            part: archive(place / f"{part}-{scale.images}.npz", pictures.pixels(numbers), labels[part], pictures.classes)
            for part, numbers in zip(labels, cuts, strict=False)
        }

    def _run(self, scale: NoiseScale, place: Path, parts: dict[str, Images], setting: Setting, seed: int) -> dict[str, float]:
        """Validation and test accuracy, and that on the training labels as they were given."""
        objective = Label(data=parts["train"], part="all", noise=wrong(seed))

        def made() -> dict[str, float]:
            model = new({"preset": scale.preset}, self.size, seed, objective)
            log = fit(model, objective, {**PLAIN, **setting}, seed, batch=scale.batch, steps=scale.epochs * scale.images // scale.batch)
            read = {name: classified(model, parts[name])[0] for name in ("valid", "test")}
            return {"valid": read["valid"], "accuracy": read["test"], "training loss": log.losses[-1]}

        described = {"scale": [scale.preset, scale.epochs, scale.batch], **setting, "seed": seed}
        return remembered(place, described | {"data": [data.fingerprint() for data in parts.values()]}, made)
