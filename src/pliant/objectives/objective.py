"""What a network is trained on, and what one example costs it.

An objective is a frozen description (its fields are its YAML form). `examples` reads its data once for a model; those examples
then answer with batches, each a pure function of (seed, step), so that a killed run goes on as if nothing had happened. `losses`
puts one batch through the network and says what each example cost, so that weights, penalties and adversaries (`pliant.methods`)
compose on examples, and scores can be read off them. The training loop knows nothing else of an objective.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from pliant.errors import PliantError
from pliant.models.tasks import Needs
from pliant.spec import Spec, content_form

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from torch import Tensor, nn

    from pliant.data import Corpus, Part, Tokenizer
    from pliant.models import Model


@dataclass(frozen=True)
class Batch:
    """Examples that go through a network together, one a row; every tensor's first dimension is the rows."""

    numbers: NDArray[np.int64]
    """(rows,) which examples these are: indices into the `Examples` they come from, whose `ids` name them for good."""
    inputs: dict[str, Tensor]
    """What the network is called with, by argument."""
    targets: Tensor
    """What it should have answered; its shape is the objective's own."""
    weights: Tensor
    """(rows,) what each row counts in the mean: the tokens it predicts, or 1. On the CPU or the inputs' device."""
    known: dict[str, Tensor] = field(default_factory=dict[str, "Tensor"])
    """What else the objective knows of each row, by name: which inputs are no padding, what a reference gave."""

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, rows: slice) -> Batch:
        inputs, known = ({name: tensor[rows] for name, tensor in part.items()} for part in (self.inputs, self.known))
        return Batch(self.numbers[rows], inputs, self.targets[rows], self.weights[rows], known)

    def split(self, rows: int) -> list[Batch]:
        """Batches of at most so many rows, in order."""
        return [self[start : start + rows] for start in range(0, len(self), rows)]

    def to(self, device: torch.device) -> Batch:
        """The same batch on another device."""

        def there(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True)

        inputs, known = ({name: there(tensor) for name, tensor in part.items()} for part in (self.inputs, self.known))
        return replace(self, inputs=inputs, targets=there(self.targets), weights=there(self.weights), known=known)


@dataclass(frozen=True)
class Losses:
    """What each row of a batch cost: `totals` (rows,), in the objective's unit times `weights` (rows,).

    A row that predicts many tokens has the sum over them in `totals` and their number in `weights`.
    """

    totals: Tensor
    weights: Tensor
    output: Any
    """What the network answered, as it answered it; a list where a pass was made in several."""

    @property
    def values(self) -> Tensor:
        """(rows,) the mean loss of each row, in the objective's unit."""
        return self.totals / self.weights

    def mean(self) -> Tensor:
        """The weighted mean over rows: nats per token for losses of tokens."""
        return self.totals.sum() / self.weights.sum()

    def plus(self, penalty: Tensor | float) -> Losses:
        """With a penalty added to the mean: one number, or one a row (rows,)."""
        return replace(self, totals=self.totals + self.weights * penalty)

    def weighted(self, factors: Tensor) -> Losses:
        """With every row counting `factors` (rows,) times as much."""
        return replace(self, totals=self.totals * factors, weights=self.weights * factors)


class Examples(Protocol):
    """The data of an objective, read, tokenised or decoded once, as one model sees it. Cheap to send to another process."""

    @property
    def fingerprint(self) -> str:
        """Names the content that training can see."""
        ...

    @property
    def unique(self) -> int:
        """How many different tokens (examples, where there are no tokens) there are to learn from."""
        ...

    @property
    def row_tokens(self) -> float:
        """Tokens that a row predicts, on average; 1 where there are no tokens."""
        ...

    @property
    def chance(self) -> float:
        """The loss of knowing nothing, in the objective's unit: log of the number of answers. A run far above it has diverged."""
        ...

    def batch(self, step: int, rows: int, seed: int) -> Batch:
        """The rows of one optimizer step, on the CPU: a pure function of its arguments."""
        ...


class TrainingData(Protocol):
    """What is known of an objective's data once a tokenizer has read it, before there is a network."""

    @property
    def fingerprint(self) -> str:
        """Names the content that training can see."""
        ...

    def __len__(self) -> int:
        """How many different tokens (examples, where there are no tokens) there are to learn from."""
        ...


