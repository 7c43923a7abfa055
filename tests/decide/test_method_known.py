"""Which method, on problems whose answer is known: two equal methods are seldom said to differ."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture(scope="module")
def bench():
    spec = importlib.util.spec_from_file_location("bench_method", Path(__file__).parents[2] / "bench" / "method.py")
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, spec.name, module)  # dataclasses look their module up
        spec.loader.exec_module(module)
        patch.setattr(module, "GRID_SEEDS", 16)
        yield module


@pytest.mark.slow
def test_claims_are_seldom_false_and_picks_are_near_the_best(bench):
    found, said = bench.judge("two equal", 40, 128)
    assert sum(said.values()) == 40
    assert np.mean(found["regret"]) < 0.05
    assert np.sum(found["false_best"]) <= 9, "of 40 at a tenth, more than 9 happens once in a hundred"
    assert np.mean(found["covered"]) > 0.7
    assert np.mean(found["said_equal"]) < 0.1


def test_a_rate_that_never_moves_forgets_nothing(bench):
    """Where nothing is learned, nothing is forgotten, and no seed comes to a lower loss."""
    paths = bench.truth(bench.problem(0), 0.0, ())
    assert all(np.all(path.rises == 0) for path in paths)
    base = float(paths[0].losses[0])
    assert bench.rise_of(paths, base - 1e-6) is None
    assert bench.rise_of(paths, base) == 0.0
