"""Probes: the head is trained, and the trunk stays as it is.

Idea: how much of an answer lies ready in what a network makes inside. The trunk is frozen and in evaluation mode (no dropout, batch norm
with the statistics it has), so a linear head on it is a linear classifier of its features.
When to use it: to compare trunks by what can be read off them, before or instead of fine-tuning them; to warm up a fresh head.
Cost: a forward pass, and the gradients of the head alone; no moments for the trunk.
What goes wrong: rates of fine-tuning are far too low for a head alone (try 1e-2). A pooler that came with a fresh head is random and
stays so, unless `train` names it, too. A head that is tied to the embedding trains the embedding.
Source: linear probes, arXiv 1610.01644.
"""

from __future__ import annotations

from fnmatch import fnmatchcase

from pydantic import Field

from pliant.errors import PliantError
from pliant.methods.method import Method, MethodState, Run
from pliant.models.modules import head_weights
from pliant.spec import nearest


class Probe(Method):
    """Train the head alone, or the parameters that are named."""

    holds = frozenset({"trained"})
    rate_factor = 10.0
    train: str = Field("head", description="What is trained: `head`, or name patterns separated by commas, such as `score.*, *.pooler.*`")

    def prepare(self, run: Run, state: MethodState) -> None:
        """Freeze everything else until the run ends. Raises PliantError where no parameter has such a name."""
        names = [name for name, _ in run.network.named_parameters()]
        patterns = [pattern.strip() for pattern in self.train.split(",")]
        heads = head_weights(run.network) if "head" in patterns else set[str]()
        trained = {name for name in names if name in heads or any(fnmatchcase(name, pattern) for pattern in patterns)}
        if not trained:
            raise PliantError(f"probe: no parameter is called {self.train!r}; {nearest(self.train, ['head', *names])}")
        for name, parameter in run.network.named_parameters():
            state.undo.callback(parameter.requires_grad_, parameter.requires_grad)
            parameter.requires_grad_(name in trained)
        for module in run.network.modules():
            module.training = any(parameter.requires_grad for parameter in module.parameters())