class Objective(Spec):
    """Base of all objectives. Abstract: a subclass writes `data_for`, `examples` and `losses`."""

    unit: ClassVar[str] = "nats"
    """Of the loss of one example, per unit of weight."""
    task: ClassVar[str] = "causal"
    """What a network must answer with to be trained on it: the name of one of `pliant.models.tasks`; empty where any will do."""
    measured_by: ClassVar[str] = ""
    """The kind of measure that reads the same loss on data that was not trained on, by `data` and `part`; empty where there is none."""
    judged_by: ClassVar[str] = ""
    """The kind of measure that says how good its answers are, by `data` and `part`, where that is not its loss."""
    row_tokens: ClassVar[int | None] = None
    """Tokens that every row predicts, where that is not a matter of its length: 1 where a row has one label."""
    rows_together: ClassVar[bool] = False
    """Whether what a row costs depends on the rows that go through the network with it."""

    def needs(self) -> Needs | None:
        """What a network must be to be trained on it; None where any will do. Raises PliantError for data that cannot be read.

        A subclass whose task has labels says which, and one whose task depends on its data says the task.
        """
        return Needs(self.task) if self.task else None

    @classmethod
    def found_in(cls, corpus: Corpus, part: Part) -> Self | None:
        """This objective on a source whose columns call for it; None for any other. Raises PliantError for what cannot be read."""
        return None

    def data_for(self, tokenizer: Tokenizer) -> TrainingData:
        """The data as `tokenizer` reads it: what a plan knows of a run. Raises PliantError for data that cannot be read."""
        raise NotImplementedError

    def examples(self, model: Model, length: int | None) -> Examples:
        """The data as `model` sees it; `length` is the most tokens a row may predict, the model's context where not given.

        Raises PliantError for data that cannot be read, that does not belong to the model, or that is too short.
        """
        raise NotImplementedError

    @property
    def of_length(self) -> bool:
        """Whether what a run draws early depends on how long it is, so that a shorter run is not the beginning of a longer one."""
        return False

    def planned(self, examples: Any, rows: int) -> Any:
        """The examples that a run of so many rows draws from. Raises PliantError where they do not suffice for it."""
        return examples

    def counted(self, model: Model, length: int | None) -> Examples:
        """The same data for whoever counts it before any training: without what takes passes through a network. Raises as `examples`."""
        return self.examples(model, length)

    def described(self) -> Any:
        """What the identity of a run says of it, beside `seen`. Raises PliantError for data that cannot be read."""
        return content_form(self)

    def seen(self, examples: Any, rows: int) -> str:
        """Names what the first rows of a run are drawn from."""
        return examples.fingerprint

    def held_out(self) -> Self:
        """The same on the part of its data that is not trained on, as it is: without what is done to data in training alone."""
        return self.model_copy(update={"part": "heldout"})

    def told(self) -> str:
        """What its data was found to be, for people; nothing where there is nothing to say."""
        return ""

    def tokens_read(self, length: int | None, context: float) -> float:
        """About how many tokens go through a network for one row, its texts cut at `length`: for estimates of cost.

        `context` is the network's longest text, or what one image counts as (see `pliant.models.operations`).
        """
        return self.texts_of_row() * float(length or context)

    def texts_of_row(self) -> int:
        """How many texts go through a network for one row: both of a pair. Raises PliantError for data that cannot be read."""
        return 1

    def pictures(self) -> int:
        """How many images its data holds; 0 where it is text. Raises PliantError for data that cannot be read."""
        return 0

    def losses(self, network: nn.Module, batch: Batch) -> Losses:
        """One forward pass, and what each row of it cost. Gradients flow where they are wanted."""
        raise NotImplementedError

    def distributions(self, losses: Losses, batch: Batch) -> tuple[Tensor, Tensor]:
        """What a pass predicted of its targets: logits (predictions, answers), and the row of each (predictions,).

        Raises PliantError for an objective that predicts no distribution.
        """
        raise PliantError(f"{self.kind} predicts no distribution over answers, of which two passes could be compared")
