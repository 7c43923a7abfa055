"""Arms tuned alike: which setting is taken, on which seeds it is judged, and that nothing runs twice."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pliant.findings.tuned import FIRST_FRESH_SEED, over_seeds, remembered, tuned
from pliant.train import Diverged

GRID = [{"lr": lr, "methods": [{"sam": {"rho": rho}}]} for lr in (1.0, 2.0, 3.0) for rho in (0.1, 0.2)]


def test_the_setting_that_validates_best_is_judged_on_fresh_seeds():
    asked = []

    def run(setting, seed):
        asked.append((setting["lr"], seed))
        return {"valid": -abs(setting["lr"] - 2) + setting["methods"][0]["sam"]["rho"], "accuracy": 10.0 * seed}

    found = tuned(run, GRID, seeds=3, tuning_seeds=2)
    assert found.setting == {"lr": 2.0, "methods": [{"sam": {"rho": 0.2}}]}
    assert found.edges == ("methods.0.sam.rho",)  # 2 lies between 1 and 3, and nothing above 0.2 was tried
    assert found.read["accuracy"].tolist() == [1000.0, 1010.0, 1020.0]
    tuning, fresh = asked[: 2 * len(GRID)], asked[2 * len(GRID) :]
    assert {seed for _, seed in tuning} == {0, 1}
    assert fresh == [(2.0, FIRST_FRESH_SEED + seed) for seed in range(3)]
    json.dumps(found.figures())


def test_a_setting_that_diverges_is_out():
    def run(setting, seed):
        if setting["lr"] > 1:
            raise Diverged("no")
        return {"valid": 0.0}

    assert tuned(run, GRID, seeds=1).setting["lr"] == 1.0


def test_arms_are_compared_seed_by_seed_with_students_t():
    found = over_seeds(np.array([1.0, 2.0, 3.0]))
    assert found.value == pytest.approx(2)
    assert found.high - found.value == pytest.approx(2.920 / 3**0.5, rel=1e-3)  # t of 2 degrees of freedom at 95%, by any table


def test_a_run_is_remembered_by_all_it_depends_on(tmp_path):
    made = []

    def run():
        made.append(1)
        return {"loss": 0.1 + 0.2}

    first, again = (remembered(tmp_path, {"lr": 1, "seed": 0}, run) for _ in range(2))
    assert first == again == {"loss": 0.1 + 0.2}
    remembered(tmp_path, {"lr": 1, "seed": 1}, run)
    assert len(made) == 2
