"""What methods that average weights share: the pull towards the start, and batch norm's statistics of weights nobody trained with."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.models.batch_norm import reestimate

if TYPE_CHECKING:
    from pliant.methods.method import MethodState, Run

FACTORS = "an average of LoRA's factors is not the average of the weights; use sfa or wise_ft, or train all weights"
"""Why averages of iterates refuse adapters."""

STATISTICS_STEPS = 50
"""Steps' rows on which batch norm's statistics are taken."""


def keep_start(run: Run, state: MethodState) -> None:
    """Copy the weights that training starts from."""
    state.tensors.update({name: p.detach().clone() for name, p in run.parameters().items()})


def pull(run: Run, state: MethodState, beta: float) -> None:
    """Every weight to (1 - beta) x itself + beta x its start; of LoRA's factors the one that starts from zero is enough."""
    for name, p in run.parameters().items():
        if run.linear_in is None or name in run.linear_in:
            p.data.lerp_(state.tensors[name], beta)


def renew_statistics(run: Run) -> None:
    """Batch norm's running statistics of the weights as they are, on the run's first batches; nothing where there are none."""
    reestimate(run.network, (run.batch(step).inputs for step in range(min(run.steps, STATISTICS_STEPS))))
