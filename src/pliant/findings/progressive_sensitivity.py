"""Progressive sensitivity and the U shape on tiny language models (arXiv 2503.19206, section 3).

Independent annealed runs over growing token budgets; Gaussian noise and short fine-tuning of fixed size on each. The same along
one un-decayed trajectory, since learning-rate decay is the rival explanation (arXiv 2604.13627).
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

from pydantic import Field

from pliant.changes import Finetune, Perturb
from pliant.data import Corpus
from pliant.decide import CheckpointDecision
from pliant.findings.arms import SCALES, curves, growth, run_arm
from pliant.findings.finding import Finding, Outcome, verdict

NOISE, RATES = (0.05, 0.1, 0.2), (1e-3, 3e-3, 1e-2)


class ProgressiveSensitivity(Finding):
    """The longer a model was pretrained, the more the same change hurts it."""

    paper: ClassVar[str] = "Overtrained Language Models Are Harder to Fine-Tune, arXiv 2503.19206, section 3"
    claim: ClassVar[str] = (
        "Noise or fine-tuning of fixed size adds more loss the longer a model was pretrained, and the changed model ends up worse."
    )
    published: ClassVar[str] = "sensitivity grows, the loss is U-shaped, earlier for larger changes (15M to 90M models, 4B to 128B tokens)"
    rule: ClassVar[str] = (
        "reproduced when, in the annealed arm, (1) the added generic loss grows with every budget for at least 5 of the 6 changes, "
        "(2) it is at least 1.3 times larger at the last than at the first budget for all 6, (3) at least 2 changes degrade the last "
        "checkpoint (95% one-sided), and (4) the best budget never moves later as noise grows, nor as the rate grows; contradicted "
        "when the added loss shrinks for at least 4 of the 6. Size smoke does not ask for (3)."
    )

    corpus: Corpus = Field(Corpus.parse("builtin:prose"), description="Pretraining text")
    task: Corpus = Field(Corpus.parse("builtin:code"), description="Fine-tuning text")

    def test(self, folder: Path) -> Outcome:
        """Smoke: about half a minute; laptop: about ten minutes on two cores; gpu: hours."""
        scale = SCALES[self.size]
        changes = [
            {"perturb": {"scale": list(NOISE), "unit": "rms", "draws": scale.draws}},
            {"finetune": {"data": self.task, "steps": 30, "lr": list(RATES)}},
        ]
        arms = {
            schedule: run_arm("progressive-sensitivity", self.size, self.corpus, self.task, changes, folder, schedule)
            for schedule in ("cosine", "constant")
        }
        noise, tuned = curves(arms["cosine"], Perturb), curves(arms["cosine"], Finetune)
        annealed = [decision for family in (noise, tuned) for found in family.values() for decision in found]
        rising = sum(decision.evidence.spearman == 1 for decision in annealed)
        falling = sum((decision.evidence.spearman or 0.0) < 0 for decision in annealed)
        sizes = len(scale.models)
        degrading = sum(decision.verdict == "degrades" for decision in annealed)
        checks = {
            f"the added loss grows with every budget for 5 of 6 changes ({rising} of {len(annealed)})": rising >= 5 * sizes,
            "it grows at least 1.3 times for all": all(growth(decision) >= 1.3 for decision in annealed),
            f"at least 2 changes degrade the last checkpoint ({degrading})": degrading >= 2 * sizes or self.size == "smoke",
            "larger noise never turns later": _never_later(noise, sizes),
            "a larger rate never turns later": _never_later(tuned, sizes),
        }
        families = [curves(arms["constant"], kind) for kind in (Perturb, Finetune)]
        rival = [decision for family in families for found in family.values() for decision in found]
        ours = (
            f"{rising} of {len(annealed)} changes grow at every budget, {degrading} degrade the last checkpoint "
            f"(un-decayed: {_degrading(rival)} of {len(rival)})"
        )
        figures = {"annealed": [d.json() for d in annealed], "un-decayed": [d.json() for d in rival]}
        return Outcome(verdict(checks, against=falling >= 4 * sizes), ours, checks, figures)


def _never_later(family: dict[float, list[CheckpointDecision]], sizes: int) -> bool:
    """Whether the best budget of each size moves to fewer tokens, or stays, as the change grows."""
    return all(
        later.best <= earlier.best
        for size in range(sizes)
        for earlier, later in zip([found[size] for found in family.values()], [found[size] for found in family.values()][1:], strict=False)
    )


def _degrading(decisions: list[CheckpointDecision]) -> int:
    return sum(decision.verdict == "degrades" for decision in decisions)
