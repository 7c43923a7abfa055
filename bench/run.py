"""Runs every benchmark in this folder and writes docs/benchmarks.md.

A benchmark is a script that checks equal results first and prints one JSON object as its last line: name, claim, ratio,
target, equal_results, and what else it measured. Peers (what a user would run otherwise) live in their own environment:
`bench/peers.txt` and `bench/peers-alone.txt` list them, this script makes `.venv-peers` from both, and no peer is ever a
dependency of pliant.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import venv
from datetime import date
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
ROOT = HERE.parent
PEERS = ROOT / ".venv-peers"
REPORT = ROOT / "docs" / "benchmarks.md"


def peers_python() -> Path:
    """The interpreter with pliant and the peers, made once."""
    python = PEERS / "bin" / "python"
    ready = PEERS / ".ready"
    if not ready.exists():
        venv.create(PEERS, with_pip=True)
        install = [str(python), "-m", "pip", "install", "--quiet", "--constraint", str(ROOT / "constraints.txt")]
        subprocess.run([*install, "--editable", str(ROOT)], check=True)
        subprocess.run([*install, "--requirement", str(HERE / "peers.txt")], check=True)
        subprocess.run(
            [str(python), "-m", "pip", "install", "--quiet", "--no-deps", "--requirement", str(HERE / "peers-alone.txt")], check=True
        )
        ready.touch()
    return python


def measure(script: Path) -> dict[str, Any]:
    """The JSON object that a benchmark prints last, or its failure."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run([str(peers_python()), str(script)], capture_output=True, text=True, env=environment, cwd=ROOT, check=False)
    lines = done.stdout.strip().splitlines()
    if done.returncode or not lines:
        return {"name": script.stem, "claim": "failed", "error": (done.stderr.strip().splitlines() or ["no output"])[-1]}
    return json.loads(lines[-1])


def rows(results: list[dict[str, Any]]) -> str:
    """Markdown: one section a benchmark, every figure it measured."""
    parts = [
        "# Benchmarks\n",
        "Written by `make bench`; do not edit. Each ratio compares pliant with what a user would otherwise run, in the same run",
        "and after checking that both give the same results. A ratio under its target is shown as it is.\n",
        f"{date.today()}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores, one thread a process.\n",
        "| benchmark | ratio | target | same results |\n|---|---|---|---|",
    ]
    parts += [f"| {r['name']} | {_number(r.get('ratio'))} | {_number(r.get('target'))} | {_equal(r)} |" for r in results]
    for result in results:
        parts.append(f"\n## {result['name']}\n\n{result['claim']}\n")
        parts += [f"- {key}: {_number(value)}" for key, value in result.items() if key not in ("name", "claim")]
    return "\n".join(parts) + "\n"


def _equal(result: dict[str, Any]) -> str:
    return "failed" if "error" in result else "yes" if result.get("equal_results") else "no"


def _number(value: Any) -> str:
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


def main() -> None:
    """All benchmarks, or those named on the command line."""
    scripts = [HERE / f"{name}.py" for name in sys.argv[1:]] or sorted(p for p in HERE.glob("*.py") if p.name not in ("run.py",))
    store = HERE / "results.json"
    results = json.loads(store.read_text()) if store.exists() else {}
    for script in scripts:
        print(f"{script.stem} ...", flush=True)
        results[script.stem] = measure(script)
        print(f"  {results[script.stem]}", flush=True)
    results = dict(sorted(results.items()))
    store.write_text(json.dumps(results, indent=1) + "\n")
    REPORT.write_text(rows(list(results.values())), encoding="utf-8")


if __name__ == "__main__":
    main()
