"""What a task will measure on a model of this size and training: loss from size and tokens, accuracy from loss (the two-step ladder).

Idea: one fit says the loss at N and D, another the task's accuracy at a loss. What the loss of a new run may be comes from the table in the
first fit, as `pliant predict` extrapolates it; each of those losses goes through one bootstrap sample of the second, so that the
interval is of both steps together. With the task's noise added it is that of a measurement.
When to use it: before a large run, from a ladder of small ones that were evaluated on the task; best with the loss of the right answers.
What goes wrong: an answer is given also far from the runs and where the task's audit does not hold, with the verdict `undetermined`, since
ladders are climbed to go far. Losses below all those that the second fit saw rest on the form of its curve alone; the distance is told. The
two fits must be of one loss in one unit. What the same runs share in both is not counted. With fewer than 8 runs, or from
bootstrap samples alone, the loss is the first law's own, and its interval too narrow beyond the runs.
Source: Bhagia et al., arXiv 2412.04403; two steps after arXiv 2403.08540.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.decide.fits.answer import Decision, distances, doubt, interval, obstacle, warnings_of
from pliant.decide.fits.asked import possible
from pliant.decide.fits.audits import audits
from pliant.decide.fits.bootstrapped import BootstrappedFit, paired
from pliant.decide.fits.next_run import next_run
from pliant.errors import PliantError
from pliant.laws.extrapolation.extrapolation import FAR
from pliant.laws.extrapolation.of_fit import from_fit, runs_at
from pliant.laws.extrapolation.rolling import FEWEST
from pliant.numbers import format_count
from pliant.statistics import Array

if TYPE_CHECKING:
    from pliant.laws import Fit

QUESTION = "what a downstream task will measure"


def decide(loss: Fit | BootstrappedFit, task: Fit | BootstrappedFit, at: Mapping[str, float], affordable: float | None = None) -> Decision:
    """The value that `task` predicts at the loss that `loss` predicts at `at`, with the joint 90% interval.

    `task` is of a law that reads the loss as L (`accuracy`, `error`). Raises PliantError for laws that do not chain, for fits of different
    losses, and for values that cannot be.
    """
    if loss.law.target != "loss" or "L" not in task.law.column_names:
        raise PliantError(
            f"{QUESTION}: give a fit of a law of the loss, then one that reads a loss L (accuracy, error); these are of "
            f"{loss.law.name} and {task.law.name}"
        )
    if "L" in at:
        raise PliantError(f"{QUESTION}: L is what the first fit says; leave it out of what is given")
    for name, value in at.items():
        possible(name, value)
    fits = first, second = paired([loss, task], at)
    _same_loss(first, second)
    step = _losses(loss, first, at)
    centre = float(step.samples[0, 0])
    values = second.predict({**at, "L": step.samples})[:, 0]
    measured = _noisy(second.predict({**at, "L": step.measured}), second, np.random.default_rng(1))[:, 0]
    lowest, highest = second.range("L")
    low, high = interval(values)
    target = task.law.target
    evidence: dict[str, Any] = {
        "at": dict(at),
        "loss": centre,
        "loss_interval": step.interval,
        "loss_by": step.how,
        "new_run_interval": interval(measured),
        "parts": {"loss": _width(_fixed(second).predict({**at, "L": step.samples})), "task": _width(second.predict({**at, "L": centre}))},
        "loss_beyond": max(lowest - centre, centre - highest, 0.0),
        "predicted_by": f"loss by {step.how}; {target} by law {task.law.name} as fitted, at every such loss",
        "figures": {"loss": (centre, *step.interval), f"{target} of one new run": (float(values[0]), *interval(measured))},
        "units": {"loss": first.law.unit, f"{target} of one new run": task.law.unit},
    }
    beyond = f"; the loss lies {evidence['loss_beyond']:.3g} {first.law.unit} beyond those measured" if evidence["loss_beyond"] else ""
    where = ", ".join(f"{name} {format_count(value)}" for name, value in at.items())
    setting = {**at, "L": centre}
    why = step.doubt or obstacle([second], setting) or doubt([second], setting)
    return Decision(
        QUESTION,
        "undetermined" if why else "answered",
        f"{target} {values[0]:.4g} at {where}{beyond}" + (f", but {why}" if why else ""),
        float(values[0]), low, high,
        audit=audits(fits, setting),
        evidence={**evidence, "distance": distances(fits, setting)},
        next=next_run(fits, second.predict({**at, "L": first.predict({**at})})[:, 0], affordable),
        warnings=warnings_of(fits) + list(step.remarks),
    )  # fmt: skip


@dataclass(frozen=True)
class _LossStep:
    """The first step: the loss there, with what it may be."""

    samples: Array
    """(samples, 1), of which the first is the prediction itself."""
    measured: Array
    """The same, as one run would measure them."""
    interval: tuple[float | None, float | None]
    how: str
    doubt: str | None
    remarks: tuple[str, ...] = ()


def _losses(loss: Fit | BootstrappedFit, first: BootstrappedFit, at: Mapping[str, float]) -> _LossStep:
    """By extrapolation from the fit's table; from bootstrap samples alone, or of few runs, by the law as fitted."""
    if isinstance(loss, BootstrappedFit) or len(loss.target) < FEWEST:
        samples = first.predict({**at})
        measured = _noisy(samples, first, np.random.default_rng(0))
        why = obstacle([first], at) or doubt([first], at)
        return _LossStep(samples, measured, interval(samples[:, 0]), f"law {first.law.name} as fitted", why)
    maker, targets = from_fit(loss), runs_at(loss, at)
    found = maker.predict(targets)
    drawn = maker.draws(targets, len(first) - 1)
    samples = np.concatenate([found.value[None], drawn])
    far = f"the run is {found.beyond[0]:.3g} times beyond the largest of the runs" if found.beyond[0] > FAR else None
    return _LossStep(samples, samples, (float(found.low[0]), float(found.high[0])), found.how, far, found.remarks)


def _same_loss(first: BootstrappedFit, second: BootstrappedFit) -> None:
    """Raises PliantError unless the losses that the first fit saw and those that the second reads overlap."""
    if first.target is None:
        return
    ends = float(first.target.min()), float(first.target.max())
    low, high = second.range("L")
    if ends[1] < low or high < ends[0]:
        raise PliantError(
            f"{QUESTION}: the first fit is of losses from {ends[0]:.3g} to {ends[1]:.3g}, the second's L from {low:.3g} to {high:.3g}; "
            "they must be of one loss in one unit"
        )


def _fixed(fit: BootstrappedFit) -> BootstrappedFit:
    """The fit with its best parameters in every sample."""
    parameters = {name: np.broadcast_to(values[:1], values.shape) for name, values in fit.parameters.items()}
    return replace(fit, parameters=parameters)


def _noisy(values: Array, fit: BootstrappedFit, generator: np.random.Generator) -> Array:
    """Values (samples, points) as one run would measure them."""
    error = fit.noise * generator.standard_normal(values.shape)
    return values * np.exp(error) if fit.logs else values + error


def _width(values: Array) -> float | None:
    """Width of the 90% interval that one step alone makes."""
    low, high = interval(values[:, 0])
    return None if low is None or high is None else high - low
