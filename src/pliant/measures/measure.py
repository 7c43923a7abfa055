"""What every measure is: something read off a model, as one value per sample.

Means are derived, never stored alone, so that two readings of the same samples can always be compared pair by pair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.measures.shares import clusters
from pliant.spec import Spec
from pliant.statistics import Array, Estimate, estimate

if TYPE_CHECKING:
    from pliant.models import Model


TYPICAL_TOKENS = 256 * 256.0
"""Of a reading whose measure does not say."""


Better = Literal["lower", "higher"]
"""Which values of a metric are better."""


class Measure(Spec):
    """Base of all measures. Abstract: a subclass writes `__call__`."""

    def __call__(self, model: Model) -> Reading:
        """Read the measure off `model`, which is left as it was.

        Raises PliantError for data that cannot be read and for values that are not numbers.
        """
        raise NotImplementedError

    def tokens(self) -> float:
        """About how many tokens one reading takes, as far as its fields tell: for estimates of cost."""
        return TYPICAL_TOKENS

    def in_shares(self, model: Model, of: int) -> Sequence[Callable[[Model], Reading]]:
        """The measure in `of` parts for `model`, each reading its own share of the samples, in order; `joined` puts them together.

        Raises PliantError for fewer samples than shares, and where a measure has no shares: only some write this method.
        """
        if of == 1:
            return [self]
        raise PliantError(f"{self.kind} cannot be read in shares; leave out `split`")


@dataclass(frozen=True, repr=False)
class Reading:
    """One value per sample of one metric.

    `samples` are stable ids, `document` or `document:offset`; `values` are in `unit`; `weights` say how much each value
    counts in the mean (for a loss: its number of predicted tokens); `data` is the fingerprint of what was read. `shares` is
    how many shares of the samples were read under changes of their own, see `pliant.measures.shares`; `better` says whether a
    lower or a higher value is better.

    Raises PliantError for values and weights that are not finite numbers.
    """

    metric: str
    unit: str
    samples: Sequence[str]
    values: Array
    weights: Array
    data: str = ""
    shares: int = 1
    better: Better = "lower"

    def __repr__(self) -> str:
        return f"Reading({_short(self.metric, self.unit, self.estimate())})"

    def __post_init__(self) -> None:
        if not len(self.samples) == len(self.values) == len(self.weights):
            raise ValueError(f"{len(self.samples)} samples, {len(self.values)} values and {len(self.weights)} weights")
        for what, numbers in (("value", self.values), ("weight", self.weights)):
            bad = np.flatnonzero(~np.isfinite(numbers))
            if len(bad):
                raise PliantError(f"{self.metric}: the {what} of sample {self.samples[bad[0]]} is {numbers[bad[0]]}, not a finite number")

    @property
    def clusters(self) -> NDArray[np.int64]:
        """What each sample counts with: its document, or what hangs together through shares as well."""
        return clusters(documents(self.samples), self.shares)

    def estimate(self, confidence: float = 0.9) -> Estimate:
        """The weighted mean with an interval; windows of one document count as one cluster."""
        return estimate(self.values, self.weights, self.clusters, confidence)

    def perplexity(self, confidence: float = 0.9) -> Estimate:
        """exp of the mean loss, with the interval's ends taken along."""
        _nats(self.unit)
        mean = self.estimate(confidence)
        value, low, high = (float(np.exp(x)) for x in (mean.value, mean.low, mean.high))
        return Estimate(value, value * mean.stderr, low, high, mean.n, confidence)

    def __sub__(self, before: object) -> Difference:
        """This reading minus another of the same metric on the same samples.

        Raises PliantError when metric, samples, weights or data differ: means over different samples are not comparable;
        TypeError for anything that is no reading.
        """
        if not isinstance(before, Reading):
            raise TypeError(
                f"only a reading of the same samples can be subtracted from a reading, not {type(before).__name__}; "
                "the mean, a plain number, is .estimate().value"
            )
        return Difference(self, before)


