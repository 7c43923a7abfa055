"""A plain warning wherever final learning rates or schedules differ or are unknown."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from designs import CHINCHILLA

from pliant.decide import size, sweep
from pliant.laws import LAWS, Fit, fit, grid, simulate

RUNS = simulate(LAWS["chinchilla"], grid(N=(1e7, 1e8, 1e9), D=(1e9, 1e10, 1e11)), CHINCHILLA, 0.002, 0)


def remark(**more: object) -> list[str]:
    found = fit("chinchilla", {**RUNS, **more}, bootstrap=0)
    return [text for text in found.remarks if text.startswith("learning rates: ")]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({}, "does not say where each run's ended"),
        ({"final_lr": np.full(9, 3e-5)}, "all runs end at 3e-05 (final_lr)"),
        ({"final_lr": np.full(9, 3e-5), "schedule": ["cosine"] * 8 + ["constant"]}, "follow 2 different ones (schedule: constant, cosine)"),
        ({"min_lr": np.repeat([0.0, 3e-5, 3e-4], 3)}, "end at 3 different ones (min_lr: 0, 3e-05, 0.0003)"),
        ({"lr_schedule": ["cosine"] * 5 + [None] * 4}, "follow 2 different ones (lr_schedule: cosine, unknown)"),
        ({"learning_rate": np.linspace(1e-4, 3e-4, 9)}, "were read at 9 different ones"),
    ],
)
def test_what_a_table_says(more: dict[str, object], said: str) -> None:
    (sentence,) = remark(**more)
    assert said in sentence


def test_laws_that_it_does_not_touch_say_nothing() -> None:
    """Rises, accuracies, and laws that read the schedule themselves."""
    table = {"L": np.linspace(2, 4, 9), "accuracy": np.linspace(0.9, 0.3, 9)}
    assert not any("learning rates" in text for text in fit("accuracy", table, bootstrap=0).remarks)
    run = {"step": np.arange(1e3, 1e4, 1e3), "lr": np.linspace(3e-4, 3e-5, 9), "loss": np.linspace(4, 3, 9)}
    assert not any("learning rates" in text for text in fit("momentum", run, bootstrap=0).remarks)


def test_decisions_repeat_it_also_from_a_file(tmp_path: Path) -> None:
    fit("chinchilla", {**RUNS, "schedule": ["cosine", "constant", "wsd"] * 3}, bootstrap=40).save(tmp_path / "fit.json")
    found = Fit.load(tmp_path / "fit.json")
    for decision in (size([found], 1e20, {}), sweep(found, 1e20, compute=1e20)):
        (warning,) = decision.json()["warnings"]
        assert "follow 3 different ones" in warning
