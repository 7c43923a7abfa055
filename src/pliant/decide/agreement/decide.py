"""How accurate are these heads on data that nobody labelled? Answered from agreement, where agreement can be trusted.

Idea: ALine-D (see `line`) gives each head's accuracy on unlabelled data; the answer is the mean over heads. The interval is of items drawn
again, labelled and unlabelled, of the line through other heads, and of accuracies that lie beside the line, all on one side, by as much
as agreements do. It is refused where R2 of the agreement line is at most `TRUSTED`.
What goes wrong: heads that differ in little but chance (order of the data, subsets of it) are wrong together: they agree as much on shifted
data as before while all of them lose, and R2 may be high. They show it on labelled data already, by agreeing with each other more often
than they are right; the verdict is then `doubtful`, and the interval knows nothing of it.
Source: arXiv 2404.01542.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from pliant.decide.agreement.answers import HeadAnswers
from pliant.decide.agreement.baselines import atc, average_confidence, naive_agreement
from pliant.decide.agreement.line import AgreementLine, aline_d, aline_s, fraction, line_through, pairs_of, probit
from pliant.errors import PliantError
from pliant.statistics import Array, percentile_interval, resample_counts

TRUSTED = 0.95
"""R2 of the agreement line above which it is believed."""
TOGETHER = 0.01
"""By how much heads may agree more often than they are right on labelled data."""
SPREAD = 0.3
"""Range of accuracies, in probits, below which a line is drawn through a point."""
DRAWS = 200


@dataclass(frozen=True)
class AccuracyDecision:
    """The mean accuracy of the heads on unlabelled data, with what stands beside it; no answer where it is not to be trusted."""

    low: float
    high: float
    line: AgreementLine
    heads: Sequence[str]
    known: Array
    """(heads,) accuracy on labelled data."""
    by_pairs: Array
    """(heads,) ALine-D."""
    by_line: Array
    """(heads,) ALine-S."""
    baselines: Mapping[str, float]
    agreement: float
    """Mean over pairs, on labelled data."""
    items: int
    caveats: Sequence[str] = field(default=())
    name: str = "accuracy on unlabelled data"

    @property
    def trusted(self) -> bool:
        """Whether agreement is on the line."""
        return self.line.r2 > TRUSTED

    @property
    def verdict(self) -> str:
        """trusted, doubtful (answered, but the heads are too alike) or refused."""
        return "refused" if not self.trusted else "doubtful" if self.together else "trusted"

    @property
    def together(self) -> bool:
        """Whether heads are wrong in the same way."""
        return self.agreement > float(self.known.mean()) + TOGETHER

    @property
    def answer(self) -> float | None:
        """The mean over heads; None where it is refused."""
        return float(self.by_pairs.mean()) if self.trusted else None

    def sentence(self) -> str:
        """The answer."""
        if self.answer is None:
            return f"agreement is not on a line here (R2 {self.line.r2:.4f}, needs more than {TRUSTED}): accuracy without labels is unknown"
        told = f"{self.answer:.3f} [{self.low:.3f}, {self.high:.3f}] of {self.items:,} unlabelled items are answered rightly"
        return f"{told}, mean over {len(self.heads)} heads (R2 {self.line.r2:.3f}; {self.known.mean():.3f} on labelled data)"

    def json(self) -> dict[str, Any]:
        """Plain values."""
        columns = zip(self.heads, self.known.tolist(), self.by_pairs.tolist(), self.by_line.tolist(), strict=True)
        trusted = self.trusted
        return {
            "question": "accuracy",
            "answer": self.answer,
            "low": self.low if trusted else None,
            "high": self.high if trusted else None,
            "verdict": self.verdict,
            "r2": self.line.r2,
            "baselines": dict(self.baselines),
            "slope": self.line.slope,
            "bias": self.line.bias,
            "estimates": {"aline_d": float(self.by_pairs.mean()), "aline_s": float(self.by_line.mean())},
            "heads": [{"head": name, "labelled": known, "aline_d": by, "aline_s": line} for name, known, by, line in columns],
            "caveats": list(self.caveats),
        }


def decide(answers: HeadAnswers, seed: int = 0, confidence: float = 0.9) -> AccuracyDecision:
    """The answer, from what the heads answer. Raises PliantError where there is no line at all."""
    heads = len(answers.heads)
    first, second = pairs_of(heads)
    alike = answers.alike
    agreements = [found.mean(1, dtype=np.float64) for found in alike]
    known, shifted = (probit(found, part.shape[1]) for found, part in zip(agreements, alike, strict=True))
    accuracy = answers.right.mean(1)
    z = probit(accuracy, answers.right.shape[1])
    line = line_through(known, shifted)
    low, high = _interval(answers, seed, confidence)
    baselines = {
        "average_confidence": average_confidence(answers.shifted_sure),
        "atc": atc(answers.known_sure, answers.right, answers.shifted_sure),
        "naive_agreement": naive_agreement(agreements[1], first, second, heads),
    }
    found = AccuracyDecision(
        low=low,
        high=high,
        line=line,
        heads=answers.heads,
        known=accuracy,
        by_pairs=fraction(aline_d(line.slope, z, known, shifted)),
        by_line=fraction(aline_s(line, z)),
        baselines={name: float(value.mean()) for name, value in baselines.items()},
        agreement=float(agreements[0].mean()),
        items=answers.shifted.shape[1],
    )
    return replace(found, caveats=_caveats(found, float(np.ptp(z))))


def _interval(answers: HeadAnswers, seed: int, confidence: float) -> tuple[float, float]:
    """Of the mean over these heads: items and heads drawn again, and accuracies as far from the line as agreements are."""
    heads = len(answers.heads)
    first, second = pairs_of(heads)
    items = [part.shape[1] for part in answers.alike]
    counts = [resample_counts(count, DRAWS, seed + place) for place, count in enumerate(items)]
    known, shifted = (
        probit((part @ drawn.T.astype(np.float32)).astype(np.float64) / count, count)
        for part, drawn, count in zip(answers.alike, counts, items, strict=True)
    )
    accuracy = probit(answers.right @ counts[0].T / items[0], items[0])
    chosen = resample_counts(heads, DRAWS, seed + 2)
    beside = np.random.default_rng(seed + 3).standard_normal(DRAWS)
    found: list[float] = []
    for draw in range(DRAWS):
        weights = (chosen[draw, first] * chosen[draw, second]).astype(np.float64)
        try:
            line = line_through(known[:, draw], shifted[:, draw], weights)
        except PliantError:  # the same head over and over
            continue
        misfit = float(np.std(shifted[:, draw] - line.slope * known[:, draw] - line.bias))
        z = aline_d(line.slope, accuracy[:, draw], known[:, draw], shifted[:, draw])
        found.append(float(fraction(z + misfit * beside[draw]).mean()))
    return percentile_interval(np.array(found), confidence)


def _caveats(found: AccuracyDecision, spread: float) -> list[str]:
    told: list[str] = []
    if spread < SPREAD:
        told.append(f"accuracies on labelled data span {spread:.2f} probits, less than {SPREAD}; train heads for more different times")
    if found.together:
        right = f"{found.known.mean():.3f} on labelled data"
        told.append(
            f"heads agree with each other more often ({found.agreement:.3f}) than they are right ({right}): "
            "they are wrong in the same way; use random starts"
        )
    return told
