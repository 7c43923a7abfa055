"""Kill a study again and again, let it finish, and compare its ledger with an uninterrupted one's, row for row.

Run it by hand with more kills: python tests/study/kill_study.py --kills 10 --workers 2
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from pliant.ledger.ledger import Ledger


def start(form: dict, folder: Path, workers: int) -> subprocess.Popen:
    code = "import json, sys; from pliant.study import run; run(json.loads(sys.argv[1]), sys.argv[2], workers=int(sys.argv[3]), quiet=True)"
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-c", code, json.dumps(form), str(folder), str(workers)], env=environment)


def files_in(folder: Path) -> int:
    """How far a run is, by what it has left on disk."""
    return sum(1 for _, _, names in os.walk(folder) for name in names if not name.startswith("."))


def content(folder: Path) -> tuple[list[dict], list[dict]]:
    """Everything but timings."""
    ledger = Ledger(folder)
    records = ledger.sql("select * exclude (seconds) from records order by key, metric, draw").to_pylist()
    return records, ledger.sql("select * from samples order by key, metric, draw, sample").to_pylist()


def kill_and_resume(form: dict, place: Path, kills: int, workers: int, seed: int) -> list[int]:
    """Kill a study `kills` times, each time after a random number of files it wrote and a random moment more.

    Returns how many records were finished at each kill, having checked that the ledger is in the end as if nothing had been.
    """
    assert start(form, place / "reference", workers).wait(600) == 0
    apart = max(2, files_in(place / "reference") // (kills + 1))
    generator, finished = random.Random(seed), []
    (place / "killed").mkdir()
    while len(finished) < kills:
        until = files_in(place / "killed") + generator.randint(apart // 2, apart)
        process = start(form, place / "killed", workers)
        while process.poll() is None and files_in(place / "killed") < until:
            time.sleep(0.002)
        time.sleep(generator.uniform(0, 0.05))
        assert process.poll() is None, "it was done before it could be killed"
        process.send_signal(signal.SIGKILL)
        process.wait()
        finished.append(len(Ledger(place / "killed").finished()))
        print(f"kill {len(finished)}: {finished[-1]} records are in the ledger", flush=True)
    assert start(form, place / "killed", workers).wait(600) == 0
    expected, found = content(place / "reference"), content(place / "killed")
    assert len(expected[0]) > finished[-1]
    assert found == expected
    return finished


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    ladder = {"model": {"preset": "llama-16x2", "tokenizer": "ascii"}, "corpus": "builtin:prose", "tokens": ["50k", "100k", "200k"]}
    form = {
        "name": "killed",
        "checkpoints": {"ladder": ladder | {"lr": 1e-2}},
        "changes": [{"perturb": {"scale": [0.05, 0.1, 0.2], "draws": 4}}, {"quantize": {"bits": [3, 4, 5, 6]}}],
        "measures": {"generic": {"loss": {"data": "builtin:prose"}}, "task": {"loss": {"data": "builtin:code"}}},
        "seeds": [0, 1],
    }
    with tempfile.TemporaryDirectory() as folder:
        finished = kill_and_resume(form, Path(folder), options.kills, options.workers, options.seed)
        print(f"{len(finished)} kills; the ledger equals an uninterrupted run's, row for row")


if __name__ == "__main__":
    main()
