"""More of a domain at the end of training, at equal compute and equal learning rates (arXiv 2406.03476).

One run on p0; branches of it go on for the last share q of the tokens: on p1, which has more of the domain; on p0, the control, which
says what the falling learning rate does by itself; and on p1 without the domain, which prices it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

import pliant as pl
from pliant.decide.data.against import ArmEffect, decide
from pliant.findings.domains import domains
from pliant.findings.finding import Finding, Outcome, Size, verdict
from pliant.study.branches import BEFORE, WHOLE

TEXTS = ("literature_classic_books", "encyclopedic_wiki_vital", "math_stacks_project", "code_thealgorithms")
P0 = (0.3435, 0.367, 0.0717, 0.2178)
P1 = (0.0, 0.3, 0.35, 0.35)
"""The published shares of a large crawl, a filtered one, domains, and code: of tokens before, and at the end."""


@dataclass(frozen=True)
class UpsamplingScale:
    """How much is trained at one size."""

    model: str
    tokens: str
    shares: tuple[float, ...]
    seeds: int
    lr: float = 1e-2


SCALES: dict[Size, UpsamplingScale] = {
    "smoke": UpsamplingScale("llama-16x1", "0.1M", (0.1, 0.3), 1),
    "laptop": UpsamplingScale("llama-16x2", "1M", (0.1, 0.2, 0.3), 5),
    "gpu": UpsamplingScale("llama-10m", "400M", (0.05, 0.1, 0.2, 0.3), 3, 2e-3),
}


class DomainUpsampling(Finding):
    """Changing the mixture at the end lifts the upsampled domain, at a price to the rest."""

    paper: ClassVar[str] = "Does your data spark joy? Performance gains from domain upsampling at the end of training, arXiv 2406.03476"
    claim: ClassVar[str] = "Upsampling domains over the last 5 to 30% of training makes the model better at them, at equal compute."
    published: ClassVar[str] = (
        "over the last 20%, 7B: +6.9 (MMLU), +8.3 (GSM8K) and +6.2 (HumanEval) points; more with a larger share up to 20 or 30%"
    )
    rule: ClassVar[str] = (
        "reproduced when, at every share q of the tokens and against the branch that goes on as before, the domain's held-out loss has its "
        "90% interval (over seeds and documents) below zero and that of the text with less has it above, the domain's gain grows with q, "
        "and leaving the domain out of the last phase costs the domain more than it gains there; contradicted when the domain's interval "
        "lies above zero at the largest share"
    )

    corpus: str | None = Field(None, description="A folder with a file of text for each domain; by default built-in prose and code")

    def test(self, folder: Path) -> Outcome:
        """Smoke: some seconds; laptop: about two minutes on two cores; gpu: an hour."""
        mixture, general, domain = self._mixture()
        found = {share: self._effects(share, mixture, general, domain, folder) for share in SCALES[self.size].shares}
        checks: dict[str, bool] = {}
        for share, (better, worse, price) in found.items():
            checks[f"q = {share:.0%}: {domain} falls ({_told(better)})"] = better.high < 0
            checks[f"q = {share:.0%}: {general} rises ({_told(worse)})"] = worse.low > 0
            checks[f"q = {share:.0%}: {domain} without itself costs ({_told(price)})"] = price.value > -better.value
        gains = [better.value for better, _, _ in found.values()]
        checks["the gain grows with q"] = gains == sorted(gains, reverse=True)
        last = found[max(found)][0]
        told = "; ".join(f"q = {q:.0%}: {domain} {_told(better)}, {general} {_told(worse)}" for q, (better, worse, _) in found.items())
        figures: dict[str, Any] = {
            f"{q:g}": {name: vars(e) for name, e in zip(("domain", "general", "price"), parts, strict=True)} for q, parts in found.items()
        }
        return Outcome(verdict(checks, against=last.low > 0), told, checks, figures)

    def _mixture(self) -> tuple[dict[str, tuple[str, float, float]], str, str]:
        """Source, share before and at the end of each text; which has less at the end, and which is the domain."""
        texts = domains(self.corpus)
        if self.corpus is None:
            return {"prose": (texts["prose"].source, 0.9, 0.3), "code": (texts["code"].source, 0.1, 0.7)}, "prose", "code"
        names = TEXTS if set(TEXTS) <= set(texts) else tuple(texts)[:4]
        rows = zip(names, P0[: len(names)], P1[: len(names)], strict=True)
        before, later = sum(P0[: len(names)]), sum(P1[: len(names)])
        found = {name: (texts[name].source, p0 / before, p1 / later) for name, p0, p1 in rows}
        return found, names[0], names[min(2, len(names) - 1)]

    def _effects(
        self, share: float, mixture: dict[str, tuple[str, float, float]], general: str, domain: str, folder: Path
    ) -> tuple[ArmEffect, ArmEffect, ArmEffect]:
        """What upsampling over the last share does to domain and general text, and what leaving the domain out does to the domain."""
        scale = SCALES[self.size]
        phases = [
            {"until": f"{100 * (1 - share):g}%", "weights": {name: before for name, (_, before, _) in mixture.items()}},
            {"weights": {name: later for name, (_, _, later) in mixture.items()}},
        ]
        ladder: dict[str, Any] = {
            "model": {"preset": scale.model, "tokenizer": "ascii", "context": 64},
            "corpus": {"mixture": {name: source for name, (source, _, _) in mixture.items()}, "phases": phases},
            "tokens": scale.tokens,
            "lr": scale.lr,
            "precision": "bf16" if self.size == "gpu" else "fp32",
        }
        study: dict[str, Any] = {
            "name": f"domain-upsampling-{share:g}",
            "checkpoints": {"branches": {"ladder": ladder, "without": [domain]}},
            "measures": {name: {"loss": {"data": mixture[name][0], "samples": 512}} for name in (general, domain)},
            "seeds": list(range(self.first_seed, self.first_seed + scale.seeds)),
        }
        runs = pl.run(study, folder, device="cuda" if self.size == "gpu" else None)
        found = {
            against: {answer.measure: {e.arm: e for e in answer.effects} for answer in decide(runs.own, against, together=False)}
            for against in (BEFORE, WHOLE)
        }
        return found[BEFORE][domain][WHOLE], found[BEFORE][general][WHOLE], found[WHOLE][domain][f"without {domain}"]


def _told(effect: ArmEffect) -> str:
    return f"{effect.value:+.3f} [{effect.low:+.3f}, {effect.high:+.3f}]"
