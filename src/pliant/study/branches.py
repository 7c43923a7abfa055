"""One run up to its last phase, and branches of it that end on other data: what each source is worth at the end.

    checkpoints:
      branches: {ladder: {model: llama-16x2, corpus: {mixture: {...}, phases: [{until: 80%, ...}, ...]}, tokens: 1M}, without: [code]}

Idea: up to the last phase all branches are the same run, optimizer and learning rate included, so that is trained once. One branch ends
on the last phase as it is; one each ends without one of its sources, the others taking its share in proportion; and one goes on as
before, the control: the learning rate that falls at the end does much by itself.
When to use it: to price sources; `pliant decide data STUDY` makes one of these of a study with a mixture, and answers from it.
Cost: the run once, and its last phase once more for each branch.
What goes wrong: what a source is worth is against what replaces it; a price at the end is not what leaving it out all along would do.
Source: arXiv 2406.03476, section on pricing data sets.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Self, cast

from pydantic import Field, model_validator

from pliant.data.mixed import Mixed
from pliant.data.mixture import Mixture, Phase
from pliant.data.once import built_once
from pliant.errors import PliantError
from pliant.files import write_atomic
from pliant.models import Ladder
from pliant.models.checkpoint import Checkpoint
from pliant.spec import digest
from pliant.study.arms import ArmRung
from pliant.train import TrainedLadder, train
from pliant.train.rung import TrainedRung
from pliant.train.state import STATE_FILE

WHOLE, BEFORE = "as planned", "as before"


def without(name: str) -> str:
    """What the branch that leaves a source out is called."""
    return f"without {name}"


class Branches(Ladder):
    """A run whose last phase is trained in several ways."""

    seeded: ClassVar[bool] = True
    ladder: TrainedLadder = Field(description="The run: one model, one budget, and a mixture of two phases or more")
    without: tuple[str, ...] | None = Field(
        None, description="Sources that a branch each leaves out of the last phase; by default every one"
    )

    @model_validator(mode="after")
    def _one_run(self) -> Self:
        mixture = self.ladder.corpus
        if not isinstance(mixture, Mixture) or len(mixture.phases) < 2:
            raise ValueError("branches need a corpus that is a mixture of two phases or more: phases: [{until: 80%, ...}, {weights: ...}]")
        if len(self.ladder.model) != 1 or len(self.ladder.budgets) != 1:
            raise ValueError("branches are of one run: give one model and one budget")
        if self.ladder.methods:
            raise ValueError("branches of a run with methods are not made yet; leave methods out")
        if mixture.phases[-1].weights is None:
            raise ValueError("the last phase of branches says weights, not a temperature: a source is left out of those")
        known = _ending(mixture)
        if unknown := [name for name in self.left_out if name not in known]:
            raise ValueError(f"without: {unknown[0]!r} has no share in the last phase; there are {', '.join(known)}")
        if len(known) < 2:
            raise ValueError("the last phase has one source, and nothing is left without it; give it two or more")
        return self

    @property
    def mixture(self) -> Mixture:
        """What it is trained on."""
        assert isinstance(self.ladder.corpus, Mixture)  # see `_one_run`
        return self.ladder.corpus

    @property
    def left_out(self) -> tuple[str, ...]:
        """The sources that are left out, one by one."""
        if self.without is not None:
            return self.without
        return tuple(_ending(self.mixture)) if isinstance(self.ladder.corpus, Mixture) else ()

    def along(self, checkpoints: Sequence[Checkpoint]) -> str:
        """Tokens: all have the same."""
        return "tokens"

    def rungs(self, seed: int = 0, folder: Path | None = None) -> list[ArmRung]:
        """The branches: as planned, as before, and without each source."""
        ends = {
            WHOLE: self.mixture,
            BEFORE: going_on(self.mixture),
            **{without(name): leaving_out(self.mixture, name) for name in self.left_out},
        }
        (trunk,) = self.ladder.rungs(seed, folder)
        found: list[ArmRung] = []
        for name, mixture in ends.items():
            (rung,) = self.ladder.model_copy(update={"corpus": mixture}).rungs(seed, folder)
            fields = {each: getattr(rung, each) for each in ("model", "objective", "recipe", "methods", "seed", "folder")}
            found.append(ArmRung(cast("Any", BranchRung(**fields, trunk=trunk)), name))
        return found

    def switch(self) -> float:
        """The fraction of the run that its branches share."""
        (rung,) = self.ladder.rungs()
        return _switch(rung) / rung.steps


def _ending(mixture: Mixture) -> list[str]:
    return [name for name, weight in (mixture.phases[-1].weights or {}).items() if weight]


def leaving_out(mixture: Mixture, name: str) -> Mixture:
    """Without a source in the last phase; the others take its share in proportion."""
    *before, last = mixture.phases
    kept = {other: weight for other, weight in (last.weights or {}).items() if other != name}
    total = sum(kept.values())
    weights = {other: weight / total for other, weight in kept.items()}
    return mixture.model_copy(update={"phases": (*before, Phase(until=None, weights=weights, temperature=None))})


def going_on(mixture: Mixture) -> Mixture:
    """With the phase before the last to the end."""
    *before, last, _ = mixture.phases
    return mixture.model_copy(update={"phases": (*before, last, last.model_copy(update={"until": None}))})


def _switch(rung: TrainedRung) -> int:
    """The step before which all branches are one run."""
    text = rung.objective.data_for(rung.model.words())
    assert isinstance(text, Mixed)
    start = text.of_run(rung.tokens).shares[-1][0]
    steps = start * rung.steps // rung.tokens
    if not 0 < steps < rung.steps:
        raise PliantError(f"the last phase begins at token {start:,} of {rung.tokens:,}, which leaves nothing on one side of it")
    return steps


@dataclass(frozen=True)
class BranchRung(TrainedRung):
    """One branch: the run goes on from the state that all branches share."""

    trunk: TrainedRung = field(kw_only=True)
    """The run as planned, of which the beginning is shared."""

    @cached_property
    def shared_steps(self) -> int:
        """Steps of the beginning."""
        return _switch(self.trunk)

    @property
    def cost(self) -> float:
        """Operations of its own part, and of the beginning where nobody has made it."""
        own = super().cost
        share = self.shared_steps / self.steps
        return own * (1 - share if self._beginning.exists() else 1)

    @property
    def _beginning(self) -> Path:
        text = self.trunk.objective.data_for(self.model.words())
        assert isinstance(text, Mixed)
        seen = text.of_run(self.tokens).seen(self.shared_steps * self.tokens // self.steps)
        told = [self.model.canonical(), self.model.words().fingerprint, self.recipe.canonical(), self.seed, seen, self.shared_steps]
        return self.folder / f"{digest(repr(told))}.beginning"

    def _start_from_previous(self) -> None:
        if (self._unfinished / STATE_FILE).exists():
            return
        shared = built_once(self._beginning, self._begin)
        write_atomic(self._unfinished / STATE_FILE, (shared / STATE_FILE).read_bytes())

    def _begin(self, target: Path) -> None:
        """Train the beginning; a killed one goes on from its own state."""
        import torch

        place = self._beginning.with_suffix(".unfinished")
        model = self.model.build(self.seed, self.needs)
        model.network.to(torch.get_default_device())  # pyright: ignore[reportArgumentType]
        model.checkpoint = self.trunk.checkpoint
        train(model, self.trunk.objective, self.recipe, seed=self.seed, folder=place, until=self.shared_steps, quiet=True)
        target.mkdir()
        shutil.move(place / STATE_FILE, target / STATE_FILE)
        shutil.rmtree(place, ignore_errors=True)
