"""Play seeded schedules of faults against a ledger. Each seed replays its schedule.

python tests/faults/simulate.py --schedules 100000
python tests/faults/simulate.py --seed 17 --tell
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import random
import shutil
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from machine import simulated_disk
from model import Model
from schedule import Schedule

MEMORY = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None


def play(seed: int, tell: bool = False) -> None:
    """Play the schedule of one seed. Raises AssertionError, with all that was done, where the ledger is not as it should be."""
    folder = Path(tempfile.mkdtemp(prefix="faults-", dir=MEMORY))
    schedule = Schedule(folder / "ledger", random.Random(seed), Model(), [])
    try:
        schedule.play()
    except Exception as error:
        story = "\n".join(schedule.told[-400:])
        raise AssertionError(
            f"schedule {seed} (replay: python tests/faults/simulate.py --seed {seed} --tell):\n{story}\n{error}"
        ) from error
    finally:
        shutil.rmtree(folder)
    if tell:
        print("\n".join(schedule.told))


def play_all(seeds: Iterable[int]) -> list[tuple[int, str]]:
    """The seeds whose schedules went wrong, and how."""
    wrong: list[tuple[int, str]] = []
    with simulated_disk():
        for seed in seeds:
            try:
                play(seed)
            except AssertionError as error:
                wrong.append((seed, str(error)))
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description="Play seeded schedules of faults against a ledger")
    parser.add_argument("--schedules", type=int, default=1000)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--seed", type=int, help="play this one only")
    parser.add_argument("--tell", action="store_true", help="print every file operation of --seed")
    options = parser.parse_args()
    if options.seed is not None:
        with simulated_disk():
            play(options.seed, options.tell)
        return
    seeds, done, wrong, start = range(options.first, options.first + options.schedules), 0, list[tuple[int, str]](), time.monotonic()
    pieces = [seeds[begin : begin + 100] for begin in range(0, len(seeds), 100)]
    with multiprocessing.get_context("spawn").Pool(options.workers) as pool:
        for piece, found in zip(pieces, pool.imap(play_all, pieces), strict=True):
            done += len(piece)
            wrong += found
            for seed, story in found:
                print(f"\n{story}\nschedule {seed} is wrong", flush=True)
            if sys.stderr.isatty() or done % 5000 == 0 or done == len(seeds):
                print(
                    f"{done} of {len(seeds)} schedules, {len(wrong)} wrong, {time.monotonic() - start:.0f} s", file=sys.stderr, flush=True
                )
    if wrong:
        sys.exit(f"wrong: {', '.join(str(seed) for seed, _ in wrong)}")
    print(f"{done} schedules: nothing lost, nothing doubled, nothing silently wrong")


if __name__ == "__main__":
    main()
