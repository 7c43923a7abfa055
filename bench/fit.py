"""A Chinchilla fit from 4,500 starts with 1,000 resamples, against SciPy's L-BFGS-B and the package `chinchilla`.

Equal or lower objectives are checked first: the fit's against the best of the peer's starts, and the resamples' against the
peer's on the same resamples. Seconds are processor time of one thread. Peers run on a random subset of the starts and
resamples, scaled up, so that this ends within minutes; a peer that is not installed is said to be absent.
The floor is what the arithmetic of our own evaluations would take at the speed of this machine's matrix product.
"""

from __future__ import annotations

import itertools
import json
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch
from scipy.optimize import minimize

import pliant.laws as laws
from pliant.laws.objective import Objective
from pliant.laws.resample import drawn_weights

ROWS, STARTS, RESAMPLES, SEED, CORNER = 240, 4500, 1000, 0, 1e-3
SUBSET = {"analytic": (150, 60), "numeric": (40, 15), "chinchilla": (32, 0)}
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


def chinchilla_seconds(runs: dict[str, np.ndarray], grids: list[list[float]]) -> tuple[float, float] | None:
    """Scaled-up time of the package's fit (starts alone, no resamples) and its best objective; None where it is absent."""
    try:
        import pandas as pd
        from chinchilla import Chinchilla
        from chinchilla._metrics import log_huber
    except ImportError:
        return None
    generator = np.random.default_rng(SEED)
    some = {
        name: sorted(generator.choice(values, 2, replace=False))
        for name, values in zip(("e", "a", "b", "alpha", "beta"), grids, strict=True)
    }
    with tempfile.TemporaryDirectory() as folder:
        peer = Chinchilla(folder, param_grid=some, loss_fn=lambda y, p: log_huber(y, p, CORNER), log_level=50)
        peer.database.df = pd.DataFrame({"C": 6 * runs["N"] * runs["D"], "N": runs["N"], "D": runs["D"], "loss": runs["loss"]})
        peer.visualizer.optim = lambda *arguments, **options: None  # its plot is not part of the comparison
        spent, _ = seconds(lambda: peer.fit(parallel=False))
        point = np.array([np.log(float(peer.E)), np.log(float(peer.A)), np.log(float(peer.B)), float(peer.alpha), float(peer.beta)])
    return spent / SUBSET["chinchilla"][0] * STARTS, Peer(runs, np.ones(ROWS)).value_and_gradient(point)[0]


def flops() -> tuple[float, Callable[[], float]]:
    """This machine's speed at a matrix product, and a counter of the arithmetic that our evaluations need."""
    counted = {"rows": 0.0}
    for name, times in (("normal", 1), ("second_order", NEWTON_TIMES)):
        evaluate = getattr(Objective, name)

        def counting(self: Objective, theta: torch.Tensor, rows: torch.Tensor, evaluate=evaluate, times=times) -> object:
            counted["rows"] += times * len(theta) * self.size
            return evaluate(self, theta, rows)

        setattr(Objective, name, counting)
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
    ours_random, again = seconds(lambda: laws.fit("chinchilla", runs, starts=STARTS, bootstrap=f"run:{RESAMPLES}", seed=SEED))
    assert isinstance(fit, laws.Fit)
    assert isinstance(again, laws.Fit)

    counts = drawn_weights(ROWS, None, RESAMPLES, SEED)
    mine = [Peer(runs, count).value_and_gradient(point)[0] for count, point in zip(counts, fit.draws, strict=True)]
    analytic, analytic_best, analytic_ends = scipy_seconds(runs, grid, fit.theta, counts, analytic=True)
    numeric, numeric_best, numeric_ends = scipy_seconds(runs, grid, fit.theta, counts, analytic=False)
    package = chinchilla_seconds(runs, grids)
    bests = [analytic_best, numeric_best, *([package[1]] if package else [])]
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
        "chinchilla_package_s (starts alone)": package[0] if package else "absent: not installed here",
        "ratio_to_chinchilla_package (target 100)": package[0] / ours_grid if package else "absent",
        "ours_with_4500_random_starts_s": ours_random,
        "objective": fit.objective * ROWS,
        "best_objective_of_peers": min(bests),
        "starts_that_reached_the_best": fit.starts.reached_best,
        "floor_s": floor,
        "times_the_floor": ours_grid / floor,
        "scaled_from_subset": f"starts and resamples: {SUBSET}",
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
