"""A Chinchilla fit from 4,500 starts with 1,000 resamples, against SciPy's L-BFGS-B and the package `chinchilla`.

Equal or lower objectives are checked first: the fit's against the best of the peer's starts, and the resamples' against the
peer's on the same resamples. Seconds are processor time of one thread. SciPy runs on a random subset of the starts and
resamples, the package on all starts and some resamples, scaled up, so that this ends within minutes. The package
`chinchilla` runs as a program of its own, in the environment of CHINCHILLA_PYTHON; where it is absent, that is said.
The floor is what the arithmetic of our own evaluations would take at the speed of this machine's matrix product.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize

import pliant.laws as laws
from pliant.laws.fitting.objective import FitObjective
from pliant.laws.fitting.resample import drawn_weights

ROWS, STARTS, RESAMPLES, SEED, CORNER = 240, 4500, 1000, 0, 1e-3
SUBSET = {"analytic": (150, 60), "numeric": (40, 15), "chinchilla": (STARTS, 15)}
PEER_SCRIPT = Path(__file__).parent / "peers" / "chinchilla_fit.py"
CHINCHILLA_PYTHON = os.environ.get("CHINCHILLA_PYTHON", sys.executable)
"""The interpreter that has the package; by default this one, in which bench/run.py installs it."""
FLOPS_PER_ROW = 3 * 20 + 25 + 5 * 6 * 2
"""Three transcendental functions of about 20 operations, the rest of the law and its derivatives, and J'WJ for 5 parameters."""
NEWTON_TIMES = 6
"""A second-order evaluation makes one backward pass more per parameter."""


def table() -> dict[str, np.ndarray]:
    """240 runs like the original table: noise of half a percent, one run in twenty gone wrong."""
    generator = np.random.default_rng(SEED)
    size = np.exp(generator.uniform(np.log(4e7), np.log(1.6e10), ROWS))
    tokens = np.exp(generator.uniform(np.log(1e9), np.log(3e11), ROWS))
    noise = generator.normal(0, 0.005, ROWS) + (generator.random(ROWS) < 0.05) * generator.normal(0.03, 0.05, ROWS)
    return {"N": size, "D": tokens, "loss": (1.8172 + 477.8 * size**-0.3473 + 2143 * tokens**-0.3672) * np.exp(noise)}


class Peer:
    """The same objective, a sum of Huber losses, by hand in numpy: what one would write for SciPy."""

    def __init__(self, runs: dict[str, np.ndarray], weights: np.ndarray) -> None:
        self.log_n, self.log_d, self.target, self.weights = np.log(runs["N"]), np.log(runs["D"]), np.log(runs["loss"]), weights

    def value_and_gradient(self, x: np.ndarray) -> tuple[float, np.ndarray]:
        """At (e, a, b, alpha, beta), the first three logarithms."""
        e, a, b, alpha, beta = x
        size, tokens = a - alpha * self.log_n, b - beta * self.log_d
        top = np.maximum(np.maximum(size, tokens), e)
        fitted = top + np.log(np.exp(size - top) + np.exp(tokens - top) + np.exp(e - top))
        residual = self.target - fitted
        psi = np.clip(residual, -CORNER, CORNER)
        pull = self.weights * psi
        by_e, by_size, by_tokens = np.exp(e - fitted), np.exp(size - fitted), np.exp(tokens - fitted)
        sums = [pull @ by_e, pull @ by_size, pull @ by_tokens, -(pull * self.log_n) @ by_size, -(pull * self.log_d) @ by_tokens]
        return float(self.weights @ (psi * (residual - psi / 2))), -np.array(sums)

    def minimise(self, x: np.ndarray, analytic: bool) -> float:
        """The objective where L-BFGS-B ends."""
        if analytic:
            return float(minimize(self.value_and_gradient, x, jac=True, method="L-BFGS-B").fun)
        return float(minimize(lambda point: self.value_and_gradient(point)[0], x, method="L-BFGS-B").fun)


def seconds(work: Callable[[], object]) -> tuple[float, object]:
    """Processor time of one call."""
    start = time.process_time()
    result = work()
    return time.process_time() - start, result


def scipy_seconds(
    runs: dict[str, np.ndarray], grid: np.ndarray, best: np.ndarray, counts: np.ndarray, analytic: bool
) -> tuple[float, float, list[float]]:
    """Scaled-up time, the best objective of the starts, and those of the first resamples."""
    n_starts, n_resamples = SUBSET["analytic" if analytic else "numeric"]
    chosen = np.random.default_rng(SEED).permutation(len(grid))[:n_starts]
    whole = Peer(runs, np.ones(ROWS))
    spent, values = seconds(lambda: [whole.minimise(grid[index], analytic) for index in chosen])
    spent_again, ends = seconds(lambda: [Peer(runs, count).minimise(best, analytic) for count in counts[:n_resamples]])
    return spent / n_starts * STARTS + spent_again / n_resamples * RESAMPLES, min(values), list(ends)


