"""Adversarial self-attention against a planted shortcut (arXiv 2206.12608).

A small pretrained encoder learns which of two corpora a snippet of text is from, in which a cue word at a random place tells the answer
95% of the time in training. Judged is the accuracy where the cue is wrong. Beside plain fine-tuning stand twice the steps, and the same two
passes with as many links cut at random as the adversary cuts. Validation data has the cue, too, and cannot choose a learning rate, so
the claim is asked for at two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from pydantic import Field

from pliant.data import Corpus
from pliant.findings.finding import Finding, Outcome, Size
from pliant.findings.snippets import CUES, TEXTS, Snippet, Snippets, snippets
from pliant.findings.tuned import TunedSetting, classified, fit, remembered, told, tuned
from pliant.methods import AdversarialSelfAttention, Compute, Method, MethodState, Run
from pliant.objectives import Batch, Label

if TYPE_CHECKING:
    from torch import Tensor

RIGHT = 0.95
"""Of the cues in training and validation."""
RATES = (1e-3, 3e-3)


@dataclass(frozen=True)
class ShortcutScale:
    """How much is trained at one size."""

    rows: int
    steps: int
    seeds: int
    judged: int


SCALES: dict[Size, ShortcutScale] = {
    "smoke": ShortcutScale(40, 3, 2, 60),
    "laptop": ShortcutScale(1000, 150, 5, 1000),
    "gpu": ShortcutScale(1000, 300, 20, 2000),
}


class Watched(AdversarialSelfAttention):
    """The method, counting what it cuts."""

    def links(self, state: MethodState, name: str, hidden: Tensor, blocked: Tensor) -> Tensor:
        """As the method's."""
        found = super().links(state, name, hidden, blocked)
        share = 1 - float((found.detach() * ~blocked).sum() / (~blocked).expand_as(found).sum())
        state.objects.setdefault("shares", []).append(share)
        return found

    def finish(self, run: Run, state: MethodState) -> None:
        """Tell the mean share of links that were cut."""
        run.facts["cut"] = float(np.mean(state.objects["shares"]))


class RandomLinks(AdversarialSelfAttention):
    """The same two passes with links cut at random."""

    share: float = Field(ge=0, le=1, description="Of links that are cut")

    def links(self, state: MethodState, name: str, hidden: Tensor, blocked: Tensor) -> Tensor:
        """(rows, length, length) 1 where a link is kept."""
        import torch

        return (torch.rand(len(hidden), *blocked.shape[1:], device=hidden.device) >= self.share).to(hidden.dtype)

    def gradients(self, run: Run, state: MethodState, compute: Compute, batch: Batch) -> Tensor:
        """There is no adversary to step."""
        return compute(batch)


class AdversarialAttentionShortcut(Finding):
    """Cutting the links a model leans on makes it lean on others."""

    paper: ClassVar[str] = "Adversarial Self-Attention for Language Understanding, arXiv 2206.12608"
    claim: ClassVar[str] = "Fine-tuning against an adversary that cuts links of attention makes a model rely less on a shortcut."
    published: ClassVar[str] = "about 0.5 to 1 point on GLUE, more on adversarial and out-of-domain sets (BERT-base, RoBERTa-base)"
    rule: ClassVar[str] = (
        "reproduced when at both learning rates, 1e-3 and 3e-3, the accuracy where the cue is wrong is at least 0.05 higher after "
        "adversarial self-attention (tau 0.5) than after as many links cut at random, with the 90% interval over paired seeds above 0, and "
        "higher than after plain fine-tuning for twice the steps, interval above 0; contradicted when at both rates the interval against "
        "random cuts lies below 0"
    )

    texts: tuple[Corpus, ...] = Field(TEXTS, min_length=2, description="Texts that snippets are to be told apart by, and the encoder reads")

    def test(self, folder: Path) -> Outcome:
        """Smoke: about three seconds; laptop: about three minutes on one core; gpu: minutes."""
        made = snippets(self.texts, self.size, folder)
        checks: dict[str, bool] = {}
        figures: dict[str, Any] = {}
        shown: list[str] = []
        below: list[bool] = []
        for rate in RATES:
            arms = {name: self._arm(made, rate, name) for name in ("plain", "twice the steps", "adversary")}
            share = round(arms["adversary"].mean("cut"), 3)
            arms["random"] = self._arm(made, rate, "random", share)
            gains = {name: arms["adversary"].above(arms[name], "against the cue") for name in ("random", "twice the steps")}
            least = {"random": 0.05, "twice the steps": 0.0}
            for name, gain in gains.items():
                checks[f"{rate:g}: {least[name]:g} above {name} ({told(gain)})"] = gain.value >= least[name] and gain.low > 0
            below.append(gains["random"].high < 0)
            accuracies = ", ".join(f"{name} {found.mean('against the cue'):.3f}" for name, found in arms.items())
            shown.append(f"at {rate:g} {accuracies}")
            figures[f"{rate:g}"] = {"links cut": share, **{name: found.figures() for name, found in arms.items()}}
        return Outcome(self.judged(checks, against=all(below)), "accuracy against the cue " + "; ".join(shown), checks, figures)

    def _arm(self, made: Snippets, rate: float, name: str, share: float = 0.0) -> TunedSetting:
        setting = {"lr": rate, "arm": name, "share": share}
        return tuned(lambda _, seed: self._run(made, rate, name, share, seed), [setting], SCALES[self.size].seeds)

    def _run(self, made: Snippets, rate: float, name: str, share: float, seed: int) -> dict[str, float]:
        """Accuracy with a cue that is as right as in training, and with one that is always wrong; the share of links cut."""
        scale = SCALES[self.size]
        objective = Label(data=made.table("train", scale.rows, seed, cued(RIGHT)), part="all")
        judges = {
            "valid": made.table("test", scale.judged, 0, cued(RIGHT)),
            "against the cue": made.table("test", scale.judged, 0, cued(0.0)),
        }
        methods: dict[str, Sequence[Method]] = {"adversary": [Watched.parse({})], "random": [RandomLinks.parse({"share": share})]}

        def run() -> dict[str, float]:
            model = made.encoder(objective, seed)
            setting = {"lr": rate, "methods": methods.get(name, []), "steps": scale.steps * (2 if name == "twice the steps" else 1)}
            log = fit(model, objective, setting, seed, batch=32, weight_decay=0.0)
            read = {part: classified(model, data)[0] for part, data in judges.items()}
            return read | {"cut": log.facts.get("cut", 0.0)}

        content = [data.fingerprint() for data in (objective.data, *judges.values())]
        return remembered(made.folder, {"adversary": self.size, "arm": [rate, name, share], "seed": seed, "data": content}, run)


def cued(right: float) -> Any:
    """Puts a cue word in at a random place: that of the label, or with probability 1 - `right` that of the other one."""

    def told_so(snippet: Snippet, generator: np.random.Generator) -> Snippet:
        text, label = snippet
        words, number = text.split(), int(label)
        cue = CUES[number if generator.random() < right else 1 - number]
        words.insert(int(generator.integers(len(words) + 1)), cue)
        return " ".join(words), label

    return told_so