@dataclass(frozen=True, repr=False)
class Difference:
    """`after - before`, sample by sample: what a change did. Far less noisy than the difference of two means."""

    after: Reading
    before: Reading

    def __repr__(self) -> str:
        return f"Difference({_short(self.after.metric, self.unit, self.estimate())})"

    def __post_init__(self) -> None:
        after, before = self.after, self.before
        if (after.metric, after.unit) != (before.metric, before.unit):
            raise PliantError(f"cannot subtract {before.metric} ({before.unit}) from {after.metric} ({after.unit})")
        if list(after.samples) != list(before.samples) or not np.array_equal(after.weights, before.weights):
            raise PliantError(f"cannot pair two readings of {after.metric}: they are of different samples or of other lengths")
        if after.data != before.data:
            raise PliantError(f"cannot pair two readings of {after.metric}: they are of other text, or of another tokenizer's tokens")
        if after.shares != before.shares and 1 not in (after.shares, before.shares):
            raise PliantError(f"cannot pair two readings of {after.metric}: one is in {after.shares} shares, one in {before.shares}")

    @property
    def samples(self) -> Sequence[str]:
        """The ids both readings share."""
        return self.after.samples

    @property
    def values(self) -> Array:
        """after - before, one value per sample, in the readings' unit."""
        return self.after.values - self.before.values

    @property
    def weights(self) -> Array:
        """How much each sample counts."""
        return self.after.weights

    @property
    def clusters(self) -> NDArray[np.int64]:
        """What each sample counts with, see `Reading.clusters`."""
        return max(self.after, self.before, key=lambda reading: reading.shares).clusters

    @property
    def unit(self) -> str:
        """The readings' unit."""
        return self.after.unit

    def estimate(self, confidence: float = 0.9) -> Estimate:
        """The weighted mean difference with a paired interval; windows of one document count as one cluster."""
        return estimate(self.values, self.weights, self.clusters, confidence)

    def perplexity(self, confidence: float = 0.9) -> Estimate:
        """The difference of the two perplexities, with a paired interval by the delta method.

        exp(A) - exp(B) moves with the samples like the mean of exp(A) a_i - exp(B) b_i. Perplexity differences exaggerate
        changes at high loss: read the difference in nats first.
        """
        _nats(self.unit)
        after, before = (float(np.exp(reading.estimate().value)) for reading in (self.after, self.before))
        linear = estimate(after * self.after.values - before * self.before.values, self.weights, self.clusters, confidence)
        shift = after - before - linear.value
        return Estimate(after - before, linear.stderr, linear.low + shift, linear.high + shift, linear.n, confidence)


def joined(readings: Sequence[Reading]) -> Reading:
    """The shares of one reading as one, in the order of `Measure.in_shares`."""
    first = readings[0]
    return Reading(
        metric=first.metric,
        unit=first.unit,
        samples=[sample for reading in readings for sample in reading.samples],
        values=np.concatenate([reading.values for reading in readings]),
        weights=np.concatenate([reading.weights for reading in readings]),
        data=first.data,
        shares=len(readings),
        better=first.better,
    )


def check_loaded(model: object) -> None:
    """Raises PliantError for what is no loaded model: an address, or another library's model."""
    from pliant.models import Model

    if isinstance(model, (str, Path)):
        raise PliantError(f"{str(model)!r} is an address, not a model: load it first, with pl.load({str(model)!r})")
    if not isinstance(model, Model):
        raise PliantError(f"a measure reads what pl.load(ADDRESS) returns, not {type(model).__name__}; save it to a folder and load that")


def documents(samples: Sequence[str]) -> list[str]:
    """The document each sample is from: its id up to the colon."""
    return [sample.split(":", 1)[0] for sample in samples]


def _short(metric: str, unit: str, mean: Estimate) -> str:
    """A mean as it prints: one document says nothing about its standard error."""
    error = "" if np.isnan(mean.stderr) else f", stderr={mean.stderr:.2g}"
    return f"{metric}={mean.value:z.4f} {unit}{error}, n={mean.n}"


def _nats(unit: str) -> None:
    if not unit.startswith("nats"):
        raise PliantError(f"perplexity is defined for losses in nats per token, not for {unit}")