def chinchilla_seconds(runs: dict[str, np.ndarray], grids: list[list[float]]) -> tuple[float, float, float] | str:
    """Seconds of the package's fit from every start, of 1,000 resamples (scaled up), its best objective; else why there is none."""
    resamples = SUBSET["chinchilla"][1]
    with tempfile.TemporaryDirectory() as folder:
        table, grid = Path(folder, "runs.npz"), Path(folder, "grid.json")
        np.savez(table, **runs)
        grid.write_text(json.dumps(dict(zip(("e", "a", "b", "alpha", "beta"), grids, strict=True))))
        command = [CHINCHILLA_PYTHON, str(PEER_SCRIPT), str(table), str(grid), str(CORNER), str(resamples)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        return f"absent: {done.stderr.strip().splitlines()[-1]}"
    found = json.loads(done.stdout.splitlines()[-1])
    best = Peer(runs, np.ones(ROWS)).value_and_gradient(np.array(found["point"]))[0]
    return found["seconds"], found["resample_seconds"] / resamples * RESAMPLES, best


def flops() -> tuple[float, Callable[[], float]]:
    """This machine's speed at a matrix product, and a counter of the arithmetic that our evaluations need."""
    counted = {"rows": 0.0}
    for name, times in (("normal", 1), ("second_order", NEWTON_TIMES)):
        evaluate = getattr(FitObjective, name)

        def counting(self: FitObjective, theta: torch.Tensor, rows: torch.Tensor, evaluate=evaluate, times=times) -> object:
            counted["rows"] += times * len(theta) * self.size
            return evaluate(self, theta, rows)

        setattr(FitObjective, name, counting)
    matrix = torch.rand(700, 700, dtype=torch.float64)
    spent = min(seconds(lambda: matrix @ matrix)[0] for _ in range(5))
    return 2 * 700**3 / spent, lambda: counted["rows"] * FLOPS_PER_ROW


def main() -> None:
    torch.set_num_threads(1)
    runs = table()
    grids = [[-1.0, -0.5, 0.0, 0.5, 1.0], [0.0, 5, 10, 15, 20, 25], [0.0, 5, 10, 15, 20, 25], [0.0, 0.5, 1, 1.5, 2], [0.0, 0.5, 1, 1.5, 2]]
    grid = np.array(list(itertools.product(*grids)))
    laws.fit("chinchilla", {name: values[:40] for name, values in runs.items()}, bootstrap=2)  # imports and first calls
    speed, needed = flops()
    ours_grid, fit = seconds(lambda: laws.fit("chinchilla", runs, bootstrap=f"run:{RESAMPLES}", seed=SEED))
    floor = needed() / speed
    ours_random, again = seconds(lambda: laws.fit("chinchilla", runs, restarts=STARTS, bootstrap=f"run:{RESAMPLES}", seed=SEED))
    ours_alone, _ = seconds(lambda: laws.fit("chinchilla", runs, bootstrap=0))
    assert isinstance(fit, laws.Fit)
    assert isinstance(again, laws.Fit)

    counts = drawn_weights(ROWS, None, RESAMPLES, SEED)
    mine = [Peer(runs, count).value_and_gradient(point)[0] for count, point in zip(counts, fit.bootstrap_samples, strict=True)]
    analytic, analytic_best, analytic_ends = scipy_seconds(runs, grid, fit.theta, counts, analytic=True)
    numeric, numeric_best, numeric_ends = scipy_seconds(runs, grid, fit.theta, counts, analytic=False)
    package = chinchilla_seconds(runs, grids)
    bests = [analytic_best, numeric_best, *([] if isinstance(package, str) else [package[2]])]
    ends = [*zip(mine, analytic_ends, strict=False), *zip(mine, numeric_ends, strict=False)]
    equal = all(fit.objective * ROWS <= best * (1 + 1e-9) for best in bests) and all(own <= end * (1 + 1e-6) for own, end in ends)
    equal = equal and abs(again.objective / fit.objective - 1) < 1e-9
    result = {
        "name": "fit",
        "claim": f"a Chinchilla fit of {ROWS} runs from {STARTS:,} grid starts, with {RESAMPLES:,} resamples and the audit, "
        "against SciPy with analytic gradients",
        "ours_s": ours_grid,
        "peer": "scipy.optimize.minimize, L-BFGS-B, analytic gradients",
        "peer_s": analytic,
        "ratio": analytic / ours_grid,
        "target": 6.0,
        "equal_results": bool(equal),
        "numeric_gradients_s": numeric,
        "ratio_to_numeric_gradients (target 30)": numeric / ours_grid,
        "chinchilla_package_s": package if isinstance(package, str) else package[0] + package[1],
        "ratio_to_chinchilla_package (target 100)": None if isinstance(package, str) else (package[0] + package[1]) / ours_grid,
        "chinchilla_package_starts_alone_s": None if isinstance(package, str) else package[0],
        "ours_starts_alone_s (with the audit)": ours_alone,
        "ratio_to_chinchilla_package, starts alone": None if isinstance(package, str) else package[0] / ours_alone,
        "ours_with_4500_random_starts_s": ours_random,
        "objective": fit.objective * ROWS,
        "best_objective_of_peers": min(bests),
        "starts_that_reached_the_best": fit.restarts.reached_best,
        "floor_s": floor,
        "times_the_floor": ours_grid / floor,
        "scaled_from_subset": f"starts and resamples: {SUBSET}",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
