"""What every measure is: something read off a model, as one value per sample and metric.

A measure of one metric writes `__call__`; one that tells several from the same pass (a loss and an accuracy) writes `readings`, and
every reading becomes a record of its own, told apart by its metric. Means are derived, never stored alone, so that two readings of
the same samples can always be compared pair by pair.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.spec import Spec
from pliant.statistics import Array, Clusters, Estimate, estimate, joint_clusters, paired_difference

if TYPE_CHECKING:
    from pliant.models import Model


TYPICAL_TOKENS = 256 * 256.0
"""Of a reading whose measure does not say."""


Better = Literal["lower", "higher"]
"""Which values of a metric are better."""


class Measure(Spec):
    """Base of all measures. Abstract: a subclass writes `__call__`, or `readings` where it has several.

    One that tests whether a changed model can still be trusted says so in `trust`, and writes `on`: scorecards read no more of it.
    """

    trust: ClassVar[tuple[str, ...]] = ()
    """The metrics that count as tests of trust; none: it is no such test."""
    needs: ClassVar[str] = ""
    """Of a test of trust: the data and the models it takes, for people."""

    def __call__(self, model: Model) -> Reading:
        """Read the measure off `model`, which is left as it was; the first of several readings.

        Raises PliantError for data that cannot be read and for values that are not numbers.
        """
        if type(self).readings is Measure.readings:
            raise NotImplementedError(f"{type(self).__name__} writes neither __call__ nor readings")
        return self.readings(model)[0]

    def readings(self, model: Model) -> Sequence[Reading]:
        """All that the measure reads off `model`: one reading, or several of different metrics, the same ones every time.

        Raises as `__call__` does.
        """
        return (self(model),)

    @classmethod
    def on(cls, source: str) -> Self | None:
        """Of a test of trust: itself with every other field as by default, where `source` holds what it needs; else None.

        Raises PliantError for a source that cannot be read.
        """
        return None

    def tokens(self) -> float:
        """About how many tokens one reading takes, as far as its fields tell: for estimates of cost."""
        return TYPICAL_TOKENS

    def pictures(self) -> float:
        """About how many images one reading takes, beside the tokens."""
        return 0.0

    def in_shares(self, model: Model, of: int) -> Sequence[Read]:
        """The measure in `of` parts for `model`, each reading its own share of the samples, in order; `shares.joined` puts them together.

        Raises PliantError for fewer samples than shares, and where a measure has no shares: only some write this method.
        """
        if of == 1:
            return [self.readings]
        raise PliantError(f"{self.kind} cannot be read in shares; leave out `split`")


@dataclass(frozen=True, repr=False)
class Reading:
    """One value per sample of one metric.

    `samples` are stable ids, `document` or `document:offset`; `values` are in `unit`; `weights` say how much each value
    counts in the mean (for a loss: its number of predicted tokens); `data` is the fingerprint of what was read. `clusters` say
    what each sample counts with in an error, by name or number: by default its document. `better` says whether a lower or a
    higher value is better.

    Raises PliantError for values and weights that are not finite numbers.
    """

    metric: str
    unit: str
    samples: Sequence[str]
    values: Array
    weights: Array
    data: str = ""
    clusters: Clusters = ()
    better: Better = "lower"
    answers: Sequence[str] = ()
    """What the model answered to each sample, where the measure keeps that."""

    def __repr__(self) -> str:
        return f"Reading({_short(self.metric, self.unit, self.estimate())})"

    def __post_init__(self) -> None:
        if not len(self.samples) == len(self.values) == len(self.weights):
            raise ValueError(f"{len(self.samples)} samples, {len(self.values)} values and {len(self.weights)} weights")
        if len(self.answers) not in (0, len(self.samples)):
            raise ValueError(f"{len(self.samples)} samples and {len(self.answers)} answers")
        if not len(self.clusters):
            object.__setattr__(self, "clusters", documents(self.samples))
        if len(self.clusters) != len(self.samples):
            raise ValueError(f"{len(self.samples)} samples in {len(self.clusters)} clusters; give each sample the name of its own")
        for what, numbers in (("value", self.values), ("weight", self.weights)):
            bad = np.flatnonzero(~np.isfinite(numbers))
            if len(bad):
                raise PliantError(f"{self.metric}: the {what} of sample {self.samples[bad[0]]} is {numbers[bad[0]]}, not a finite number")

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
        """What each sample counts with: what hangs together in either reading."""
        return joint_clusters(self.after.clusters, self.before.clusters)

    @property
    def unit(self) -> str:
        """The readings' unit."""
        return self.after.unit

    def estimate(self, confidence: float = 0.9) -> Estimate:
        """The weighted mean difference with a paired interval; windows of one document count as one cluster."""
        after, before = self.after.values[None, None], self.before.values[None]
        return paired_difference(after, before, self.weights, self.clusters, confidence=confidence)

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


Read = Callable[["Model"], Sequence[Reading]]
"""Reads a measure, or one share of it, off a model."""


def by_metric(times: Sequence[Sequence[Reading]]) -> list[tuple[Reading, ...]]:
    """What a measure read several times, metric by metric: of each, its reading every time.

    Raises PliantError for a measure that read nothing, one metric twice, or other metrics one time than another.
    """
    told = [[(found.metric, found.unit, found.better) for found in readings] for readings in times]
    names = [metric for metric, _, _ in told[0]]
    if not names:
        raise PliantError("the measure gave no reading")
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise PliantError(f"the measure gave two readings of {twice}; a metric is read once")
    if other := next((others for others in told if others != told[0]), None):
        first, then = (", ".join(f"{metric} ({unit}, {better} is better)" for metric, unit, better in found) for found in (told[0], other))
        raise PliantError(f"the measure gave other readings one time than another: {first}; then {then or 'none'}")
    return list(zip(*times, strict=True))


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
