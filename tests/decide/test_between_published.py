"""Choices between published groups from smaller scales, against the larger runs that are really there."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from pliant.decide.groups.cells import cells_of
from pliant.decide.groups.chances import best
from pliant.decide.groups.drift import deviations, last_seen, outlook
from pliant.decide.groups.table import runs_by_group

GADRE = {"N": "params", "D": "tokens", "loss": "loss_c4_val"}
TABLES = {
    "recipes": ("extrapolation/recipes_openwebtext2.csv", "exp", {"compute": "flops"}, "compute"),
    "corpora": ("gadre-overtraining/runs_flat.csv", "dataset", GADRE, "run"),
}


@pytest.fixture(params=TABLES, scope="module")
def judged(request, shared_data):
    """(cases, 2): the probability said of a pair's leader, and whether it was right, at every fourth origin and larger scale."""
    path, by, columns, scale = TABLES[request.param]
    runs, _ = runs_by_group(shared_data / "runs" / path, by, columns)
    cells = cells_of(runs, scale).near(np.inf)
    values, position, rows = cells.values, cells.position, list[tuple[float, bool]]()
    for stop, at in list(itertools.combinations(range(2, len(position)), 2))[::4]:
        there = np.flatnonzero(np.isfinite(values[:, at]) & np.isfinite(values[:, :stop]).all(axis=1))
        for pair in list(itertools.combinations(there, 2))[:3]:
            before, truth = values[list(pair)][:, :stop], values[list(pair), at]
            found = outlook(before, position[:stop], position[at : at + 1])
            chance, _ = best(found.mean[:, :, 0], found.spread(), found.weight)
            leader = int(np.argmin(last_seen(deviations(before), position[:stop])))
            rows.append((float(chance[leader]), leader == int(truth.argmin())))
    return np.array(rows, float)


def test_what_is_said_of_a_leader_is_how_often_it_stays_ahead(judged):
    said, right = judged.T
    assert len(said) > 30
    assert np.mean((said - right) ** 2) < 0.22  # a coin has 0.25
    assert np.mean(said) == pytest.approx(np.mean(right), abs=0.1)
    sure = said > 0.85
    assert np.mean(right[sure]) >= 0.85 - 2 * np.sqrt(0.85 * 0.15 / sure.sum())
