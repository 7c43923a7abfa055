"""What a saved fit must look like: the schema of its file, and what must agree in it, checked once when it is read.

A file is data from anywhere: every number is finite, every list has the length that the others give it, every value lies
where the law can take it. So nothing behind `Fit.load` has to ask again.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pliant.errors import PliantError
from pliant.laws.fitting.coordinates import Coordinates
from pliant.laws.law import LARGEST, Law
from pliant.spec.validation import explain

Finite = Annotated[float, Field(ge=-LARGEST, le=LARGEST, allow_inf_nan=False)]
Level = Annotated[float, Field(ge=0, le=LARGEST, allow_inf_nan=False)]
Number = Annotated[int, Field(ge=0)]


ROUNDING = 1e-6
"""How far a coordinate may seem to lie beyond its bound."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class SavedStep(_Part):
    """One step of an ordered audit."""

    fitted: Number
    held_out: Number
    beyond: Level | None
    error: Level | None


class SavedAudit(_Part):
    """The held-out audit."""

    held_out: Number
    error: Level | None
    verdict: Literal["holds", "fails", "undetermined"]
    allowed: Level | None
    beyond: Level | None
    reason: str
    ordered: list[SavedStep]


class SavedStarts(_Part):
    """How the restarts ended."""

    tried: Number
    reached_best: Number
    let_go: Number
    converged: bool


class SavedSummary(_Part):
    """What a fit says of itself; of its parameters only `theta` counts."""

    law: str
    n: Annotated[int, Field(gt=0)]
    objective: Level
    starts: SavedStarts
    audit: SavedAudit
    noise: Level
    loss: str
    residual: Literal["log", "difference"]
    bootstrap: str
    remarks: list[str]


class SavedSettings(_Part):
    """What the user asked for."""

    fix: dict[str, Finite | None]
    tie: dict[str, str | None]
    bounds: dict[str, Annotated[list[Finite | None], Field(min_length=2, max_length=2)]]
    priors: dict[str, Annotated[list[Finite], Field(min_length=2, max_length=2)]]
    by: dict[str, str]
    clusters: str | None


class SavedFit(_Part):
    """The whole file."""

    summary: SavedSummary
    settings: SavedSettings
    columns: dict[str, list[Finite]]
    target: Annotated[list[Finite], Field(min_length=1)]
    texts: dict[str, list[str]]
    theta: Annotated[list[Finite], Field(min_length=1)]
    draws: list[list[Finite]]
    flat: Annotated[list[list[str]], Field(min_length=2, max_length=2)]
    penalty: Annotated[list[list[Finite]], Field(min_length=2, max_length=2)] | None


def parsed(document: Any) -> SavedFit:
    """The JSON document as a `SavedFit`. Raises PliantError that names the field at fault."""
    try:
        return SavedFit.model_validate(document)
    except ValidationError as error:
        raise PliantError(f"the file is damaged: {explain(error, SavedFit)}") from None


def check_rows(saved: SavedFit, law: Law) -> None:
    """Raises PliantError unless columns, target and texts are those of a table that the law can be fitted to."""
    rows = len(saved.target)
    _agree("summary.n", saved.summary.n, rows, "rows of the target")
    if set(saved.columns) != set(law.column_names):
        raise PliantError(f"the file is damaged: columns: law {law.name} reads {', '.join(law.column_names)}")
    for part, held in (("columns", saved.columns), ("texts", saved.texts)):
        for name, values in held.items():
            _agree(f"{part}.{name}", len(values), rows, "rows of the target")
    positive = {column.name for column in law.columns if column.positive}
    for name, values in {**saved.columns, law.target: saved.target}.items():
        if (name in positive or (name == law.target and saved.summary.residual == "log")) and min(values) <= 0:
            raise PliantError(f"the file is damaged: {name} holds {min(values):g}, and must be above zero")
    wanted = {*saved.settings.by.values(), *([saved.settings.clusters] if saved.settings.clusters else [])}
    if missing := sorted(wanted - set(saved.texts)):
        raise PliantError(f"the file is damaged: texts.{missing[0]} is missing")


def check_coordinates(saved: SavedFit, moved: Coordinates, samples: int) -> None:
    """Raises PliantError unless theta, draws and penalty are coordinates of this fit, and draws as many as `samples`."""
    _agree("draws", len(saved.draws), samples, "bootstrap samples by summary.bootstrap")
    for name, point in (("theta", saved.theta), *((f"draws, item {row + 1}", values) for row, values in enumerate(saved.draws))):
        _agree(name, len(point), len(moved), "free parameters")
        values = np.array(point)
        if not ((moved.low - ROUNDING <= values) & (values <= moved.high + ROUNDING)).all():
            raise PliantError(f"the file is damaged: {name} lies beyond the bounds of its parameters")
    for part in saved.penalty or []:
        _agree("penalty", len(part), len(moved), "free parameters")
    if saved.penalty and min(saved.penalty[1]) < 0:
        raise PliantError("the file is damaged: penalty holds a negative strength")
    if unknown := sorted(set(saved.flat[0]) - set(moved.names)):
        raise PliantError(f"the file is damaged: flat names {unknown[0]!r}, which is no parameter of this fit")


def _agree(name: str, found: int, wanted: int, what: str) -> None:
    if found != wanted:
        raise PliantError(f"the file is damaged: {name} has {found}, and there are {wanted} {what}")
