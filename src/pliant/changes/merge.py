"""Merging with other checkpoints of the same shape: what several trainings learned, in one set of weights.

Idea: checkpoints fine-tuned from one start lie close enough for their weights to be averaged or their changes to be added. `linear`
takes the mean of all, the model among them with weight 1 (a model soup); `wise_ft` interpolates between it and one other; `slerp` does
so along an arc, which keeps norms. The other ways take the model for the common start and add `weight` times what the others have
over it: `task_arithmetic` all of it; `ties` the share `density` that changed most, where signs agree; `dare_linear` and `dare_ties` a
random share `density`, made larger by 1/density, added or merged as TIES does.
When to use it: to combine skills without training, or to get back what fine-tuning forgot (`wise_ft`, also as the last link of a chain:
fine-tune, then merge with the start). Sweep `weight`.
Cost: reading every checkpoint once or twice, piece by piece; written by `pliant change merge` in the memory of a piece of each (TIES:
one tensor more). Adapters, GGUF and packed weights, and files that name their tensors otherwise, are loaded first, one at a time; in a
study at every cell.
What goes wrong: checkpoints from different starts share no basin, whatever their shapes are. Tied tensors are merged once. Norms,
biases and embeddings are merged as well. Batch norm's statistics fit no merged network: give `statistics`, examples on which they are
taken anew (the network is then loaded). A small weight may vanish in bfloat16's last digit, which is said. TIES and DARE look at one
tensor at a time, not at the whole model.
Source: arXiv 2203.05482 (soups), 2109.01903 (WiSE-FT), 2212.04089 (task arithmetic), 2306.01708 (TIES), 2311.03099 (DARE).
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, create_model, field_validator, model_serializer, model_validator

from pliant.changes.change import Change
from pliant.files import cache_folder, workplace
from pliant.merging.blend import Account, blended
from pliant.merging.formulas import FORMULAS, Formula, Setting
from pliant.merging.inputs import check_entries, opened, plain_outline
from pliant.merging.pieces import FileWeights, NetworkWeights, entries_of
from pliant.merging.rewrite import rewritten
from pliant.models.batch_norm import norms_with_statistics, reestimate
from pliant.models.stored_model import StoredModel
from pliant.models.weight_files import weight_files
from pliant.objectives import AnyObjective
from pliant.progress import remark
from pliant.spec import Spec

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pliant.models import Model
    from pliant.objectives import Objective

    class _WithOthers(Spec):
        """For type checkers."""

else:  # `with` is a word of Python's own, which no class body can declare
    _others = Field(min_length=1, description="The other checkpoints: folders, adapters, .gguf files, hub repositories")
    _WithOthers = create_model("_WithOthers", __base__=Spec, **{"with": (tuple[StoredModel, ...], _others)})


STATISTICS_BATCHES, STATISTICS_ROWS = 50, 64
"""On which batch norm's statistics are taken."""


