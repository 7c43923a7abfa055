"""Which checkpoint is best once it is changed, and is more pretraining still worth it?

Idea: for every change and measure of a ledger, the curve over pretraining tokens is judged by `pliant.decide.curves.inflection`; beside
it stand what the change cost at each checkpoint (sensitivity), and what else could explain the picture.
When to use it: after `pliant run` of any ladder of two or more checkpoints.
Cost: about 20 ms a curve.
What goes wrong: each verdict errs in 5% of cases on its own; among forty decisions expect two. Learning-rate decay is a rival
explanation wherever the final learning rates differ along the ladder or are not known (arXiv 2604.13627).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.decide.curves.curve import Curve
from pliant.decide.curves.inflection import Inflection, Verdict, inflection
from pliant.decide.curves.labels import by_ladder, label
from pliant.decide.curves.series import Series, read, token_count
from pliant.decide.curves.tuned import Tuned, tuned
from pliant.errors import PliantError

if TYPE_CHECKING:
    from pliant.ledger.ledger import Ledger
    from pliant.study.runs import Runs


@dataclass(frozen=True)
class CheckpointDecision:
    """Where one measure after one change turns, along one ladder; fields as in `Inflection`.

    `change` is the change's canonical form (its `lr` is `tuned` where the rate was chosen per checkpoint); `metric` is the name
    the study gives the measure. `evidence` holds what the answer rests on, as plain JSON values: see `_evidence`.
    """

    change: dict[str, Any]
    metric: str
    verdict: Verdict
    best: int
    low: int
    high: int
    rise: float
    rise_low: float
    rise_high: float
    evidence: dict[str, Any] = field(repr=False)

    def json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{label(self.change)}, {self.metric}: {self.sentence()}"

    def sentence(self) -> str:
        """The answer in one sentence."""
        last = token_count(self.evidence["curve"][-1]["tokens"])
        best, low, high = (token_count(tokens) for tokens in (self.best, self.low, self.high))
        between = f", 90% interval {low} to {high}" if low != high else ""
        by = f"{abs(self.rise):.3g} {self.evidence['unit']}"
        if self.verdict == "degrades":
            return f"best at {best} tokens{between}; the checkpoint at {last} is worse by {by}"
        if self.verdict == "improves":
            return f"still improves at {last} tokens"
        return f"undetermined: any checkpoint from {low} to {high} tokens may be the best"


class Decisions(list[CheckpointDecision]):
    """A list that prints as a line for each decision, under the name of its ladder where there are several."""

    def __str__(self) -> str:
        ladders = by_ladder(self)
        parts = ["\n".join(map(str, found)) for found in ladders.values()]
        return "\n\n".join(f"{name}\n{part}" for name, part in zip(ladders, parts, strict=True)) if len(parts) > 1 else "".join(parts)


def decide(results: Runs | Ledger | str | Path) -> Decisions:
    """One decision for every (ladder, change, measure) of a study's runs or of a whole ledger, unchanged checkpoints included.

    Changes swept over a learning rate are also judged at the rate tuned per checkpoint. Raises PliantError when no change
    was measured at two or more token counts.
    """
    from pliant.ledger.ledger import Ledger

    if isinstance(results, (str, Path, Ledger)):
        ledger, study = results if isinstance(results, Ledger) else Ledger(results), None
    else:
        ledger, study = results.ledger, results.study.name
    series = [found for found in read(ledger, study) if len(found.points) >= 2]
    if not series:
        raise PliantError(f"{ledger.folder}: {_missing(ledger)}")
    views = [Tuned(found, {}, []) for found in series] + tuned(series)
    return Decisions(_decide(view, _tokens(view.series.ladder, series)) for view in views)


def _missing(ledger: Ledger) -> str:
    """Why there is nothing to decide."""
    (unknown,) = ledger.sql("select count(distinct checkpoint) as n from records where status = 'ok' and tokens is null")["n"].to_pylist()
    if unknown:
        return (
            f"the training tokens of {unknown} checkpoints are not known: give `batch_tokens` (tokens a step) or "
            "`tokens: {NAME: 100M}` with the study's checkpoints, and run it again; nothing is measured twice"
        )
    return "no change was measured at two checkpoints of different tokens; a ladder needs at least two"


def _tokens(ladder: Mapping[str, Any], series: Sequence[Series]) -> set[int]:
    """Every token count at which anything was measured along a ladder."""
    return {point.tokens for found in series if found.ladder == ladder for point in found.points}


def _decide(view: Tuned, ladder: set[int]) -> CheckpointDecision:
    series = view.series
    curve = series.curve()
    found = inflection(curve)
    return CheckpointDecision(
        change=series.change,
        metric=series.measure,
        verdict=found.verdict,
        best=found.best,
        low=found.low,
        high=found.high,
        rise=found.rise,
        rise_low=found.rise_low,
        rise_high=found.rise_high,
        evidence=_evidence(view, curve, found, ladder),
    )


def _evidence(view: Tuned, curve: Curve, found: Inflection, ladder: set[int]) -> dict[str, Any]:
    """What the answer rests on.

    `curve` has one entry per checkpoint: tokens, value, stderr (of the value alone) and paired_stderr (for comparing points of
    the curve), unimodal fit, base value, delta (what the change did, paired) with its stderr, final learning rate, seeds,
    draws, and the tuned rate. `spearman` is the rank correlation of delta with
    tokens.
    """
    series = view.series
    rises, base = series.rises(), series.base()
    points = _table(series, curve, found, view.rates)
    for name, other in (("base", base), ("delta", rises)):
        values = dict(zip(other.tokens.tolist(), zip(other.values, other.stderr(), strict=True), strict=True)) if other else {}
        for point in points:
            value, stderr = values.get(point["tokens"], (None, None))
            point |= {name: _plain(value), f"{name}_stderr": _plain(stderr)}
    return {
        **series.ladder,
        "measure": series.measure,
        "metric": series.metric,
        "unit": series.unit,
        "higher_is_better": series.higher_is_better,
        "seeds": min(len(point.values) for point in series.points),
        "runs": curve.runs,
        "draws": min(point.values.shape[1] for point in series.points) * series.shares,
        "samples": len(series.weights),
        "documents": len(set(series.documents)),
        "spearman": spearman(rises.tokens, rises.values) if rises and series.change["kind"] != "none" else None,
        "roughness": found.roughness,
        "turning": found.turning,
        "monotone_misfit": found.monotone_misfit,
        "unimodal_misfit": found.unimodal_misfit,
        "final_lr_differs": final_lr_differs(series),
        "caveats": [*found.caveats, *_caveats(series, ladder), *view.caveats],
        "curve": points,
    }


def _table(series: Series, curve: Curve, found: Inflection, rates: Mapping[int, float]) -> list[dict[str, Any]]:
    return [
        {
            "tokens": point.tokens,
            "value": float(value),
            "stderr": float(stderr),
            "paired_stderr": float(np.hypot(paired, found.roughness)),
            "fit": float(fit),
            "final_lr": point.final_lr,
            "seeds": len(point.values),
            "draws": point.values.shape[1] * series.shares,
            **({"lr": rates[point.tokens]} if rates else {}),
        }
        for point, value, stderr, paired, fit in zip(
            series.points, curve.values, curve.stderr(), curve.paired_stderr(), found.fit, strict=True
        )
    ]


def _plain(value: float | None) -> float | None:
    return None if value is None else float(value)


def final_lr_differs(series: Series) -> bool | None:
    """Whether the learning rate at the end of training differs along the ladder; None where it is not known everywhere."""
    rates = [point.final_lr for point in series.points]
    known = [value for value in rates if value is not None]
    if len(known) < len(rates):
        return None
    return max(known) - min(known) > 0.01 * max(known)


def _caveats(series: Series, ladder: set[int]) -> list[str]:
    found: list[str] = []
    differs = final_lr_differs(series)
    if differs:
        ends = [point.final_lr for point in series.points]
        found.append(f"final learning rates differ along the ladder ({ends[0]:g} to {ends[-1]:g}): decay may explain the curve")
    elif differs is None:
        found.append("final learning rates are not known: learning-rate decay cannot be ruled out as the explanation")
    missing = ladder - {point.tokens for point in series.points}
    if missing:
        found.append(f"no value at {_listed(missing)} tokens")
    return found


def _listed(tokens: set[int]) -> str:
    return ", ".join(token_count(count) for count in sorted(tokens))


def spearman(first: Any, second: Any) -> float | None:
    """Rank correlation, ties sharing their mean rank; None where one of the two is constant."""
    ranks = [_ranks(np.asarray(values, float)) for values in (first, second)]
    if any(np.ptp(rank) == 0 for rank in ranks):
        return None
    return round(float(np.corrcoef(ranks[0], ranks[1])[0, 1]), 12)  # one is one


def _ranks(values: Any) -> Any:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[place]
