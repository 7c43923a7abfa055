"""What else could be changed instead, with its effect where the fits can say it. In JSON an alternative is a `lever`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pliant.decide.fits.bootstrapped import BootstrappedFit, total
from pliant.decide.fits.optimum import minimise

MILDER: dict[str, tuple[str, float, float]] = {
    "strength": ("a change of half the strength (smaller learning rate, less noise)", 0.5, 0.0),
    "Ppost": ("one more bit after training", 1.0, 1.0),
    "Pw": ("one more bit for the weights in training", 1.0, 1.0),
    "U": ("twice the unique tokens (half the repetitions)", 2.0, 0.0),
}
"""Column -> (what it means, factor, summand) of a milder setting."""

UNMEASURED = ("a shorter or milder annealing, to a higher final learning rate", "averaging the last checkpoints")


def alternatives(
    fits: Sequence[BootstrappedFit], at: Mapping[str, float], free: str, low: float, high: float, decided: Sequence[str] = ()
) -> list[dict[str, Any]]:
    """The lowest loss over `free` in [low, high] under each milder setting, and what that gains over `at` (nats/token).

    `decided` are columns that the decision itself has just chosen.
    """
    columns = {column for fit in fits for column in fit.law.column_names}
    now = minimise(lambda position: total(fits, {**at, free: position}), low, high)[1][0]
    found: list[dict[str, Any]] = []
    for name, (meaning, factor, summand) in MILDER.items():
        if name in at and name in columns and name not in decided:
            milder = {**at, name: at[name] * factor + summand}
            best, loss = minimise(lambda position, milder=milder: total(fits, {**milder, free: position}), low, high)
            found.append({"lever": meaning, name: milder[name], free: float(best[0]), "loss": float(loss[0]), "gain": float(now - loss[0])})
    return found + [{"lever": meaning, "gain": None, "note": "not in these fits; measure it"} for meaning in UNMEASURED]
