"""Signal against noise: which metric tells systems apart."""

import numpy as np
import pytest

from pliant.comparison import Outcomes, System
from pliant.comparison.signal import signals


def run_results(means, noise, runs, seed, metric):
    rng = np.random.default_rng(seed)
    found = {}
    for name, mean in means.items():
        values = mean + noise * rng.standard_normal(runs)
        found[name] = Outcomes(
            "task", metric, ["run"] * runs, values, repeats=[str(n) for n in range(runs)] if runs > 1 else (), totals=True
        )
    return found


def systems(*metrics):
    return [System(name, name, {("task", outcomes[name].metric): outcomes[name] for outcomes in metrics}) for name in metrics[0]]


def test_runs_tell_the_noise_and_systems_the_signal():
    means = dict(zip("abcdefgh", np.linspace(0, 1, 8), strict=True))
    clear, dull = run_results(means, 0.05, 200, 0, "clear"), run_results(means, 0.5, 200, 1, "dull")
    found = signals(systems(dull, clear))
    assert [one.metric for one in found] == ["clear", "dull"]
    spread = np.std(list(means.values()), ddof=1)
    assert found[0].ratio == pytest.approx(spread / 0.05, rel=0.1)
    assert found[1].ratio == pytest.approx(spread / 0.5, rel=0.1)


def test_systems_that_are_alike_have_no_signal():
    ratios = [signals(systems(run_results(dict.fromkeys("abcdef", 0.0), 1.0, 5, seed, "m")))[0].ratio for seed in range(100)]
    assert np.mean(np.square(ratios)) < 0.1  # of the means alone it were 0.2


def test_checkpoints_in_order_tell_a_noise_by_their_neighbours():
    means = {f"step {n}": 3.0 + 0.1 * n for n in range(400)}
    found = signals(systems(run_results(means, 0.2, 1, 0, "loss")))[0]
    assert found.noise == pytest.approx(0.2, rel=0.1)
    assert "neighbours" in found.noise_is


def test_where_nothing_tells_a_noise_nothing_is_said():
    assert signals(systems(run_results(dict.fromkeys("abcdefgh", 0.0), 1.0, 1, 0, "m"))) == []
    assert signals(systems(run_results({"a": 0.0, "b": 1.0}, 1.0, 3, 0, "m"))) == []
