"""A score of open models from their principal capabilities: score = ceiling sigmoid(w1 PC1 + w2 PC2 + w3 PC3 + b).

When to use it: published scores of many models of many families, to predict a harder or emergent task from standard benchmarks without
training anything. `pliant.laws.tables.components.principal_components` adds PC1 to PC3 to a table of scores.
What goes wrong: components of a table that holds the models to be predicted have seen them; beyond the first their order means little.
Families share contamination: name the family as `clusters`. Observational: what would happen to a changed model is not asked.
Source: Ruan et al., arXiv 2405.10938.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pliant.laws.law import Column, Law, Parameter

if TYPE_CHECKING:
    from torch import Tensor


def observational(PC1: Tensor, PC2: Tensor, PC3: Tensor, ceiling: Tensor, b: Tensor, w1: Tensor, w2: Tensor, w3: Tensor) -> Tensor:
    """A sigmoid of a weighted sum of components, a share between 0 and ceiling."""
    import torch

    return ceiling * torch.sigmoid(w1 * PC1 + w2 * PC2 + w3 * PC3 + b)


LAW = Law(
    name="observational",
    function=observational,
    columns=(
        Column("PC1", "component", "first principal component of benchmark scores, above zero"),
        Column("PC2", "component", "second", positive=False, default=0.0),
        Column("PC3", "component", "third", positive=False, default=0.0),
    ),
    parameters=(
        Parameter("ceiling", "score of the best conceivable model", (1.0, 0.7), "identity", 0.0, 1.0),
        Parameter("b", "log odds where all components are zero", (-3.0, 0.0), "identity"),
        Parameter("w1", "weight of PC1", (-5.0, -1.0, 1.0, 5.0), "identity"),
        Parameter("w2", "weight of PC2", (0.0,), "identity"),
        Parameter("w3", "weight of PC3", (0.0,), "identity"),
    ),
    linear=("ceiling",),
    fix={"ceiling": 1.0},
    target="score",
    unit="share of right answers",
    residual="difference",
    scale=("PC1",),
    source="Ruan et al., arXiv 2405.10938",
    valid="open base models of 2023 and 2024 on standard benchmarks",
    identifiability="components that hardly vary leave their weight open; the ceiling (held at 1 until freed) needs scores near it",
)
