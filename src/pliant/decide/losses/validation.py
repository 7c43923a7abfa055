"""What trained models are judged by: measures on data that they were not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pliant.errors import PliantError
from pliant.measures import MEASURES
from pliant.spec import nearest

if TYPE_CHECKING:
    from pliant.data import Part
    from pliant.measures import Measure, Reading
    from pliant.measures.measure import Better
    from pliant.models import Model
    from pliant.objectives import Objective


@dataclass(frozen=True)
class Validation:
    """What a trained model is judged by."""

    measures: Sequence[Measure]
    """Of several the worst reading counts: the worst region."""
    metric: str | None = None
    """Which of a measure's readings; the first one unless said."""

    def readings(self, model: Model) -> list[Reading]:
        """One of each measure. Raises PliantError as measures do, and for a metric that they do not read."""
        found: list[Reading] = []
        for measure in self.measures:
            told = {reading.metric: reading for reading in measure.readings(model)}
            if self.metric is not None and self.metric not in told:
                raise PliantError(f"--metric: {measure.kind} does not read {self.metric!r}; {nearest(self.metric, told)}")
            found.append(told[self.metric or next(iter(told))])
        return found

    def read(self, model: Model) -> tuple[float, Better]:
        """What it is worth, and which values are better."""
        readings = self.readings(model)
        means, better = [reading.estimate().value for reading in readings], readings[0].better
        return (min(means) if better == "higher" else max(means)), better


def measure_of(objective: Objective, part: Part) -> Measure:
    """What tells how good a network is at an objective on a part of its data. Raises PliantError where there is no such measure."""
    kind = objective.judged_by or objective.measured_by
    if not kind or not hasattr(objective, "data"):
        raise PliantError(f"no measure reads how good a network is at {objective.kind}; give labels, answers or text")
    return MEASURES.parse({kind: {"data": getattr(objective, "data"), "part": part}})  # noqa: B009 (checked above)
