"""Arms: the ways of fine-tuning that are compared, and the settings of each that are tried.

Idea: every arm tries as many settings as every other. Learning rates lie evenly on a logarithmic scale, a factor of ten to either side of
what is usual (1 / sqrt(parameters) for all weights, so 1e-3 for a million and 1e-5 for ten billion, times what a method says of itself);
the values of a method's own strength take turns along them.
What goes wrong: the best setting lies at an end of the range; the answer says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from math import prod, sqrt
from typing import Any

from pliant.errors import PliantError
from pliant.methods import METHODS, Method

FULL = "full"
"""The arm without any method: all weights are trained."""
DECADES = 1.0
"""To either side of the usual rate."""


@dataclass(frozen=True)
class TuningArm:
    """A way of fine-tuning, by its name, and every combination of its methods' strengths."""

    name: str
    choices: tuple[tuple[Method, ...], ...]

    def settings(self, count: int, rate: float) -> list[tuple[float, tuple[Method, ...]]]:
        """So many learning rates around `rate` (that of all weights), lowest first, each with one choice of methods."""
        middle = rate * prod(method.rate_factor for method in self.choices[0])
        powers = [DECADES * (2 * n / (count - 1) - 1) for n in range(count)] if count > 1 else [0.0]
        return [(float(f"{middle * 10**power:.2g}"), self.choices[n % len(self.choices)]) for n, power in enumerate(powers)]


def usual_rate(parameters: int) -> float:
    """A learning rate for all weights of a network of this size, to one digit."""
    return float(f"{1 / sqrt(max(parameters, 1)):.1g}")


def parse_arms(form: Any, where: str = "methods") -> list[TuningArm]:
    """The arms that a list names: `full`, a method, `lora: {rank: [4, 8]}` (a list is what is tried), a list of methods together.

    A mapping gives each arm a name: `{thin: {lora: {rank: 2}}, all: full}`. None stands for `full` and every method that says which
    strengths are worth trying, but for those that are tried only where they are named. Raises PliantError for methods that there are
    not, names given twice, and no arm at all.
    """
    if form is None:
        usual = (kind for kind, method in METHODS.items() if method.strengths and not method.only_named and not _lacking(method))
        form = [FULL, *usual]
    if isinstance(form, Mapping):
        named = [(str(name), item) for name, item in form.items()]
    elif isinstance(form, (list, tuple)):
        named = [(_name(item), item) for item in form]
    else:
        named = [(_name(form), form)]
    if not named:
        raise PliantError(f"{where}: give at least one, such as full, lora")
    names = [name for name, _ in named]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise PliantError(f"{where}: {twice} is given twice; give names, as in '{{one: {twice}, other: {twice}}}'")
    return [TuningArm(name, _choices(item, where)) for name, item in named]


def _lacking(method: type[Method]) -> list[str]:
    """The fields that a user has to give."""
    return [name for name, field in method.model_fields.items() if field.is_required() and name != method.strength_field]


def _name(form: Any) -> str:
    if isinstance(form, Mapping):
        return ", ".join(f"{kind} {_fields(fields)}".strip() for kind, fields in form.items())
    return " + ".join(map(_name, form)) if isinstance(form, (list, tuple)) else str(form)


def _fields(fields: Any) -> str:
    return " ".join(f"{name} {value}" for name, value in fields.items()) if isinstance(fields, Mapping) else str(fields or "")


def _choices(form: Any, where: str) -> tuple[tuple[Method, ...], ...]:
    if form == FULL:
        return ((),)
    together: Sequence[Any] = form if isinstance(form, (list, tuple)) else [form]
    return tuple(product(*(_options(one, where) for one in together)))


def _options(form: Any, where: str) -> list[Method]:
    """One method at every strength: those given, or those it says are worth trying."""
    given: Any = {form: {}} if isinstance(form, str) else form
    if not (isinstance(given, Mapping) and len(given) == 1):
        return METHODS.expand(form, where)
    kind, fields = next(iter(given.items()))
    try:
        field, values = METHODS[str(kind)].strength_field, METHODS[str(kind)].strengths
    except PliantError as error:
        raise error.within(where) from None
    if field and isinstance(fields or {}, Mapping) and field not in (fields or {}):
        given = {kind: {**(fields or {}), field: list(values)}}
    return METHODS.expand(given, where)
