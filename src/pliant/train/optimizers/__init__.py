"""Optimizers. One file each; a new one is a file and a name in `OPTIMIZERS`."""

from __future__ import annotations

from typing import Annotated

from pliant.spec import Catalog
from pliant.spec.fields import OneOf
from pliant.train.optimizers.adamw import AdamW
from pliant.train.optimizers.lion import Lion
from pliant.train.optimizers.optimizer import Optimizer
from pliant.train.optimizers.sgd import Sgd

OPTIMIZERS: Catalog[Optimizer] = Catalog("optimizer", AdamW, Sgd, Lion)

AnyOptimizer = Annotated[Optimizer, OneOf(OPTIMIZERS)]
"""The type of a field that holds an optimizer, by its name or with its fields."""

__all__ = ["OPTIMIZERS", "AdamW", "AnyOptimizer", "Lion", "Optimizer", "Sgd"]
