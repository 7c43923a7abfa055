"""What every change is: something done to finished weights, in place, and undone to the last bit.

A change is a context manager, so that one loaded base serves a whole sweep::

    with Quantize(bits=4).applied(base) as model:
        rise = loss(model) - before

A new change writes `apply` and nothing else: it may overwrite tensors, put other tensors or modules in their place, switch
training mode, or set `requires_grad`; all of that is undone for it. What lives outside the weights (hooks, files) it undoes
itself through the `ExitStack` it is given. It appends one line to `model.transforms` only for what the tensors do not show,
such as activations rounded at evaluation.

Everything upstairs learns of a change from the change itself: what people call it, how strong it is and which way strength runs,
what it trains on and for how many tokens. The defaults do for most changes: name the field that a sweep runs over in `strength_field`.

Cost: while a change is applied, the device holds one more copy of the weights; applying and restoring are one copy each.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pliant.changes.restore import restored
from pliant.changes.told import detail, spelled_out
from pliant.errors import PliantError
from pliant.spec import Content, Spec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from transformers import PreTrainedModel

    from pliant.measures import Measure, Reading
    from pliant.models import Model
    from pliant.models.stored_model import StoredModel


TUNED = "tuned"
"""What stands for a learning rate that was chosen anew at every checkpoint."""


class Change(Spec):
    """Base of all changes. Abstract: a subclass writes `apply`."""

    called: ClassVar[str] = ""
    """What people call it, at the beginning of a title; by default its kind."""
    strength_field: ClassVar[str] = ""
    """The field a sweep runs over: it sorts and names the curves of one picture, and is no part of the title."""
    rate_field: ClassVar[str] = ""
    """The field that holds the learning rate, of changes that train."""
    untold: ClassVar[frozenset[str]] = frozenset({"draws"})
    """Fields that titles leave out: how it is measured, and what the title says already."""
    unchanged: ClassVar[bool] = False
    """Whether it leaves the weights as they are: what all others are compared with."""
    mirrored: ClassVar[bool] = False
    """Whether draws 2k and 2k + 1 mirror each other, so that a pair counts as one."""
    draws: ClassVar[int]
    """How many random draws one (change, seed) stands for: 1, or the value of the subclass's field `draws`."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if "draws" not in cls.model_fields and not hasattr(cls, "draws"):
            cls.draws = 1
        if cls.strength_field and cls.strength_field not in cls.model_fields:
            raise TypeError(f"{cls.__name__}.strength_field names no field: {cls.strength_field!r}")

    @property
    def strength(self) -> float | None:
        """A number to sort and draw by; None where nothing is swept."""
        value = getattr(self, self.strength_field, None) if self.strength_field else None
        return float(value) if isinstance(value, (int, float)) else None

    @property
    def stronger(self) -> Literal["higher", "lower"]:
        """Which way strength runs: whether a higher or a lower number does more to the model."""
        return "higher"

    @property
    def weight_bits(self) -> int | None:
        """How many bits a weight is left in; None where that is not what it is about."""
        return None

    @property
    def learning_rate(self) -> float | None:
        """The rate it trains with; None where it does not train."""
        return getattr(self, self.rate_field) if self.rate_field else None

    @property
    def trains_on(self) -> tuple[Content, ...]:
        """What it trains on: a measure that reads the same is its task."""
        return ()

    @property
    def trains(self) -> bool:
        """Whether it makes gradient steps."""
        return self.learning_rate is not None

    def training_tokens(self, context: float) -> float:
        """Tokens that one draw trains on, as far as its fields tell, for a model of this context, or of images that count as so many."""
        return 0.0

    def notes(self) -> list[str]:
        """What a user should know before it is made, a line each: what its data was found to be."""
        return []

    def singly(self) -> tuple[Change, ...]:
        """The changes it is made of, in order: itself, or the links of a chain."""
        return (self,)

    def title(self) -> str:
        """What people call it, strength left out: changes of one title belong in one picture."""
        return ", ".join([self.called or spelled_out(self.kind), *self.details()])

    def member(self, tuned: bool = False) -> str:
        """What tells it apart from the others of its title: `4 bits`; empty where nothing is swept. `tuned`: at a rate chosen anew."""
        if tuned and self.rate_field == self.strength_field != "":
            return self.shown_strength(TUNED)
        return "" if self.strength is None else self.shown_strength(f"{self.strength:g}")

    def shown_strength(self, value: str) -> str:
        """A strength with its unit."""
        return f"{self.strength_field.replace('_', ' ')} {value}"

    def name(self, tuned: bool = False) -> str:
        """Title and member, as a table has them."""
        return ": ".join(filter(None, (self.title(), self.member(tuned))))

    def details(self) -> list[str]:
        """The fields that are not as by default, in words."""
        left_out = {*self.untold, self.strength_field}
        fields = ((name, field) for name, field in type(self).model_fields.items() if name not in left_out)
        values = ((name, getattr(self, name), field.get_default(call_default_factory=True)) for name, field in fields)
        return [detail(name, value) for name, value, default in values if value not in (default, None)]

    def told(self, tuned: bool) -> dict[str, Any]:
        """The canonical form; with `tuned`, the learning rate reads so."""
        return self.canonical() | ({self.rate_field: TUNED} if tuned and self.rate_field else {})

    @property
    def shares(self) -> int:
        """Among how many shares of a measure's samples the draws are divided; with 1, each draw reads every sample."""
        return 1

    @property
    def repeats(self) -> int:
        """How many times every sample is read with one seed, each time for a record: once a draw, or fewer where draws share samples."""
        return self.draws // self.shares

    @property
    def pooled(self) -> bool:
        """Whether its draws share the samples among them, so that one reading (`readings`) can stand for all of them."""
        return self.shares > 1

    def share_draw(self, reading: int, share: int) -> int:
        """The draw under which a share is read the `reading`-th time."""
        return self.repeats * share + reading

    def ties(self, documents: Sequence[str]) -> NDArray[np.int64] | None:
        """What samples of these documents count with where its draws tie more together than documents do; else None.

        For records that do not say it themselves, since clusters were not always stored.
        """
        from pliant.measures.shares import clusters

        return clusters(documents, self.shares) if self.pooled else None

    @property
    def stochastic(self) -> bool:
        """Whether the seed matters. A change that is not stochastic is measured once, whatever the seeds of the study."""
        return False

    @property
    def needs_shapes(self) -> bool:
        """Whether `check` has anything to look at; where not, no network is built for it."""
        return False

    def check(self, network: PreTrainedModel) -> None:
        """Raises PliantError for what the names and shapes of the network's tensors do not allow; their numbers need not be there."""

    def apply(self, model: Model, seed: int, draw: int, undo: ExitStack) -> None:
        """Change `model` in place; `applied` puts the weights back, `undo` takes what else has to be undone."""
        raise NotImplementedError

    def rewrite(self, named: StoredModel, folder: Path, seed: int) -> dict[str, Any] | None:
        """Write the changed model without loading it, where the change can: what there is to tell, `weights` among it; else None."""
        return None

    @contextlib.contextmanager
    def applied(self, model: Model, seed: int = 0, draw: int = 0) -> Generator[Model]:
        """`model`, changed for the length of the block and restored bit for bit after it, also when the block raises.

        Raises PliantError when the change cannot be made to this model; the model is then as it was.
        """
        with restored(model), ExitStack() as undo:
            self.apply(model, seed, draw, undo)
            yield model

    def measured(self, model: Model, measure: Measure, seed: int = 0) -> Reading:
        """The first of `readings`::

        noise = Perturb(scale=0.05, draws=64, split=True)
        rise = (noise.measured(model, loss) - loss(model)).estimate()
        """
        return self.readings(model, measure, seed)[0]

    def readings(self, model: Model, measure: Measure, seed: int = 0) -> list[Reading]:
        """The measure's mean over all draws that read shares of the samples, as readings to compare with the unchanged ones.

        Their errors count draws and documents. Raises PliantError where draws are not divided among shares (one reading cannot
        stand for draws that all read the same samples), and as `measure` does.
        """
        from pliant.measures.measure import by_metric
        from pliant.measures.shares import joined

        if not self.pooled:
            raise PliantError("one reading stands for all draws only with split: true and 4 draws or more")
        parts: list[list[Reading]] = []
        for share, part in enumerate(measure.in_shares(model, self.shares)):
            times: list[Sequence[Reading]] = []
            for repeat in range(self.repeats):
                with self.applied(model, seed, self.share_draw(repeat, share)):
                    times.append(part(model))
            parts.append([_mean(same) for same in by_metric(times)])
        return [joined(same) for same in by_metric(parts)]

    def save(self, model: Model, folder: str | Path, seed: int = 0, draw: int = 0) -> None:
        """Write the changed model to `folder` as any model is saved; `model` itself stays as it was."""
        from pliant import models

        with self.applied(model, seed, draw) as changed:
            models.save(changed, Path(folder))


def _mean(readings: Sequence[Reading]) -> Reading:
    return replace(readings[0], values=sum(reading.values for reading in readings) / len(readings))
