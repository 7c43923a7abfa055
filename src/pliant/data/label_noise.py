"""Wrong labels on purpose: a fixed set of examples, chosen by a seed, gets another label.

Idea: how much wrong labels hurt, and what finds them. Which examples are wrong depends on their ids and the seed alone, so it is the same
set at every epoch, in every run and for every model; more noise of one seed makes the same ones wrong and some more.
When to use it: robustness to label noise, and scores that are to find wrong labels; keep the evaluation's labels as they are.
Cost: none.
What goes wrong: `symmetric` noise takes a label other than the right one; papers that draw from all classes have less noise than they say.
Source: arXiv 2405.03676 (30%, symmetric).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from pliant.spec import Spec


class LabelNoise(Spec):
    """Give a fraction of the examples a wrong label."""

    fraction: float = Field(gt=0, le=1, description="Share of the examples whose label becomes a wrong one")
    flips: Literal["symmetric", "asymmetric"] = Field(
        "symmetric",
        description="symmetric: any other class, each as likely; asymmetric: the class that comes next, of the last one the first",
    )
    seed: int = Field(0, ge=0, description="Which examples, and which labels")

    def __call__(self, ids: Sequence[str], labels: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
        """The labels (examples,) below `classes`, round(fraction x examples) of them wrong."""
        drawn = np.array([self._drawn(name) for name in ids], np.uint64).reshape(len(ids), 2)
        wrong = np.argsort(drawn[:, 0], kind="stable")[: round(self.fraction * len(ids))]
        shift = 1 if self.flips == "asymmetric" else 1 + (drawn[wrong, 1] % np.uint64(max(1, classes - 1))).astype(np.int64)
        found = labels.copy()
        found[wrong] = (labels[wrong] + shift) % classes
        return found

    def _drawn(self, name: str) -> tuple[int, int]:
        """Two numbers of an example: its place in the order of wrong ones, and which wrong label it gets."""
        content = hashlib.sha256(f"{self.seed} {name}".encode()).digest()
        return int.from_bytes(content[:8], "big"), int.from_bytes(content[8:16], "big")
