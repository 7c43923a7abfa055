"""What every change is: something done to finished weights, in place, and undone to the last bit.

A change is a context manager, so that one loaded base serves a whole sweep::

    with Quantize(bits=4).applied(base) as model:
        rise = loss(model) - before

A new change writes `apply` and nothing else: it may overwrite tensors, put other tensors or modules in their place, switch
training mode, or set `requires_grad`; all of that is undone for it. What lives outside the weights (hooks, files) it undoes
itself through the `ExitStack` it is given. It appends one line to `model.transforms` only for what the tensors do not show,
such as activations rounded at evaluation.

Cost: while a change is applied, the device holds one more copy of the weights; applying and restoring are one copy each.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from pliant.changes.restore import restored
from pliant.spec import Spec

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pliant.models import Model


class Change(Spec):
    """Base of all changes. Abstract: a subclass writes `apply`."""

    draws: ClassVar[int]
    """How many random draws one (change, seed) stands for: 1, or the value of the subclass's field `draws`."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        super().__pydantic_init_subclass__(**kwargs)
        if "draws" not in cls.model_fields and not hasattr(cls, "draws"):
            cls.draws = 1

    @property
    def shares(self) -> int:
        """Among how many shares of a measure's samples the draws are divided; with 1, each draw reads every sample."""
        return 1

    def share_draw(self, reading: int, share: int) -> int:
        """The draw under which a share is read the `reading`-th time; each share is read `draws / shares` times."""
        return self.draws // self.shares * share + reading

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

    @contextlib.contextmanager
    def applied(self, model: Model, seed: int = 0, draw: int = 0) -> Generator[Model]:
        """`model`, changed for the length of the block and restored bit for bit after it, also when the block raises.

        Raises PliantError when the change cannot be made to this model; the model is then as it was.
        """
        with restored(model), ExitStack() as undo:
            self.apply(model, seed, draw, undo)
            yield model

    def save(self, model: Model, folder: str | Path, seed: int = 0, draw: int = 0) -> None:
        """Write the changed model to `folder` as any model is saved; `model` itself stays as it was."""
        from pliant import models

        with self.applied(model, seed, draw) as changed:
            models.save(changed, Path(folder))
