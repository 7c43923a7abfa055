"""Measures: what is read off a model. One file each; a new one is a file and a name in `MEASURES`."""

from __future__ import annotations

from pliant.measures.accuracy import Accuracy
from pliant.measures.answer_loss import AnswerLoss
from pliant.measures.attacked_loss import AttackedLoss
from pliant.measures.choice import Choice
from pliant.measures.context import ContextReliance
from pliant.measures.divergence import PredictionDivergence
from pliant.measures.facts import FactsKept
from pliant.measures.generate import Generate
from pliant.measures.loss import Loss
from pliant.measures.masked_loss import MaskedLoss
from pliant.measures.measure import Difference, Measure, Reading
from pliant.measures.predict import Predict
from pliant.measures.predictions import Predictions, agreement
from pliant.measures.preference import Preference
from pliant.measures.robustness import Robustness
from pliant.measures.tasks import Tasks
from pliant.measures.weight_change import WeightChange
from pliant.spec import Catalog

MEASURES: Catalog[Measure] = Catalog(
    "measure",
    Loss,
    Choice,
    Generate,
    Predict,
    PredictionDivergence,
    Preference,
    Accuracy,
    MaskedLoss,
    AnswerLoss,
    Tasks,
    WeightChange,
    Robustness,
    AttackedLoss,
    ContextReliance,
    FactsKept,
)

__all__ = [
    "MEASURES",
    "Accuracy",
    "AnswerLoss",
    "AttackedLoss",
    "Choice",
    "ContextReliance",
    "Difference",
    "FactsKept",
    "Generate",
    "Loss",
    "MaskedLoss",
    "Measure",
    "Predict",
    "PredictionDivergence",
    "Predictions",
    "Preference",
    "Reading",
    "Robustness",
    "Tasks",
    "WeightChange",
    "agreement",
]
