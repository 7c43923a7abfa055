"""What accuracy a model of this size and training will have: loss from size and tokens, accuracy from loss (the two-step ladder).

Idea: one fit says the loss at N and D, another the task's accuracy at a loss; every bootstrap sample of the first goes through one of the
second, so that the interval is of both steps together. With the noise of one run added to each step it is that of a measurement.
When to use it: before a large run, from a ladder of small ones that were evaluated on the task; best with the loss of the right answers.
What goes wrong: an answer is given also far from the runs and where an audit fails, with the verdict `undetermined`, since ladders are
climbed to go far. Losses below all those that the second fit saw rest on the form of its curve alone; the distance is told. The two
fits must be of one loss in one unit. Samples of the two are paired at random: what the same runs share in both is not counted.
Source: Bhagia et al., arXiv 2412.04403; two steps after arXiv 2403.08540.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.decide.fits.answer import Decision, distances, interval, obstacle, warnings_of
from pliant.decide.fits.asked import possible
from pliant.decide.fits.bootstrapped import BootstrappedFit, paired
from pliant.decide.fits.next_run import next_run
from pliant.errors import PliantError
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
    losses = first.predict({**at})
    values = second.predict({**at, "L": losses})[:, 0]
    generator = np.random.default_rng(0)
    measured_loss = _noisy(losses, first, generator)
    measured = _noisy(second.predict({**at, "L": measured_loss}), second, generator)[:, 0]
    lowest, highest = second.range("L")
    centre = float(losses[0, 0])
    low, high = interval(values)
    evidence: dict[str, Any] = {
        "at": dict(at),
        "loss": centre,
        "loss_interval": interval(losses[:, 0]),
        "new_run_interval": interval(measured),
        "parts": {"loss": _width(_fixed(second).predict({**at, "L": losses})), "task": _width(second.predict({**at, "L": centre}))},
        "loss_beyond": max(lowest - centre, centre - highest, 0.0),
        "figures": {
            "loss": (centre, *interval(losses[:, 0])),
            f"{task.law.target} of one new run": (float(values[0]), *interval(measured)),
        },
    }
    beyond = f"; the loss lies {evidence['loss_beyond']:.3g} beyond those that were measured" if evidence["loss_beyond"] else ""
    where = ", ".join(f"{name} {format_count(value)}" for name, value in at.items())
    setting = {**at, "L": centre}
    doubt = obstacle(fits, setting) or next((str(fit.audit.get("reason")) for fit in fits if fit.audit["verdict"] != "holds"), None)
    return Decision(
        QUESTION,
        "undetermined" if doubt else "answered",
        f"{task.law.target} {values[0]:.4g} at {where}{beyond}" + (f", but {doubt}" if doubt else ""),
        float(values[0]), low, high,
        audit=[{"law": fit.law.name, **fit.audit} for fit in fits],
        evidence={**evidence, "distance": distances(fits, setting)},
        next=next_run(fits, values, affordable),
        warnings=warnings_of(fits),
    )  # fmt: skip


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
