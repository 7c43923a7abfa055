"""What a law is: one function of columns and parameters, with a declaration of both.

Idea: the function is the formula, written once with torch operations on float64 tensors. Its arguments are named as the
columns and the parameters that are declared beside it. Everything else (starts, Jacobians, bootstrap samples, audits, decisions)
is derived from it. The fitter calls it with columns of shape (rows,) and parameters of shape (problems, rows) or
(problems, 1), so it must broadcast, and each row's prediction must depend on that row's parameters alone: no sums over rows.
Columns of other rows may be read only by laws that say along which column (`Law.along`): the earlier rows of a run are its schedule.

Write `power(N, -alpha)` rather than `N**-alpha`: it is the same number, faster, and differentiable in the exponent.
Where a formula has no value (a factor that turns negative) let it return NaN: the fitter treats that as infinitely bad.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.spec import nearest

if TYPE_CHECKING:
    from torch import Tensor

Array = NDArray[np.float64]
Transform = Literal["log", "identity"]
LARGEST = 1e100
"""No column, target or parameter goes beyond: products of a few of them are still numbers."""


@dataclass(frozen=True)
class Column:
    """One column a law reads."""

    name: str
    unit: str
    description: str
    positive: bool = True
    """Whether a value <= 0 is an error in the table (counts, losses) rather than a measurement."""
    default: float | None = None
    """The value taken when the table has no such column; None: the column is required."""


@dataclass(frozen=True)
class Parameter:
    """One parameter of a law, in natural units throughout; the fitter works on `transform` of it."""

    name: str
    description: str
    starts: tuple[float, ...]
    """The values the start grid takes; the grid is the product over parameters."""
    transform: Transform = "log"
    """`log` for what is positive and spans decades (A, E, half-lives), `identity` for exponents and offsets."""
    low: float = -np.inf
    high: float = np.inf
    """Bounds the fit never leaves. A `log` parameter is positive without any."""


@dataclass(frozen=True)
class Law:
    """A functional form that can be fitted to a table of runs."""

    name: str
    function: Callable[..., Tensor]
    """Prediction in `unit`, from keyword arguments named as the columns and parameters."""
    columns: tuple[Column, ...]
    """What it reads, the target not among them."""
    parameters: tuple[Parameter, ...]
    source: str
    """Paper, arXiv number, equation."""
    valid: str
    """Where the form was established: sizes, tokens, what it does not describe."""
    target: str = "loss"
    """The column it predicts."""
    unit: str = "nats/token"
    residual: Literal["log", "difference"] = "log"
    """What is made small: log(measured) - log(predicted), or measured - predicted (errors, accuracies, differences near zero)."""
    scale: tuple[str, ...] = ()
    """The columns whose product says how large a run is: audits hold out the largest."""
    linear: tuple[str, ...] = ()
    """Parameters in which the prediction is linear, given the others: the start search solves for them."""
    levels: Mapping[str, tuple[str, str]] = field(default_factory=dict[str, tuple[str, str]])
    """Parameters before a falling power of a column, {"A": ("N", "alpha")}, whose starts are what A N^-alpha is at the table's
    middle, so that they fit whatever unit N is in. Only for those that are not `linear`: these need no start value."""
    identifiability: str = ""
    """Which parameters appear only in combination, and what data tells them apart."""
    tie: Mapping[str, str] = field(default_factory=dict[str, str])
    """Parameters that equal another unless the user unties them: {"beta": "alpha"}."""
    fix: Mapping[str, float] = field(default_factory=dict[str, float])
    """Parameters held at a value unless the user frees them."""
    printed: Mapping[str, Mapping[str, float]] = field(default_factory=dict[str, Mapping[str, float]])
    """Constants as printed, by where they were printed. For comparison; never applied to other runs without a refit."""
    along: str = ""
    """The column that names each run, where a prediction depends on the earlier rows of its run too (on columns alone: a schedule)."""

    def __post_init__(self) -> None:
        declared = [*self.column_names, *self.parameter_names]
        if sorted(declared) != sorted(inspect.signature(self.function).parameters):
            raise TypeError(f"law {self.name}: the function's arguments must be exactly {declared}")
        named = {*self.linear, *self.tie, *self.tie.values(), *self.fix, *self.levels, *(power for _, power in self.levels.values())}
        read = {*self.scale, *(column for column, _ in self.levels.values()), *filter(None, [self.along])}
        if unknown := (named - set(self.parameter_names)) | (read - set(self.column_names)):
            raise TypeError(f"law {self.name}: {sorted(unknown)} are declared nowhere")

    @property
    def column_names(self) -> list[str]:
        """In the order of declaration."""
        return [column.name for column in self.columns]

    @property
    def parameter_names(self) -> list[str]:
        """In the order of declaration."""
        return [parameter.name for parameter in self.parameters]

    def __call__(self, columns: Mapping[str, Any], parameters: Mapping[str, Any]) -> Array:
        """Predictions for plain numbers or arrays that broadcast against each other; missing columns take their default.

        Raises PliantError for a column or parameter that is missing or unknown.
        """
        import torch

        given = {column.name: column.default for column in self.columns if column.default is not None} | dict(columns)
        _same_names(self.name, "column", self.column_names, given)
        _same_names(self.name, "parameter", self.parameter_names, parameters)
        arguments = {name: torch.as_tensor(np.array(value, dtype=np.float64)) for name, value in {**given, **parameters}.items()}
        return np.asarray(self.function(**arguments).numpy(), dtype=np.float64)


def _same_names(law: str, noun: str, wanted: Sequence[str], given: Mapping[str, Any]) -> None:
    if missing := [name for name in wanted if name not in given]:
        raise PliantError(f"law {law} needs the {noun} {missing[0]!r}; it has {', '.join(wanted)}")
    if unknown := [name for name in given if name not in wanted]:
        raise PliantError(f"law {law} has no {noun} {unknown[0]!r}; {nearest(unknown[0], wanted)}")


def power(base: Tensor, exponent: Tensor) -> Tensor:
    """base ** exponent for a positive base, as exp(exponent log base): the logarithm of a column is taken once per row."""
    import torch

    return torch.exp(exponent * torch.log(base))
