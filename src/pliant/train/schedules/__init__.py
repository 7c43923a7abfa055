"""Learning-rate schedules. One file each; a new one is a file and a name in `SCHEDULES`."""

from __future__ import annotations

from typing import Annotated

from pliant.spec import Catalog
from pliant.spec.fields import OneOf
from pliant.train.schedules.constant import Constant
from pliant.train.schedules.cosine import Cosine
from pliant.train.schedules.inverse_sqrt import InverseSqrt
from pliant.train.schedules.schedule import Schedule
from pliant.train.schedules.steps import Steps
from pliant.train.schedules.triangle import Triangle
from pliant.train.schedules.wsd import Wsd

SCHEDULES: Catalog[Schedule] = Catalog("schedule", Cosine, Constant, Wsd, Steps, Triangle, InverseSqrt)

AnySchedule = Annotated[Schedule, OneOf(SCHEDULES)]
"""The type of a field that holds a schedule, by its name or with its fields."""

__all__ = ["SCHEDULES", "AnySchedule", "Constant", "Cosine", "InverseSqrt", "Schedule", "Steps", "Triangle", "Wsd"]
