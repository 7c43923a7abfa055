"""What to beware of in an answer: settings that were dropped, the best one at an edge of what was tried, a single seed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pliant.decide.methods.halving import Finalist, TunedArm
    from pliant.decide.methods.plan import SearchPlan


def caveats(tuned: Sequence[TunedArm], finalists: Sequence[Finalist], plan: SearchPlan) -> list[str]:
    """One line each."""
    found: list[str] = []
    for one in tuned:
        if one.dropped and one.finished:
            rates = ", ".join(f"lr {trial.lr:g}" for trial, _ in one.dropped)
            found.append(f"{one.arm.name}: {len(one.dropped)} of {plan.trials} settings dropped ({rates}): {one.dropped[0][1]}")
    for final in finalists:
        found += _edges(final)
    if plan.seeds == 1 and finalists:
        found.append("one seed: how much another would change is in no interval")
    return found


def _edges(final: Finalist) -> list[str]:
    """The best learning rate or strength is the lowest or highest of those that were tried."""
    tried: list[tuple[str, float, list[float]]] = [("learning rate", final.trial.lr, sorted(final.tuned.rates))]
    for place, method in enumerate(final.trial.methods):
        field = method.strength_field
        values = {getattr(choice[place], field) for choice in final.tuned.arm.choices} if field else set[float]()
        if values and all(isinstance(value, (int, float)) for value in values):
            tried.append((field.replace("_", " "), getattr(method, field), sorted(values)))
    return [
        f"{final.tuned.arm.name}: its best {what} is the {word} that was tried, {edge:g}; a better one may lie beyond"
        for what, best, values in tried
        for word, edge in (("lowest", values[0]), ("highest", values[-1]))
        if best == edge and values[0] < values[-1]
    ]
