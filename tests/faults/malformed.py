"""Malformed inputs, a seed each, given to the command in a process of its own: none may give a traceback, hang, or flood the screen.

Run by hand: python tests/faults/malformed.py --cases 1600   (--first SEED --cases 1 shows what one seed does)
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

from inputs import KINDS, prepare

SECONDS = 30
"""How long a case may take."""
MEMORY = 6 * 2**30
"""Bytes of address space that a case may take beyond what was there."""
LINES, CHARACTERS = 6, 2_000
UNFORESEEN = "did not foresee"


@dataclass
class Outcome:
    """What became of one case."""

    seed: int
    told: str
    """What was spoiled, and the command."""
    code: int
    said: str
    seconds: float
    faults: list[str] = field(default_factory=list[str])

    def about(self) -> str:
        return f"seed {self.seed}: {'; '.join(self.faults) or 'no fault'}: {self.told} ({self.code}, {self.seconds:.1f} s)"


def run(seed: int, whole: Path, place: Path) -> Outcome:
    """One case, in a process of its own that is killed when it takes too long."""
    chance = random.Random(seed)
    shutil.copytree(whole, place)
    start = time.monotonic()
    child = os.fork()
    if child == 0:
        _child(chance, place)
    status = None
    while status is None and time.monotonic() < start + SECONDS:
        done, status = os.waitpid(child, os.WNOHANG)
        status = status if done else time.sleep(0.005)
    if status is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    seconds = time.monotonic() - start
    said, told = _read(place / "stderr"), _read(place / "told") + _read(place / "replaced")
    outcome = Outcome(seed, told, -99 if status is None else os.waitstatus_to_exitcode(status), said, seconds)
    outcome.faults = _faults(outcome, _read(place / "stdout"))
    shutil.rmtree(place)
    return outcome


def _read(path: Path) -> str:
    return path.read_text(errors="backslashreplace") if path.exists() else ""


def _child(chance: random.Random, place: Path) -> None:
    """Spoil the copy, and run the command with its output in files."""
    code = 99
    try:
        os.chdir(place)
        for number, name in ((1, "stdout"), (2, "stderr")):
            os.dup2(os.open(name, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644), number)
        sys.stdout, sys.stderr = (open(number, "w", closefd=False) for number in (1, 2))  # noqa: SIM115
        resource.setrlimit(resource.RLIMIT_AS, (int(Path("/proc/self/statm").read_text().split()[0]) * 4096 + MEMORY,) * 2)
        kind = chance.choice(KINDS)
        spoiled, command = kind(chance)
        Path("told").write_text(f"{kind.__name__} {spoiled!a}: {' '.join(command)[:300]!a}")
        sys.argv = ["pliant", *command]
        from pliant.cli import main

        main()
    except SystemExit as end:
        code = int(end.code or 0)
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _faults(outcome: Outcome, answer: str) -> list[str]:
    """What is wrong with how it ended."""
    said, faults = outcome.said, list[str]()
    if outcome.code == -99:
        faults.append(f"took more than {SECONDS} s")
    elif outcome.code not in (0, 1, 2):
        faults.append(f"ended with {outcome.code}")
    if "Traceback" in said:
        faults.append("a traceback")
    if UNFORESEEN in said:
        faults.append("an error that nobody foresaw")
    if len(said.splitlines()) > LINES or len(said) > CHARACTERS:
        faults.append(f"{len(said.splitlines())} lines, {len(said)} characters")
    if outcome.code == 2 and not (said or answer):
        faults.append("not a word")
    if "--json" in outcome.told and outcome.code == 0:
        try:
            json.loads(answer, parse_constant=lambda name: faults.append(f"{name} in JSON"))
        except ValueError:
            faults.append("no JSON")
    return faults


def ready() -> None:
    """Import what cases use, once for all of them."""
    for module in ("torch", "transformers.modeling_utils", "duckdb", "pyarrow.parquet"):
        import_module(module)
    for room in ("cli", "study.running", "laws", "report"):
        import_module(f"pliant.{room}")
    os.environ |= {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--cases", type=int, default=1_600)
    parser.add_argument("--first", type=int, default=0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["PLIANT_CACHE"] = f"{folder}/cache"
        whole = Path(folder, "whole")
        whole.mkdir()
        prepare(whole)
        ready()
        bad = 0
        for seed in range(options.first, options.first + options.cases):
            outcome = run(seed, whole, Path(folder, "case"))
            bad += bool(outcome.faults)
            if outcome.faults or options.cases == 1:
                print(f"{outcome.about()}\n{outcome.said[-1500:]}", flush=True)
    print(f"{options.cases} cases, {bad} with faults")
    sys.exit(bad > 0)


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))
    main()
