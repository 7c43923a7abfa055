"""A mixture: several texts with weights, which may change along a run. A training source like any other.

    corpus:
      mixture: {web: web.jsonl, code: {source: code/, epochs: 4}}
      phases: [{until: 80%, weights: {web: 80%, code: 20%}}, {weights: {web: 30%, code: 70%}}]

Idea: every row of a batch is a crop of one source, and in every phase each source has its share of the rows (see `mixed`). Shares are
given as weights, or as a temperature: in proportion to a source's tokens to the power of 1 / temperature, so that 1 is the texts as
they are and more is nearer to equal parts. `epochs` bounds how often a run may go through a source: weights beyond it are refused,
and shares by temperature leave what is too much to the other sources.
When to use it: comparing mixtures; raising the weight of some domains at the end of training. `pliant mix` shows what one comes to.
Cost: that of its sources.
What goes wrong: a small source with a large weight is repeated many times; from about four passes on that teaches little.
Source: mixtures that change at the end of training, arXiv 2406.03476; temperature, arXiv 1907.05019; bounded passes, arXiv 2304.09151.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Annotated, Any, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, field_validator, model_validator

from pliant.data.corpus import Corpus
from pliant.data.mixed import Mixed, Stage, of_length
from pliant.data.packed import Packed, packed
from pliant.data.split import Part
from pliant.data.tokenizer import Tokenizer
from pliant.errors import PliantError
from pliant.numbers import Rate, format_count, parse_count, parse_share
from pliant.spec import Content, Spec, digest

NEARLY = 0.002
"""How far weights may be from a sum of 1: what rounding three of them leaves."""


class MixtureSource(Corpus):
    """One source of a mixture: a corpus, and how often a run may go through it."""

    epochs: Rate | None = Field(None, description="At most so many passes over it in a run")


def _place(form: Any) -> Any:
    """`80%` stays, 0.8 is the same, and `8M` is a whole number of tokens."""
    if form is None or (isinstance(form, int) and not isinstance(form, bool)):
        return form
    if isinstance(form, float) or str(form).strip().endswith("%"):
        share = parse_share(form)
        if not 0 < share <= 1:
            raise ValueError(f"until: {form} is no share of a run; write 80%, or a count of tokens such as 8M")
        return f"{100 * share:.10g}%"
    return parse_count(form)


Weight = Annotated[float, BeforeValidator(parse_share), Field(ge=0, allow_inf_nan=False)]


class Phase(Spec):
    """What is mixed up to some place of a run: by `weights`, or by `temperature`."""

    until: Annotated[Annotated[int, Field(gt=0)] | str | None, BeforeValidator(_place)] = Field(
        None, description="Where it ends: a share of the run (80%) or a count of training tokens (8M); the last phase goes on to the end"
    )
    weights: dict[str, Weight] | None = Field(None, description="Share of each source, together 1; what is not named has none")
    temperature: Rate | None = Field(None, description="Shares in proportion to each source's tokens to the power of 1 / temperature")

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.weights is None) == (self.temperature is None):
            raise ValueError("give weights, or a temperature, one of the two")
        if self.weights is not None and abs((total := sum(self.weights.values())) - 1) > NEARLY:
            told = ", ".join(f"{name}: {weight / total:.4g}" for name, weight in self.weights.items()) if total else ""
            raise ValueError(f"weights: they sum to {total:.4g}, not to 1" + (f"; in proportion that is {told}" if told else ""))
        return self


class Mixture(Content):
    """Several texts, each with its share of the training tokens."""

    mixture: dict[str, MixtureSource] = Field(
        min_length=1, description="The texts by a name: a corpus each, or its source; `epochs` bounds passes"
    )
    phases: tuple[Phase, ...] = Field(
        (Phase(until=None, weights=None, temperature=1.0),),
        min_length=1,
        description="What is mixed from the beginning on, then, ...; by default all as they are",
    )

    @field_validator("phases")
    @classmethod
    def _in_order(cls, phases: tuple[Phase, ...]) -> tuple[Phase, ...]:
        *before, last = phases
        if any(phase.until is None for phase in before):
            raise ValueError("every phase but the last says until when: until: 80%, or a count of tokens")
        if last.until not in (None, "100%"):
            raise ValueError(f"the last phase goes on to the end of the run: leave its until ({last.until}) out, or add a phase")
        for first, second in pairwise(before):
            one, two = (phase.until for phase in (first, second))
            if isinstance(one, int) == isinstance(two, int) and _number(one) >= _number(two):
                raise ValueError(f"phases follow each other: until {two} comes after until {one}")
        return (*before, last.model_copy(update={"until": None}))

    @model_validator(mode="after")
    def _known(self) -> Self:
        for phase in self.phases:
            if unknown := set(phase.weights or {}) - set(self.mixture):
                raise ValueError(f"weights: no source is called {sorted(unknown)[0]!r}; there are {', '.join(self.mixture)}")
        return self

    def content(self) -> Iterator[Content]:
        """Itself, and its sources."""
        yield self
        yield from self.mixture.values()

    def fingerprint(self) -> str:
        """Of what its sources hold, of phases and bounds, whatever the sources are called."""
        return digest(json.dumps([[source.fingerprint() for source in self.mixture.values()], [stage.form() for stage in self.stages()]]))

    def characters(self, part: Part = "train") -> int:  # pyright: ignore[reportIncompatibleMethodOverride]
        """Of all sources."""
        return sum(source.characters(part) for source in self.mixture.values())

    @property
    def of_length(self) -> bool:
        """Whether what is drawn early depends on how long the run is."""
        return of_length(self.stages())

    def label(self) -> str:
        """`80% web + 20% code until 80%, then 30% web + 70% code`."""
        return ", then ".join(self._told(phase) for phase in self.phases)

    def _told(self, phase: Phase) -> str:
        if phase.weights is not None:
            shares = " + ".join(f"{100 * weight:.3g}% {name}" for name in self.mixture if (weight := phase.weights.get(name)))
        else:
            shares = " + ".join(self.mixture) + (f" at temperature {phase.temperature:g}" if phase.temperature != 1 else "")
        if phase.until is None:
            return shares
        return f"{shares} until {phase.until if isinstance(phase.until, str) else f'{format_count(phase.until)} tokens'}"

    def stages(self) -> list[Stage]:
        """Its phases, by the order of the sources instead of their names."""
        bounds = tuple(source.epochs for source in self.mixture.values())
        return [Stage(phase.until, self._weights(phase), phase.temperature, bounds) for phase in self.phases]

    def _weights(self, phase: Phase) -> tuple[float, ...] | None:
        if phase.weights is None:
            return None
        total = sum(phase.weights.values())
        return tuple(phase.weights.get(name, 0.0) / total for name in self.mixture)

    def packed(self, tokenizer: Tokenizer, part: Part = "train") -> Mixed:
        """Its tokens. Raises PliantError for whatever is wrong with a source."""
        texts: list[Packed] = []
        for name, source in self.mixture.items():
            try:
                texts.append(packed(source, tokenizer, part))
            except PliantError as error:
                raise error.within(f"mixture.{name}") from None
        return Mixed(tuple(texts), tuple(self.mixture), tuple(self.stages()))


def _number(until: int | str | None) -> float:
    return float(until.removesuffix("%")) if isinstance(until, str) else float(until or 0)


def _kind(form: Any) -> str:
    """A mapping that says `mixture` is one; all else is a corpus."""
    return "mixture" if isinstance(form, Mixture) or (isinstance(form, Mapping) and "mixture" in form) else "corpus"


Text = Annotated[Annotated[Corpus, Tag("corpus")] | Annotated[Mixture, Tag("mixture")], Discriminator(_kind)]
"""The type of a field that holds training text: a corpus, or a mixture of several."""


def text_tokens(text: Corpus | Mixture, tokenizer: Tokenizer, part: Part = "train") -> Packed | Mixed:
    """The tokens of one part of a corpus or of all of a mixture's. Raises PliantError for what cannot be read."""
    return text.packed(tokenizer, part) if isinstance(text, Mixture) else packed(text, tokenizer, part)
