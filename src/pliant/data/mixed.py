"""The tokens of a mixture's sources, and which source each row of a run is a crop of.

Idea: which source a row comes from is a fixed function of the row's number in the run, spread so evenly (golden-ratio steps around a
circle that the shares divide) that after any number of rows each source has had its share to within a few rows. So a plan's token
counts are what training sees, and a killed run goes on as if nothing had happened.
Cost: a few microseconds a row.
Source: the additive sequence of golden-ratio steps is classical.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from pliant.data.packed import Packed, drawn
from pliant.errors import PliantError
from pliant.numbers import format_count
from pliant.spec import digest
from pliant.statistics import Array

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2**64 over the golden ratio."""
ROUNDING = 1.001
"""How far passes may be over their bound: what whole rows come to."""

Shares = list[tuple[int, list[float]]]
"""From which training token on each source has which share."""


@dataclass(frozen=True)
class Stage:
    """A phase of a mixture by the order of its sources; see `pliant.data.mixture.Phase`."""

    until: int | str | None
    weights: tuple[float, ...] | None
    temperature: float | None
    epochs: tuple[float | None, ...]
    """The most passes over each source, the same in all phases."""

    def form(self) -> list[object]:
        """As plain JSON values."""
        return [self.until, self.weights, self.temperature, self.epochs]

    def end(self, tokens: int | None) -> int | None:
        """The token it ends before, in a run of so many; None for the end of the run. Raises PliantError for a share of who knows what."""
        if not isinstance(self.until, str):
            return self.until
        if tokens is None:
            raise PliantError(f"a mixture until {self.until} needs to know how long its run is; give a count of tokens here")
        return round(tokens * float(self.until.removesuffix("%")) / 100)


