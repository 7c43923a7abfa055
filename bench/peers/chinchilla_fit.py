"""The package `chinchilla` on the table that bench/fit.py hands over, in an environment of its own.

    python bench/peers/chinchilla_fit.py TABLE.npz GRID.json CORNER RESAMPLES

GRID holds start values: {"e": [...], "a": [...], "b": [...], "alpha": [...], "beta": [...]}; resamples start from the best.
Prints {"seconds", "resample_seconds", "point": [log E, log A, log B, alpha, beta]} as JSON, in processor time.
"""

from __future__ import annotations

import json
import math
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from chinchilla import Chinchilla
from chinchilla._metrics import log_huber


def fitted(runs: pd.DataFrame, grid: Mapping[str, Sequence[float]], corner: float) -> tuple[float, dict[str, float]]:
    """Seconds of one fit from every point of the grid, and where it ends, under the grid's names."""
    with tempfile.TemporaryDirectory() as folder:
        peer = Chinchilla(folder, param_grid=grid, loss_fn=lambda y, p: log_huber(y, p, corner), log_level=50)
        peer.database.df = runs
        peer.visualizer.optim = lambda *arguments, **options: None  # its plot is no part of the comparison
        start = time.process_time()
        peer.fit(parallel=False)
        seconds = time.process_time() - start
    levels = {name: math.log(getattr(peer, name.upper())) for name in ("e", "a", "b")}
    return seconds, {**levels, "alpha": float(peer.alpha), "beta": float(peer.beta)}


def main() -> None:
    table, grid = np.load(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    corner, resamples = float(sys.argv[3]), int(sys.argv[4])
    runs = pd.DataFrame({"C": 6 * table["N"] * table["D"], **{name: table[name] for name in ("N", "D", "loss")}})
    seconds, best = fitted(runs, grid, corner)
    start = {name: [value] for name, value in best.items()}
    again = [fitted(runs.sample(len(runs), replace=True, random_state=seed), start, corner)[0] for seed in range(resamples)]
    print(json.dumps({"seconds": seconds, "resample_seconds": sum(again), "point": list(best.values())}))


if __name__ == "__main__":
    main()