class Merge(_WithOthers, Change):
    """Merge the weights with those of other checkpoints."""

    called = "Merging"
    strength_field = "weight"
    method: Literal["linear", "wise_ft", "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties"] = Field(
        description="How: means (linear, wise_ft, slerp), or what the others learned added to the model (task_arithmetic, ties, dare_*)"
    )
    weight: float = Field(
        description="How much of the others: their part of the way for wise_ft and slerp, each one's weight beside the model's 1 for "
        "linear, else the factor of what is added"
    )
    weights: tuple[Annotated[float, Field(allow_inf_nan=False)], ...] = Field(
        (), description="Of each checkpoint, relative to `weight`; 1 by default"
    )
    density: float = Field(1.0, gt=0, le=1, description="Share of the changes that ties and dare_* keep")
    draws: int = Field(1, ge=1, description="Random choices of dare_* to average over")  # pyright: ignore[reportIncompatibleVariableOverride]

    statistics: AnyObjective | None = Field(
        None, description="Examples on which batch norm's statistics are taken anew: `label: {data: builtin:digits}`"
    )

    @model_serializer(mode="wrap")
    def _without_statistics(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the statistics that nobody asked for, so that records from before there was a choice keep their keys."""
        return {name: value for name, value in handler(self).items() if name != "statistics" or value is not None}

    @model_validator(mode="before")
    @classmethod
    def _looked_at(cls, form: Any) -> Any:
        """Fields that the method does not look at are as by default, so that a sweep over methods makes no change twice."""
        formula = FORMULAS.get(_underscored(str(form.get("method")))) if isinstance(form, dict) else None
        if formula is None:
            return form
        unread = {"weights": formula.single, "density": not formula.sparse, "draws": not formula.random}
        return {name: value for name, value in form.items() if not unread.get(name, False)}

    @field_validator("with", mode="before", check_fields=False)
    @classmethod
    def _several(cls, value: Any) -> Any:
        return [value] if isinstance(value, (str, dict, StoredModel)) else value

    @field_validator("method", mode="before")
    @classmethod
    def _spelled(cls, value: Any) -> Any:
        return _underscored(value)

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        count = len(self.others)
        if self.formula.single and count > 1:
            raise ValueError(f"{self.method} is of the model and one other checkpoint, not of {count}; linear takes any number")
        if self.formula.single and not 0 <= self.weight <= 1:
            raise ValueError(f"{self.method} takes a weight from 0 (the model) to 1 (the other one); task_arithmetic goes beyond")
        if self.weights and len(self.weights) != count:
            raise ValueError(f"weights are one for each of the other checkpoints: {count}, not {len(self.weights)}")
        if any(share <= 0 for share in self.weights) and not self.formula.signed:
            raise ValueError(f"weights are above 0 with {self.method}; task_arithmetic takes away what a checkpoint learned")
        if self.formula.random and "density" not in self.model_fields_set:
            raise ValueError(f"{self.method} needs a density: the share of the changes that it keeps, such as 0.5")
        if self.method == "linear" and self.weight < 0:
            raise ValueError("weight is at least 0 with linear")
        return self

    @property
    def others(self) -> tuple[StoredModel, ...]:
        """The checkpoints named by `with`."""
        return getattr(self, "with")

    @property
    def formula(self) -> Formula:
        """What its method does."""
        return FORMULAS[self.method]

    @property
    def stochastic(self) -> bool:
        """Where changes are dropped at random."""
        return self.formula.random

    @property
    def needs_shapes(self) -> bool:
        """Yes: they are those of the others."""
        return True

    def check(self, network: PreTrainedModel) -> None:
        """Raises PliantError for another checkpoint whose files hold other tensors; one that must be loaded is looked at in its turn."""
        for other in self.others:
            if plain_outline(other) is not None:
                weights = FileWeights(weight_files(other.folder()), other.address)
                check_entries(entries_of(network), weights, network, "the model")

    def apply(self, model: Model, seed: int, draw: int, undo: ExitStack) -> None:
        """Merge in place, in the weights' own type. Raises PliantError for checkpoints that do not fit, and numbers that are not finite."""
        base, account = NetworkWeights(model.network, model.checkpoint.address), Account()
        with self._opened(model) as others:
            pieces = blended(base, others, base.entries, self.formula, self.setting(seed, draw), account)
            for name, begin, piece in pieces:
                base.write(name, begin, piece)
        if self.statistics is not None:
            self._renew(self.statistics, model, seed)
            account.statistics = 0
        self._told(account, base.address)

    def _renew(self, objective: Objective, model: Model, seed: int) -> None:
        """Batch norm's running statistics of the weights as they are now."""
        if not norms_with_statistics(model.network):
            remark(f"{model.checkpoint.address} has no statistics of batch norm to be taken anew")
            return
        examples = objective.examples(model, None)
        batches = (examples.batch(number, STATISTICS_ROWS, seed).to(model.device) for number in range(STATISTICS_BATCHES))
        reestimate(model.network, (batch.inputs for batch in batches))

    @contextmanager
    def _opened(self, model: Model) -> Generator[list[FileWeights]]:
        with workplace(cache_folder() / "merging") as scratch, ExitStack() as closing:
            found = [opened(other, model.network, model.words, model.checkpoint.address, scratch) for other in self.others]
            for weights in found:
                closing.callback(weights.close)
            yield found

    def rewrite(self, named: StoredModel, folder: Path, seed: int) -> dict[str, Any] | None:
        """Piece by piece, where the model's files hold its tensors as they are, and nothing has to be put through the network."""
        if self.statistics is not None:
            return None
        found = rewritten(named, self.others, self.formula, self.setting(seed, 0), folder)
        if found is None:
            return None
        account, weights = found
        self._told(account, named.address)
        return {"weights": weights, "tensors": account.tensors, "changed": account.changed}

    def setting(self, seed: int, draw: int) -> Setting:
        """What the formula is told."""
        return Setting(self.weight, self.weights or (1.0,) * len(self.others), self.density, f"{seed} {draw}")

    def _told(self, account: Account, base: str) -> None:
        for line in account.remarks(base, [other.address for other in self.others], self.formula):
            remark(line)


def _underscored(method: Any) -> Any:
    """`task-arithmetic` is `task_arithmetic`."""
    return method.replace("-", "_") if isinstance(method, str) else method