@dataclass(frozen=True)
class Mixed:
    """The tokens of a mixture's sources, one after the other."""

    texts: tuple[Packed, ...]
    names: tuple[str, ...]
    stages: tuple[Stage, ...]
    run: int | None = None
    """Tokens of the run that draws from it, where that is known."""

    def of_run(self, tokens: int) -> Mixed:
        """For a run of so many tokens.

        Raises PliantError for phases that do not follow each other in it, and for sources that it would go through more often than they
        are allowed to be.
        """
        found = replace(self, run=tokens)
        allowed = [(name, text, bound) for name, text, bound in zip(self.names, self.texts, self.stages[0].epochs, strict=True)]
        for (name, text, bound), planned in zip(allowed, found.planned(), strict=True):
            if bound and planned > ROUNDING * bound * len(text):
                raise PliantError(
                    f"{name}: {bound:g} epochs of its {format_count(len(text))} tokens are {format_count(bound * len(text))}, and the "
                    f"phases take {format_count(planned)} ({planned / len(text):.3g} epochs); lower its weight, allow more, or add text"
                )
        return found

    @property
    def fingerprint(self) -> str:
        """Of tokens, phases and bounds, and of the run's length where that matters."""
        named = [stage.form() for stage in self.stages]
        return digest(json.dumps([[text.fingerprint for text in self.texts], named, self.run if of_length(self.stages) else None]))

    def seen(self, tokens: int) -> str:
        """Names what the first tokens of the run are drawn from: phases that begin later make no difference to them."""
        begun = [stage for stage, (start, _) in zip(self.stages, self.shares, strict=True) if start < max(tokens, 1)]
        ends = [stage.until if of_length([stage]) and stage.temperature else stage.end(self.run) for stage in begun]
        if not begun[-1].temperature:
            ends[-1] = None
        return replace(self, stages=tuple(replace(stage, until=end) for stage, end in zip(begun, ends, strict=True))).fingerprint

    @property
    def vocab_size(self) -> int:
        """Of the tokenizer."""
        return self.texts[0].vocab_size

    def __len__(self) -> int:
        """Different tokens that training can see: those of sources with a share in any phase."""
        seen = [any(stage.weights is None or stage.weights[number] for stage in self.stages) for number in range(len(self.texts))]
        return sum(len(text) for text, mine in zip(self.texts, seen, strict=True) if mine)

    @cached_property
    def shares(self) -> Shares:
        """Those of every phase. Raises PliantError as `of_run` does."""
        found: Shares = []
        start, used = 0, np.zeros(len(self.texts))
        for stage in self.stages:
            end = stage.end(self.run)
            if end is not None and end <= start:
                raise PliantError(f"the phase until {stage.until} ends at token {end:,}, which the one before it has reached already")
            there = None if self.run is None else max(0, min(self.run if end is None else end, self.run) - start)
            share = self._share(stage, used, there)
            used = used + share * (there or 0)
            found.append((start, share.tolist()))
            start = end or start
        return found

    def planned(self) -> Array:
        """(sources,) training tokens that the run takes from each."""
        starts = [start for start, _ in self.shares]
        lengths = np.diff(np.minimum([*starts, self.run or 0], self.run or 0))
        return lengths @ np.array([share for _, share in self.shares])

    def _share(self, stage: Stage, used: Array, tokens: int | None) -> Array:
        """(sources,) what a phase of so many tokens takes of each, after `used` tokens of them."""
        if stage.weights is not None:
            return np.array(stage.weights)
        sizes = np.array([len(text) for text in self.texts], float)
        wanted = (sizes / sizes.max()) ** (1 / (stage.temperature or 1.0))
        if not tokens or not any(stage.epochs):
            return wanted / wanted.sum()
        most = np.array([np.inf if bound is None else bound for bound in stage.epochs]) * sizes - used
        return self._bounded(wanted, np.maximum(most, 0) / tokens)

    def _bounded(self, wanted: Array, most: Array) -> Array:
        """Shares in proportion to `wanted`, none above `most`: what is too much is left to the others."""
        if most.sum() < 1 / ROUNDING:
            raise PliantError(
                f"all sources within their epochs are {most.sum():.1%} of what a phase takes; allow more epochs, add text, or train shorter"
            )
        share, open_ = np.zeros(len(wanted)), np.ones(len(wanted), bool)
        for _ in wanted:
            share[open_] = wanted[open_] * max(0.0, 1 - share[~open_].sum()) / wanted[open_].sum()
            if not (over := open_ & (share > most)).any():
                break
            share[over], open_ = most[over], open_ & ~over
            if not open_.any():
                break
        return share / share.sum()

    def source_of(self, rows: NDArray[np.int64], length: int, seed: int) -> NDArray[np.int64]:
        """The number of the source of each of a run's rows, of `length` tokens each."""
        places = (_offset(seed) + rows.astype(np.uint64) * GOLDEN) / 2.0**64
        starts, bounds, last = self._drawn
        phases = np.searchsorted(starts, rows * length, side="right") - 1
        return np.minimum((places[:, None] >= bounds[phases]).sum(axis=1), last[phases])

    @cached_property
    def _drawn(self) -> tuple[NDArray[np.int64], Array, NDArray[np.int64]]:
        """Where phases start, where their sources end on the circle, and each phase's last source: sums of shares may end below 1."""
        starts = np.array([start for start, _ in self.shares], np.int64)
        bounds = np.cumsum([share for _, share in self.shares], axis=1)
        return starts, bounds, np.array([max(np.flatnonzero(share)) for _, share in self.shares], np.int64)

    def crops(self, step: int, batch: int, length: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Source of each crop of a step, and where in it the crop starts: (batch,) each, drawn as those of one text are."""
        sources = self.source_of(np.arange(step * batch, (step + 1) * batch), length, seed)
        if self._shortest <= length and (short := sources[self._sizes[sources] <= length]).size:
            self.texts[int(short[0])].starts(step, batch, length, seed)  # which says that it is too short
        return sources, (drawn(step, batch, seed) % (self._sizes - length).astype(np.uint64)[sources]).astype(np.int64)

    def positions(self, step: int, batch: int, length: int, seed: int) -> NDArray[np.int64]:
        """Where the crops of a step lie: (batch, length + 1) indices into all texts one after the other; see `Packed.positions`."""
        sources, starts = self.crops(step, batch, length, seed)
        return (starts + self._starts[sources])[:, None] + np.arange(length + 1)

    def batch(self, step: int, batch: int, length: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where each crop of a step starts among all texts (batch,), and its tokens (batch, length + 1)."""
        sources, starts = self.crops(step, batch, length, seed)
        found = np.empty((batch, length + 1), self.texts[0].tokens.dtype)  # one tokenizer, one type: widened once, at the end
        for number, text in enumerate(self.texts):
            mine = np.flatnonzero(sources == number)
            if len(mine):
                found[mine] = text.rows(length + 1)[starts[mine]]
        return starts + self._starts[sources], found.astype(np.int64)

    def at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The tokens at `positions`, in their shape."""
        sources = np.searchsorted(self._starts, positions, side="right") - 1
        found = np.empty(positions.shape, np.int64)
        for number in np.unique(sources):
            mine = sources == number
            found[mine] = self.texts[number].at(positions[mine] - self._starts[number])
        return found

    @cached_property
    def _shortest(self) -> int:
        return int(self._sizes.min())

    @cached_property
    def _sizes(self) -> NDArray[np.int64]:
        return np.array([len(text) for text in self.texts], np.int64)

    @cached_property
    def _starts(self) -> NDArray[np.int64]:
        return np.cumsum([0, *self._sizes[:-1]])


@lru_cache(maxsize=64)
def _offset(seed: int) -> NDArray[np.uint64]:
    """Where on the circle a run's first row lies."""
    return np.random.Philox(key=seed, counter=[0, 0, 0, 2]).random_raw(1).astype(np.uint64)


def of_length(stages: Sequence[Stage]) -> bool:
    """Whether what is drawn early depends on how long the run is."""
    return any(isinstance(stage.until, str) or (stage.temperature is not None and any(stage.epochs)) for stage in stages)
