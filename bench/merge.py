"""Merging checkpoints on disk: pliant against mergekit, on the same files.

Three Llamas of 35 million float32 weights, two of them tuned from the first. Same numbers first: every weight within a few units of the
last digit, for each way of merging that both have without chance in it. Each merge runs in a process of its own, from the call to the
finished folder; imports come before. Memory is sampled: what a process holds beside its state before the merge, without the pages
of mapped files, which the system may take back (with them it is listed beside).
mergekit's shares of the weights are named `weight`, and what `weight` is here, `lambda`; slerp's is `t`.
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

METHODS = ("linear", "slerp", "task_arithmetic", "ties")
SHAPE = {"hidden_size": 512, "intermediate_size": 1408, "num_hidden_layers": 6, "num_attention_heads": 8, "vocab_size": 32000}
WEIGHT, DENSITY, RUNS = 0.6, 0.2, 2
AT_THE_LIMIT = 1e-6
"""The share of weights that TIES may trim in one and keep in the other: those exactly as large as the last one kept, of which one takes
all and the other as many as make its count full."""
TOLERANCE = 2e-6  # of numbers of size one and less; mergekit measures slerp's angle in float32, which is about that exact


def make(folder: Path) -> None:
    """`base`, and `one` and `two` beside it."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    network = LlamaForCausalLM(LlamaConfig(**SHAPE, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0))
    network.save_pretrained(folder / "base")
    start = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    for name in ("one", "two"):
        with torch.no_grad():
            for held, parameter in network.named_parameters():
                parameter.copy_(start[held] + 0.01 * torch.randn_like(parameter))
        network.save_pretrained(folder / name)


def ours(method: str, folder: Path, out: Path) -> Callable[[], Any]:
    """pliant's merge, ready to be called."""
    from pliant.changes import Merge
    from pliant.models.stored_model import StoredModel

    names = ["one"] if method == "slerp" else ["one", "two"]
    form = {"with": [str(folder / name) for name in names], "method": method, "weight": WEIGHT, "density": DENSITY}
    change, base = Merge.parse(form), StoredModel(address=str(folder / "base"))
    return lambda: change.rewrite(base, out, 0)


def theirs(method: str, folder: Path, out: Path) -> Callable[[], Any]:
    """mergekit's."""
    from mergekit.config import MergeConfiguration
    from mergekit.merge import run_merge
    from mergekit.options import MergeOptions

    def models(**parameters: dict[str, float]) -> list[dict[str, Any]]:
        return [{"model": str(folder / name), "parameters": told} for name, told in parameters.items()]

    share = {"weight": 1.0, "density": DENSITY} if method == "ties" else {"weight": 1.0}
    form: dict[str, Any] = {"merge_method": method, "dtype": "float32"}
    match method:
        case "linear":
            form |= {"models": models(base={"weight": 1.0}, one={"weight": WEIGHT}, two={"weight": WEIGHT})}
        case "slerp":
            form |= {"models": models(base={}, one={}), "base_model": str(folder / "base"), "parameters": {"t": WEIGHT}}
        case _:
            form |= {"models": models(one=share, two=share), "base_model": str(folder / "base"), "parameters": {"lambda": WEIGHT}}
    settings = MergeConfiguration.model_validate(form)
    options = MergeOptions(copy_tokenizer=False, quiet=True, write_model_card=False)
    return lambda: run_merge(settings, str(out), options)


def resident() -> tuple[int, int]:
    """Bytes this process holds, without and with pages of files."""
    told = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return tuple(int(told[name].split()[0]) * 1024 for name in ("RssAnon", "VmRSS"))  # type: ignore[return-value]


def measured(work: Callable[[], Any]) -> dict[str, float]:
    """Seconds, and the most bytes held meanwhile beyond those before."""
    before, most, done = resident(), [0, 0], threading.Event()

    def watch() -> None:
        while not done.wait(0.002):
            for place, (now, then) in enumerate(zip(resident(), before, strict=True)):
                most[place] = max(most[place], now - then)

    watcher = threading.Thread(target=watch)
    watcher.start()
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    done.set()
    watcher.join()
    return {"seconds": seconds, "bytes": most[0], "bytes_with_files": most[1]}


def merge(who: str, method: str, folder: Path, out: Path) -> dict[str, float]:
    """One merge, in a process that is forked for it."""
    logging.disable(logging.WARNING)
    return measured({"ours": ours, "theirs": theirs}[who](method, folder, out))


def difference(one: Path, other: Path) -> tuple[float, float]:
    """Between two folders' weights: the share that differs by more than the tolerance, and the most of the others' differences."""
    import torch
    from safetensors.torch import load_file

    left, right = (load_file(folder / "model.safetensors") for folder in (one, other))
    assert left.keys() == right.keys()
    found = torch.cat([(left[name] - right[name]).abs().flatten() for name in left])
    beyond = found > TOLERANCE
    return float(beyond.double().mean()), float(found[~beyond].max())


def main() -> None:
    """Print the comparison; the ratio is that of memory, the least of all methods'."""
    report: dict[str, Any] = {}
    worst, equal = 0.0, True
    import mergekit.merge
    import transformers.models.llama.modeling_llama

    import pliant.merging.rewrite

    del mergekit, transformers, pliant
    # every merge is forked from here, where everything is imported and nothing else has been done
    with tempfile.TemporaryDirectory() as place, multiprocessing.get_context("fork").Pool(1, maxtasksperchild=1) as pool:
        folder = Path(place)
        pool.apply(make, (folder,))
        for method in METHODS:
            best: dict[str, dict[str, float]] = {}
            for number in range(RUNS):
                for who in ("ours", "theirs"):
                    told = pool.apply(merge, (who, method, folder, folder / f"{method}-{who}-{number}"))
                    best[who] = {key: min(value, best.get(who, told)[key]) for key, value in told.items()}
            beyond, most = pool.apply(difference, (folder / f"{method}-ours-0", folder / f"{method}-theirs-0"))
            worst, equal = max(worst, most), equal and beyond <= (AT_THE_LIMIT if method == "ties" else 0)
            report[f"share_differing_{method}"] = beyond
            for who, told in best.items():
                report |= {f"{key}_{method}_{who}": value for key, value in told.items()}
            report[f"ratio_{method}"] = best["theirs"]["seconds"] / best["ours"]["seconds"]
            report[f"memory_ratio_{method}"] = best["theirs"]["bytes"] / max(1.0, best["ours"]["bytes"])
    least = min(METHODS, key=lambda method: report[f"memory_ratio_{method}"])
    head = {
        "name": "merge",
        "claim": "Merging checkpoints of 35 million float32 weights (142 MB) on disk (linear, SLERP, task arithmetic, TIES), against "
        f"mergekit on the same files; most bytes held meanwhile, by the method that compares worst, {least}. Seconds are listed beside.",
        "ours": report[f"bytes_{least}_ours"],
        "peer": report[f"bytes_{least}_theirs"],
        "ratio": report[f"memory_ratio_{least}"],
        "target": 3.0,
        "equal_results": equal,
        "largest_difference": worst,
        "unit": "bytes",
    }
    print(json.dumps(head | report))


if __name__ == "__main__":
    main()
