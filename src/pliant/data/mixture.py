"""A mixture: several texts with weights, which may change at a token count. A training source like any other.

Idea: every row of a batch is a crop of one source; which one is a fixed function of the row's number in the run, spread so evenly
(golden-ratio steps around a circle that the weights divide) that after any number of rows each source has had its share to within
a few rows. So a plan's token counts are what training sees, and a killed run goes on as if nothing had happened.
When to use it: comparing mixtures; raising the weight of some domains at the end of training (`then`).
Cost: that of its sources.
What goes wrong: a small source with a large weight is repeated many times; `unique_tokens` counts what can have been seen, not repeats.
Source: mixtures that change at the end of training, arXiv 2406.03476; the additive sequence of golden-ratio steps is classical.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from pliant.data.corpus import Corpus
from pliant.data.packed import Packed, packed
from pliant.data.split import Part
from pliant.data.tokenizer import Tokenizer
from pliant.numbers import parse_count
from pliant.spec import Content, digest

GOLDEN = np.uint64(0x9E3779B97F4A7C15)
"""2**64 over the golden ratio."""

Weights = dict[str, Annotated[float, Field(ge=0, allow_inf_nan=False)]]


class Mixture(Content):
    """Several texts, each with its share of the training tokens."""

    sources: dict[str, Corpus] = Field(min_length=1, description="The texts by a name: a corpus each, or its source")
    weights: Weights = Field(description="How much each counts, by its name; what is not named counts nothing")
    then: dict[str, Weights] = Field({}, description="Weights from a count of training tokens on: `{8M: {prose: 0.2, code: 0.8}}`")

    @field_validator("then", mode="before")
    @classmethod
    def _counts(cls, form: Any) -> Any:
        if not isinstance(form, Mapping):
            return form
        return {str(parse_count(count)): form[count] for count in sorted(form, key=parse_count)}

    @model_validator(mode="after")
    def _known(self) -> Self:
        for weights in (self.weights, *self.then.values()):
            if unknown := set(weights) - set(self.sources):
                raise ValueError(f"weights: no source is called {sorted(unknown)[0]!r}; there are {', '.join(self.sources)}")
            if not sum(weights.values()):
                raise ValueError("weights: at least one is above zero")
        if "0" in self.then:
            raise ValueError("then: from 0 tokens on are `weights` themselves")
        return self

    def content(self) -> Iterator[Content]:
        """Itself, and its sources."""
        yield self
        yield from self.sources.values()

    def fingerprint(self) -> str:
        """Of what its sources hold and of the weights, whatever they are called."""
        return digest(json.dumps([[source.fingerprint() for source in self.sources.values()], self.shares()]))

    def characters(self, part: Part = "train") -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Of all sources."""
        return sum(source.characters(part) for source in self.sources.values())

    def label(self) -> str:
        """`70% prose + 30% code, from 8M 100% code`."""
        return ", ".join(f"from {start} tokens " * (start > 0) + self._told(weights) for start, weights in self.shares())

    def _told(self, weights: list[float]) -> str:
        return " + ".join(f"{weight:.3g}% {name}" for name, weight in zip(self.sources, np.multiply(weights, 100), strict=True) if weight)

    def shares(self) -> list[tuple[int, list[float]]]:
        """From which token on each source has which share, in the order of the sources."""
        phases = [(0, self.weights), *((int(start), weights) for start, weights in self.then.items())]
        return [(start, [weights.get(name, 0.0) / sum(weights.values()) for name in self.sources]) for start, weights in phases]

    def packed(self, tokenizer: Tokenizer, part: Part = "train") -> Mixed:
        """Its tokens. Raises PliantError for whatever is wrong with a source."""
        return Mixed(tuple(packed(source, tokenizer, part) for source in self.sources.values()), tuple(self.shares()))


def _kind(form: Any) -> str:
    """A mapping with sources is a mixture; all else is a corpus."""
    return "mixture" if isinstance(form, Mixture) or (isinstance(form, Mapping) and "sources" in form) else "corpus"


Text = Annotated[Annotated[Corpus, Tag("corpus")] | Annotated[Mixture, Tag("mixture")], Discriminator(_kind)]
"""The type of a field that holds training text: a corpus, or a mixture of several."""


@dataclass(frozen=True)
class Mixed:
    """The tokens of a mixture's sources, one after the other; `shares` as `Mixture.shares` tells them."""

    texts: tuple[Packed, ...]
    shares: tuple[tuple[int, list[float]], ...]

    @property
    def fingerprint(self) -> str:
        """Of tokens and shares."""
        return digest(json.dumps([[text.fingerprint for text in self.texts], self.shares]))

    @property
    def vocab_size(self) -> int:
        """Of the tokenizer."""
        return self.texts[0].vocab_size

    def __len__(self) -> int:
        """Different tokens that training can see: those of sources with a share in any phase."""
        return sum(len(text) for number, text in enumerate(self.texts) if any(share[number] for _, share in self.shares))

    def source_of(self, rows: NDArray[np.int64], length: int, seed: int) -> NDArray[np.int64]:
        """The number of the source of each of a run's rows, of `length` tokens each."""
        offset = np.random.Philox(key=seed, counter=[0, 0, 0, 2]).random_raw(1).astype(np.uint64)
        places = (offset + rows.astype(np.uint64) * GOLDEN) / 2.0**64
        phases = np.searchsorted([start for start, _ in self.shares], rows * length, side="right") - 1
        bounds = np.cumsum([share for _, share in self.shares], axis=1)[phases]
        last = np.array([max(np.flatnonzero(share)) for _, share in self.shares])[phases]  # sums of shares may end below 1
        return np.minimum((places[:, None] >= bounds).sum(axis=1), last)

    def positions(self, step: int, batch: int, length: int, seed: int) -> NDArray[np.int64]:
        """Where the crops of a step lie: (batch, length + 1) indices into all texts one after the other; see `Packed.positions`."""
        sources = self.source_of(np.arange(step * batch, (step + 1) * batch), length, seed)
        starts = self._starts()
        found = np.empty((batch, length + 1), np.int64)
        for number in np.unique(sources):  # each with draws of its own, the first with those that it would have alone
            mine = sources == number
            found[mine] = self.texts[number].positions(step, batch, length, seed + (int(number) << 64))[mine] + starts[number]
        return found

    def at(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        """The tokens at `positions`, in their shape."""
        starts = self._starts()
        sources = np.searchsorted(starts, positions, side="right") - 1
        found = np.empty(positions.shape, np.int64)
        for number in np.unique(sources):
            mine = sources == number
            found[mine] = self.texts[number].at(positions[mine] - starts[number])
        return found

    def _starts(self) -> NDArray[np.int64]:
        return np.cumsum([0, *(len(text) for text in self.texts[:-1])])


def text_tokens(text: Corpus | Mixture, tokenizer: Tokenizer, part: Part = "train") -> Packed | Mixed:
    """The tokens of one part of a corpus or of all of a mixture's. Raises PliantError for what cannot be read."""
    return text.packed(tokenizer, part) if isinstance(text, Mixture) else packed(text, tokenizer, part)
