"""The result of a fit: its values (`fitted`) with what can be done with them as methods."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pliant.laws.fitting.fitted import FittedLaw
from pliant.laws.fitting.profile import Profile, profile
from pliant.laws.fitting.saving import load, save
from pliant.laws.fitting.summary import summary, text
from pliant.laws.law import Law


class Fit(FittedLaw):
    """A fitted law that can be summarised, profiled, saved and loaded."""

    def summary(self, confidence: float = 0.9) -> dict[str, Any]:
        """Plain values: law, n, objective, parameters with intervals, starts, audit, and what there is to be wary of."""
        return summary(self, confidence)

    def __repr__(self) -> str:
        """A few lines for people: parameters with 90% intervals, the audit, what is unidentifiable."""
        return text(self)

    def profile(self, parameter: str, points: int = 41) -> Profile:
        """The best objective for each value of one parameter, and the interval where it is not significantly worse."""
        return profile(self, parameter, points)

    def save(self, path: str | Path) -> None:
        """Write the fit with its table and bootstrap samples as JSON. Raises PliantError when the place cannot be written."""
        save(self, Path(path))

    @classmethod
    def load(cls, path: str | Path, law: Law | None = None) -> Self:
        """Read what `save` wrote; give `law` when it is in no catalog. Raises PliantError for any other file."""
        return load(Path(path), cls, law)
