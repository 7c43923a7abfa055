"""Bi-Drop on tiny fine-tuning sets, against as much computing without it (arXiv 2305.14760).

A small encoder, pretrained on other documents, learns from 300 snippets of text which of two
corpora each is from. Bi-Drop passes each batch twice
under dropout; beside it stand plain fine-tuning, the same for twice the steps (its compute-matched control), the mean of two passes
without a mask, and a random mask. Every arm has its own learning rate, since a mask takes a higher one.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from pliant.data import Corpus
from pliant.data.labelled_texts import LabelledTexts
from pliant.findings.finding import Finding, Outcome, Size
from pliant.findings.snippets import TEXTS, Snippets, snippets
from pliant.findings.tuned import Setting, classified, fit, remembered, told, tuned
from pliant.objectives import Label

ARMS: dict[str, tuple[list[Any], int]] = {
    "plain": ([], 1),
    "twice the steps": ([], 2),
    "mean of two passes": ([{"bi_drop": {"keep": 1.0}}], 1),
    "random mask": ([{"bi_drop": {"keep": 0.5, "by": "random"}}], 1),
    "bi-drop": ([{"bi_drop": {"keep": 0.5}}], 1),
}
"""Methods, and how many times the steps."""


@dataclass(frozen=True)
class SmallSetScale:
    """How much is trained at one size."""

    rows: int
    steps: int
    seeds: int
    rates: tuple[float, ...]
    judged: int


SCALES: dict[Size, SmallSetScale] = {
    "smoke": SmallSetScale(32, 4, 2, (3e-3,), 60),
    "laptop": SmallSetScale(300, 100, 8, (3e-4, 1e-3, 3e-3, 1e-2), 1500),
    "gpu": SmallSetScale(300, 200, 20, (1e-4, 3e-4, 1e-3, 3e-3), 4000),
}


class BiDropSmallSets(Finding):
    """Moving only the weights whose gradients agree helps where there is little data."""

    paper: ClassVar[str] = (
        "Bi-Drop: Enhancing Fine-tuning Generalization via Synchronous sub-net Estimation and Optimization, arXiv 2305.14760"
    )
    claim: ClassVar[str] = "On small sets Bi-Drop is more accurate than plain fine-tuning."
    published: ClassVar[str] = "above plain fine-tuning, Mixout, R-Drop and Child-Tuning on GLUE, by 1 to 2 points on its small sets"
    rule: ClassVar[str] = (
        "reproduced when the accuracy of Bi-Drop (two passes, half of each matrix) is at least 0.005 above that of plain fine-tuning and "
        "of plain fine-tuning for twice the steps, both with the 90% interval over paired seeds above 0; contradicted when the interval "
        "against plain fine-tuning lies below 0. Learning rates of all arms are tuned on other seeds and documents; every seed draws its "
        "own rows. Random masks and unmasked means are told beside it."
    )

    texts: tuple[Corpus, ...] = Field(TEXTS, min_length=2, description="Texts that snippets are to be told apart by, and the encoder reads")

    def test(self, folder: Path) -> Outcome:
        """Smoke: about three seconds; laptop: about three minutes on one core; gpu: minutes."""
        scale = SCALES[self.size]
        made = snippets(self.texts, self.size, folder)
        judges = {part: made.table(part, scale.judged, 0) for part in ("valid", "test")}
        arms = {
            name: tuned(
                lambda setting, seed: self._run(scale, made, judges, setting, seed),
                [{"lr": rate, "methods": methods, "steps": times * scale.steps} for rate in scale.rates],
                scale.seeds,
                tuning_seeds=2,
            )
            for name, (methods, times) in ARMS.items()
        }
        gains = {name: arms["bi-drop"].above(found, "accuracy") for name, found in arms.items() if name != "bi-drop"}
        checks = {
            f"0.005 above {name} ({told(gains[name])})": gains[name].value >= 0.005 and gains[name].low > 0
            for name in ("plain", "twice the steps")
        }
        accuracies = ", ".join(f"{name} {found.mean('accuracy'):.3f}" for name, found in arms.items())
        ours = f"accuracy {accuracies}; Bi-Drop against plain {told(gains['plain'])}, twice the steps {told(gains['twice the steps'])}"
        figures = {name: found.figures() for name, found in arms.items()}
        return Outcome(self.judged(checks, against=gains["plain"].high < 0), ours, checks, figures)

    def _run(self, scale: SmallSetScale, made: Snippets, judges: dict[str, LabelledTexts], setting: Setting, seed: int) -> dict[str, float]:
        """Validation and test accuracy of one run."""
        objective = Label(data=made.table("train", scale.rows, seed), part="all")

        def run() -> dict[str, float]:
            model = made.encoder(objective, seed)
            fit(model, objective, setting, seed, batch=16, weight_decay=0.0)
            read = {part: classified(model, data)[0] for part, data in judges.items()}
            return {"valid": read["valid"], "accuracy": read["test"]}

        content = [data.fingerprint() for data in (objective.data, *judges.values())]
        return remembered(made.folder, {"bi-drop": self.size, **setting, "seed": seed, "data": content}, run)
