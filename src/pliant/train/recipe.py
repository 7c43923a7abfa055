"""How to train: budget, batch, learning rate and its schedule, optimizer. One description for pretraining and fine-tuning.

The defaults train tiny models on text in seconds on one CPU core: AdamW (0.9, 0.95), weight decay 0.1 on matrices, 2,048
tokens a step, a cosine to zero, clipping at 1. Cost: 6 x parameters x tokens floating-point operations.
What goes wrong: a learning rate from one width does not carry to another; bfloat16 is slower than float32 on CPUs without
matrix units and below width 128.
"""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import Field, SerializerFunctionWrapHandler, model_serializer, model_validator

from pliant.numbers import Count, Rate
from pliant.spec import Spec
from pliant.train.compiling import Compile
from pliant.train.optimizers import AdamW, AnyOptimizer
from pliant.train.schedules import AnySchedule, Cosine


class Optimisation(Spec):
    """What a recipe says besides its budget and learning rate."""

    batch: int = Field(32, ge=1, description="Sequences in one forward pass")
    accumulate: int = Field(1, ge=1, description="Forward passes whose gradients make one step, for batches larger than memory")
    length: int | None = Field(None, ge=1, description="Tokens predicted in a sequence; by default the model's context")
    schedule: AnySchedule = Field(
        Cosine(), description="cosine: falls from the first step on; constant: never; wsd: over the last `decay` of the run"
    )
    decay: float = Field(0.2, ge=0, le=1, description="Fraction of the steps over which a wsd schedule falls")
    final: float = Field(0.0, ge=0, le=1, description="Final learning rate as a fraction of the peak")
    warmup: int | None = Field(None, ge=0, description="Steps over which the learning rate rises; by default a tenth of all, at most 100")
    weight_decay: float = Field(0.1, ge=0, description="Decoupled weight decay of matrices (embeddings included); vectors have none")
    optimizer: AnyOptimizer = Field(AdamW(), description="What makes steps of gradients")
    betas: tuple[float, float] = Field((0.9, 0.95), description="AdamW's averaging of gradients and of their squares")
    epsilon: Rate = Field(1e-8, description="AdamW's epsilon")
    clip: float = Field(1.0, ge=0, description="Largest norm of all gradients together; 0 clips nothing")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="bf16: forward pass in bfloat16, weights and optimizer stay as they are")
    compile: Compile = Field(
        "never", description="auto: compile the network for long runs on CUDA; elsewhere it does nothing, and says why"
    )

    @model_serializer(mode="wrap")
    def _plain(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Without the optimizer where it is AdamW, and `compile` where never, so that records from before there were choices keep keys."""
        usual = {"optimizer": AdamW.kind, "compile": "never"}
        return {name: value for name, value in handler(self).items() if name not in usual or value != usual[name]}


class Recipe(Optimisation):
    """How to train one model: a budget, given as tokens or as steps, and everything else."""

    lr: Rate = Field(description="Peak learning rate")
    tokens: Count | None = Field(None, description="Budget in training tokens, rounded to whole steps")
    steps: int | None = Field(None, ge=1, description="Budget in optimizer steps, instead of tokens")

    @model_validator(mode="after")
    def _one_budget(self) -> Self:
        if (self.tokens is None) == (self.steps is None):
            raise ValueError("give the budget as tokens or as steps, one of the two")
        return self

    def tokens_a_step(self, context: int, row_tokens: int | None = None) -> int:
        """Tokens predicted in one optimizer step by a model of this context; `row_tokens` of each row, where its length does not matter."""
        return self.batch * self.accumulate * (row_tokens or self.length or context)

    def step_count(self, context: int, row_tokens: int | None = None) -> int:
        """Optimizer steps for a model of this context; at least one."""
        return self.steps if self.steps is not None else max(1, round((self.tokens or 0) / self.tokens_a_step(context, row_tokens)))

    def warmup_steps(self, steps: int) -> int:
        """Steps over which the learning rate rises in a run of `steps`."""
        return min(100, steps // 10) if self.warmup is None else self.warmup

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step, and at `step == steps` the rate reached at the end."""
        return self.schedule.rate(step, steps, self.lr, self.warmup_steps(steps), self.decay, self.final)

    def peak_rate(self, steps: int) -> float:
        """The largest learning rate of the run: a run shorter than its warm-up never gets to `lr`."""
        warmup = self.warmup_steps(steps)
        return self.lr if steps >= warmup else self.lr * steps / warmup

    def trajectory(self, steps: int) -> dict[str, Any]:
        """What the first steps of a run depend on, besides weights, data and seed, and whether it is compiled.

        For an open-ended schedule this leaves the budget out: a shorter run is the beginning of a longer one.
        """
        fields = self.model_dump(mode="json", exclude={"tokens", "steps", "warmup", "compile"}) | {"warmup": self.warmup_steps(steps)}
        return fields if self.schedule.open_ended else fields | {"steps": steps}
