"""pliant: what is a model worth after you change it?

import pliant as pl

base = pl.load("EleutherAI/pythia-70m@step143000")
loss = pl.measures.Loss(data="wikitext.txt")
before = loss(base)
with pl.changes.Quantize(bits=4).applied(base) as model:
    print(loss(model) - before)
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError

if TYPE_CHECKING:
    from pliant import (
        attacks,
        changes,
        comparison,
        data,
        decide,
        findings,
        laws,
        measures,
        methods,
        models,
        objectives,
        report,
        scores,
        study,
        train,
    )
    from pliant.comparison import compare
    from pliant.models import build, load, save
    from pliant.study import Ledger, Study, plan, run

__version__ = "0.1.0"
__all__ = [
    "Ledger",
    "PliantError",
    "Study",
    "attacks",
    "build",
    "changes",
    "compare",
    "comparison",
    "data",
    "decide",
    "findings",
    "laws",
    "load",
    "measures",
    "methods",
    "models",
    "objectives",
    "plan",
    "report",
    "run",
    "save",
    "scores",
    "study",
    "train",
]

_HOMES = {
    "load": "models",
    "save": "models",
    "build": "models",
    "run": "study",
    "plan": "study",
    "Study": "study",
    "Ledger": "study",
    "compare": "comparison",
}


def __getattr__(name: str) -> Any:
    """Rooms and the names above, imported when first used, so that `import pliant` is instant."""
    if name in _HOMES:
        return getattr(importlib.import_module(f"pliant.{_HOMES[name]}"), name)
    if name in __all__:
        return importlib.import_module(f"pliant.{name}")
    raise AttributeError(f"module 'pliant' has no attribute {name!r}")


def __dir__() -> list[str]:
    """With what has not been imported yet, so that completion finds it."""
    return sorted({*globals(), *__all__})
