"""Rounding costs more the longer a model was pretrained (arXiv 2411.04330, post-training part).

The loss added by round-to-nearest at 3 to 6 bits on independent annealed runs over growing budgets, with the power of tokens and the
decay with bits refitted here, and the un-decayed trajectory beside it (the rival explanation of arXiv 2510.06213).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from pydantic import Field

from pliant.changes import Quantize
from pliant.data import Corpus
from pliant.findings.arms import curves, deltas, growth, run_arm
from pliant.findings.finding import Finding, Outcome, verdict
from pliant.laws.fitting.rounding_form import fit_rounding, resampled
from pliant.statistics import percentile_interval

BITS = (3, 4, 5, 6)
FROM = 900_000
"""Tokens from which the power law is fitted: below about 100 tokens a parameter the added loss grows much faster."""


class QuantizationTokens(Finding):
    """The loss added by rounding the weights grows as a power of pretraining tokens and falls exponentially with bits."""

    paper: ClassVar[str] = "Scaling Laws for Precision, arXiv 2411.04330, section on post-training quantization"
    claim: ClassVar[str] = "The loss added by rounding is C D^g exp(-P/p) with g > 0: more tokens make the rounded model worse off."
    published: ClassVar[str] = "g = 0.51, p = 0.59 bits (30M to 220M models, 1.5B to 26B tokens, GPTQ)"
    rule: ClassVar[str] = (
        "reproduced when the power of tokens is above 0 and the decay length of bits lies in 0.4 to 1.0, both with their 90% interval "
        "(bootstrap over the points of the fit, D >= 0.9M), the added loss is larger at the last than at the first budget at every width, "
        "and the R2 over bits and tokens is at least 0.9; contradicted when the power's interval lies below 0"
    )

    corpus: Corpus = Field(Corpus.parse("builtin:prose"), description="Pretraining text")
    task: Corpus = Field(Corpus.parse("builtin:code"), description="Other text that the loss is read on")

    def test(self, folder: Path) -> Outcome:
        """Smoke: about half a minute; laptop: about six minutes on two cores; gpu: hours."""
        changes = [{"quantize": {"bits": list(BITS)}}]
        arms = {
            schedule: run_arm("quantization-tokens", self.size, self.corpus, self.task, changes, folder, schedule)
            for schedule in ("cosine", "constant")
        }
        found = {name: curves(runs, Quantize) for name, runs in arms.items()}
        fits = {name: _fit([d for decisions in family.values() for d in decisions]) for name, family in found.items()}
        fit = fits["cosine"]
        checks = {
            f"power of tokens above 0 ({_shown(fit['power'])})": fit["power"][1] > 0,
            f"decay length of bits within 0.4 to 1.0 ({_shown(fit['length'])})": fit["length"][1] >= 0.4 and fit["length"][2] <= 1.0,
            "the added loss grows from the first to the last budget at every width": all(
                growth(decision) > 1 for decisions in found["cosine"].values() for decision in decisions
            ),
            f"R2 at least 0.9 ({fit['r2']:.3f})": fit["r2"] >= 0.9,
        }
        degrading = {name: [bits for bits, family in found[name].items() if any(d.verdict == "degrades" for d in family)] for name in found}
        ours = (
            f"g = {_shown(fit['power'])}, p = {_shown(fit['length'])} bits; un-decayed g = {_shown(fits['constant']['power'])}; "
            f"the last checkpoint degrades at {degrading['cosine'] or 'no'} bits, un-decayed at {degrading['constant'] or 'no'}"
        )
        figures = {name: {"fit": fits[name], "decisions": [d.json() for family in found[name].values() for d in family]} for name in found}
        return Outcome(verdict(checks, against=fit["power"][2] < 0), ours, checks, figures)


def _fit(decisions: list[Any]) -> dict[str, Any]:
    """The form with its 90% intervals over the points with D >= FROM; R2 overall and per width."""
    rows = [
        (point.position, decision.change.weight_bits, delta)
        for decision in decisions
        for point, delta in zip(decision.evidence.curve, deltas(decision), strict=True)
        if point.position >= FROM
    ]
    tokens, bits, rise = zip(*rows, strict=True)
    form, draws = fit_rounding(tokens, bits, rise), resampled(tokens, bits, rise)
    return {
        "power": (form.power, *percentile_interval(draws[:, 0])),
        "length": (form.length, *percentile_interval(draws[:, 1])),
        "r2": form.r2,
        "r2_by_bits": {int(width): r2 for width, r2 in form.r2_by_bits.items()},
        "points": form.points,
    }


def _shown(interval: tuple[float, float, float]) -> str:
    return f"{interval[0]:.2f} [{interval[1]:.2f}, {interval[2]:.2f}]"
