"""Averaging with the start while fine-tuning keeps what was known (arXiv 2501.05559).

A small language model pretrained on prose is fine-tuned on code: plainly, with sequential averaging (SFA), with an L2 penalty to the start,
and with one average at the end (WiSE-FT). Each arm's rate and strength are those that forget least at a target loss that all come to. With
plain SGD and an average at every step SFA is gradient descent on the L2 penalty, exactly, which is run and compared, too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from pliant.changes import Finetune
from pliant.changes.restore import restored
from pliant.data import Corpus
from pliant.decide.methods.ground import Ground
from pliant.findings.finding import Finding, Outcome, Size
from pliant.findings.forgetting import Form, arm, at, forgets_more, fresh, ground, level, setting

STRENGTHS: dict[str, list[Any]] = {
    "plain": [[]],
    "sfa": [[{"sfa": {"p": 0.25, "beta": beta}}] for beta in (0.1, 0.25, 0.5)],
    "l2": [[{"l2_start": {"strength": strength}}] for strength in (1e-3, 1e-2, 1e-1)],
    "wise-ft": [[{"wise_ft": {"alpha": alpha}}] for alpha in (0.9, 0.75, 0.5)],
}
"""Methods of each arm, at each strength."""
RATES: dict[Size, tuple[float, ...]] = {"smoke": (1e-2,), "laptop": (5e-4, 1e-3, 2e-3), "gpu": (1e-4, 3e-4, 1e-3)}
STEPS, RATE, BETA = 20, 0.2, 0.05
"""Of the comparison with SGD."""


class SfaKeepsSource(Finding):
    """Going back a part of the way, several times, forgets less."""

    paper: ClassVar[str] = "Soup to go: mitigating forgetting during continual learning with model averaging, arXiv 2501.05559"
    claim: ClassVar[str] = (
        "Averaging with the start during fine-tuning keeps the source domain, at least as well as an L2 penalty, which it is."
    )
    published: ClassVar[str] = "at or above L2, EWC, WiSE-FT and task arithmetic in learned against kept (Pythia-2.8B, image classifiers)"
    rule: ClassVar[str] = (
        "reproduced when (1) with SGD and an average at every step SFA ends within 0.1% of the way of gradient descent on the L2 penalty; "
        "(2) at equal target loss SFA (p = 0.25) has forgotten less than plain fine-tuning, 90% interval over seeds and documents below "
        "0; (3) the upper end of that against L2 is at most 0.01 nats/token; contradicted when (1) fails or the interval of (2) lies above "
        "0. Rates and strengths are those that forget least there, on other seeds and documents. WiSE-FT is told beside it."
    )

    corpus: Corpus = Field(Corpus.parse("builtin:prose"), description="Pretraining text, to be kept")
    task: Corpus = Field(Corpus.parse("builtin:code"), description="Fine-tuning text")

    def test(self, folder: Path) -> Outcome:
        """Smoke: about three seconds; laptop: about three minutes on one core; gpu: an hour."""
        base = ground(self.size, self.corpus, self.task, folder)
        apart = self._apart(base)
        settings: dict[str, list[Form]] = {
            name: [(rate, methods) for rate in RATES[self.size] for methods in grid[: 1 if self.size == "smoke" else None]]
            for name, grid in STRENGTHS.items()
        }
        arms = {name: arm(base, self.size, forms) for name, forms in settings.items()}
        wanted = level(base, list(arms.values()))
        chosen = {name: one.keeping(wanted) for name, one in arms.items()}
        paths = {name: fresh(trial, self.size) for name, trial in chosen.items()}
        more = {name: forgets_more(base, paths["sfa"], paths[name], wanted) for name in ("plain", "l2", "wise-ft")}
        checks = {
            f"with SGD it ends where gradient descent on L2 does ({apart:.1e} of the way)": apart <= 1e-3,
            f"forgotten, against plain fine-tuning, below 0 ({at(more['plain'])} nats/token)": more["plain"].high < 0,
            f"against L2 at most 0.01 ({at(more['l2'])} nats/token)": more["l2"].high <= 0.01,
        }
        ours = "forgotten at equal target loss, SFA against " + ", ".join(f"{name} {at(effect)}" for name, effect in more.items())
        figures: dict[str, Any] = {
            "settings": {name: setting(trial) for name, trial in chosen.items()},
            "target loss compared at": wanted,
            "ends": {
                name: {"target": [float(path.losses[-1]) for path in found], "forgotten": [float(path.forgotten[-1]) for path in found]}
                for name, found in paths.items()
            },
        }
        return Outcome(self.judged(checks, against=apart > 1e-3 or more["plain"].low > 0), ours + " nats/token", checks, figures)

    def _apart(self, base: Ground) -> float:
        """How far from each other SFA and the L2 penalty end, over how far they go: rate (1 - beta) and strength beta / rate (1 - beta)."""
        start = _weights(base)
        slower, strength = RATE * (1 - BETA), BETA / RATE / (1 - BETA)
        steps = {"sfa": (RATE, {"sfa": {"p": 1 / STEPS, "beta": BETA}}), "l2": (slower, {"l2_start": {"strength": strength}})}
        found: dict[str, Any] = {}
        for name, (rate, method) in steps.items():
            form = {"data": self.task, "lr": rate, "methods": [method], "steps": STEPS, "length": base.model.context}
            with restored(base.model) as model:
                Finetune.parse({**form, "optimizer": {"sgd": {"momentum": 0.0}}, "clip": 0.0}).tune(model, 0, quiet=True)
                found[name] = _weights(base)
        return float(np.linalg.norm(found["sfa"] - found["l2"]) / np.linalg.norm(found["l2"] - start))


def _weights(base: Ground) -> Any:
    """All of them, in a row."""
    return np.concatenate([p.detach().double().cpu().numpy().ravel() for p in base.model.network.parameters()])
