"""Whether fits can answer a question at all: laws that read what it turns, and values that can be.

Idea: a law that does not read a column has no opinion on it, yet its formula gives a number for every setting of it. So each
question names the columns it turns, and refuses fits of laws that do not read them, naming those that do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pliant.decide.fits.bootstrapped import BootstrappedFit, paired
from pliant.errors import PliantError
from pliant.laws.law import LARGEST

if TYPE_CHECKING:
    from pliant.laws import Fit, Law


def fits_for(
    question: str,
    laws: Sequence[Fit | BootstrappedFit],
    at: Mapping[str, float],
    *,
    reads: Sequence[str],
    some: Sequence[str] = (),
    decides: Iterable[str] = (),
    target: str | None = None,
) -> list[BootstrappedFit]:
    """The fits, paired, for a question that turns the columns `reads` of every law and one of `some` of at least one.

    `decides` are columns that the question finds itself, so that `at` cannot give them; `target` is what every law must predict.
    Raises PliantError for laws that know nothing of the question, for sums of several losses, and for values that cannot be.
    """
    for fit in laws:
        require(question, fit.law, reads, target)
    if some and not any(set(some) & set(fit.law.column_names) for fit in laws):
        raise _blind(question, laws[0].law, some, target, every=False)
    losses = [fit.law.name for fit in laws if fit.law.target == "loss"]
    if len(losses) > 1:
        raise PliantError(
            f"{question}: {' and '.join(losses)} both predict the loss, and predictions are summed; give one, and laws of rises"
        )
    for name, value in at.items():
        if name in decides:
            raise PliantError(f"{question}: {name} is what this question decides; leave it out of what is given")
        positive = any(column.positive for fit in laws for column in fit.law.columns if column.name == name)
        possible(name, value, positive=positive)
    return paired(laws, at)


def require(question: str, law: Law, reads: Sequence[str], target: str | None = None) -> None:
    """Raises PliantError for a law that does not read all of `reads`, or predicts something else than `target`."""
    if not set(reads) <= set(law.column_names) or (target is not None and law.target != target):
        raise _blind(question, law, reads, target)


def possible(name: str, value: float, *, positive: bool = True) -> None:
    """Raises PliantError for a number that is no number, too large or too small, or not above zero where it must be."""
    if positive and value <= 0:
        raise PliantError(f"{name} = {value:g}: it must be above zero")
    if not (1 / LARGEST <= abs(value) <= LARGEST or value == 0):
        raise PliantError(f"{name} = {value:g}: it is beyond what can be reckoned with")


def _blind(question: str, law: Law, columns: Sequence[str], target: str | None, *, every: bool = True) -> PliantError:
    from pliant.laws import LAWS

    ways = [set(columns)] if every else [{name} for name in columns]
    able = [other.name for other in LAWS.values() if any(way <= set(other.column_names) for way in ways) and target in (None, other.target)]
    missing = [name for name in columns if name not in law.column_names]
    lacks = f"knows nothing of {', '.join(missing)}" if missing else f"predicts {law.target}, not {target}"
    return PliantError(f"{question}: law {law.name} {lacks}; laws that can answer: {', '.join(able)}")
