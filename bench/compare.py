"""Twenty systems on a hundred tasks of a thousand items, compared from one Parquet file, against a pandas and SciPy script.

The script does what one would write: merge on the items, a paired t-test, and a percentile bootstrap of 1,000 resamples (numpy, in one
call a task, which is the fast way) for each task and system against the first, and Benjamini and Hochberg's correction. Equal
differences and, to the error of 1,000 resamples, equal intervals are checked first. It runs on some of the tasks, scaled up.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from scipy import stats

from pliant import compare

TASKS, ITEMS, SYSTEMS, SUBSET = 100, 1000, 20, 5


def made(path: Path) -> None:
    """Right and wrong answers of systems that differ by little."""
    rng = np.random.default_rng(0)
    hard = rng.standard_normal((1, TASKS, ITEMS))
    right = hard + rng.standard_normal((SYSTEMS, TASKS, ITEMS)) + np.linspace(0, 0.3, SYSTEMS)[:, None, None] > 0
    systems, tasks, items = (part.ravel() for part in np.indices(right.shape))
    columns = {
        "item": items,
        "system": [f"s{n:02d}" for n in systems],
        "task": [f"t{n:03d}" for n in tasks],
        "correct": right.ravel().astype(float),
    }
    pq.write_table(pa.table(columns), path)


def script(path: Path, tasks: int) -> dict[tuple[str, str], tuple[float, float, float]]:
    """The usual script, on the first tasks."""
    frame = pd.read_parquet(path)
    rng = np.random.default_rng(1)
    found: dict[tuple[str, str], tuple[float, float, float]] = {}
    p = []
    for task in sorted(frame.task.unique())[:tasks]:
        one = frame[frame.task == task]
        base = one[one.system == "s00"]
        for system in sorted(one.system.unique())[1:]:
            both = base.merge(one[one.system == system], on="item", suffixes=("_a", "_b"))
            difference = (both.correct_b - both.correct_a).to_numpy()
            p.append(stats.ttest_rel(both.correct_b, both.correct_a).pvalue)
            means = difference[rng.integers(0, len(difference), (1000, len(difference)))].mean(axis=1)
            found[task, system] = float(difference.mean()), *map(float, np.quantile(means, [0.05, 0.95]))
    stats.false_discovery_control(p)
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "results.parquet"
        made(path)
        start = time.perf_counter()
        ours = compare(path)
        seconds = time.perf_counter() - start
        start = time.perf_counter()
        pd.read_parquet(path)
        reading = time.perf_counter() - start
        start = time.perf_counter()
        theirs = script(path, SUBSET)
        peer = reading + (time.perf_counter() - start - reading) * TASKS / SUBSET
    rows = {(row.task, row.b): row.effect for row in ours.rows}
    equal = all(abs(rows[key].value - value) < 1e-9 for key, (value, _, _) in theirs.items())
    widths = [abs((rows[key].high - rows[key].low) / (high - low) - 1) for key, (_, low, high) in theirs.items()]
    claim = f"{SYSTEMS} systems on {TASKS} tasks of {ITEMS} items, from Parquet, against pandas and SciPy with a bootstrap"
    told = {
        "name": "compare",
        "claim": claim,
        "ratio": peer / seconds,
        "target": 10.0,
        "equal_results": equal and float(np.mean(widths)) < 0.05,
    }
    print(json.dumps(told | {"seconds": seconds, "script_seconds": peer, "mean_difference_of_widths": float(np.mean(widths))}))


if __name__ == "__main__":
    main()
