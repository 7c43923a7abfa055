"""The demo study against the script a user would write with transformers: a Trainer per run, then copies and reloads.

Peer: `transformers.Trainer` for each budget and for each fine-tuning, `copy.deepcopy` and added noise for each draw,
`from_pretrained` again for each bit width, evaluation in padded batches; one process that uses every core, which is what
such a script does. Both get the same initial weights, the same batches in the same order, the same optimizer and schedule,
the same noise and the same held-out text. Same numbers first: every loss of the peer within `TOLERANCE` of ours.
"""

from __future__ import annotations

import copy
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch.nn.functional import cross_entropy

import pliant as pl
from pliant.data import Corpus, load_tokenizer, packed
from pliant.models import build
from pliant.quantization.grid import round_to_grid
from pliant.train import Recipe

BUDGETS = [int(float(text) * 1e6) for text in os.environ.get("BENCH_MILLIONS", "0.5,1,2,4,8,16").split(",")]
SCALES, DRAWS, BITS, RATES = (0.05, 0.1, 0.2), 4, (3, 4, 5, 6), (1e-3, 3e-3, 1e-2)
TOLERANCE = 0.02
"""Nats/token by which losses may differ: two float32 runs of thousands of steps drift apart at different thread counts."""

STUDY = {
    "name": "bench",
    "checkpoints": {
        "ladder": {
            "model": {"preset": "llama-16x2", "tokenizer": "ascii", "context": 64},
            "corpus": "builtin:prose",
            "tokens": BUDGETS,
            "lr": 1e-2,
        }
    },
    "changes": [
        {"perturb": {"scale": list(SCALES), "unit": "rms", "draws": DRAWS}},
        {"quantize": {"bits": list(BITS)}},
        {"finetune": {"data": "builtin:code", "steps": 30, "lr": list(RATES)}},
    ],
    "measures": {"generic": {"loss": {"data": "builtin:prose"}}, "task": {"loss": {"data": "builtin:code"}}},
    "seeds": [0],
}


class Crops(torch.utils.data.Dataset):
    """The batches pliant draws, row by row."""

    def __init__(self, text: Any, steps: int, rows: int) -> None:
        self.text, self.steps, self.rows = text, steps, rows
        self.step, self.batch = -1, None

    def __len__(self) -> int:
        return self.steps * self.rows

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if index // self.rows != self.step:
            self.step = index // self.rows
            self.batch = torch.from_numpy(self.text.batch(self.step, self.rows, 64, 0))
        row = self.batch[index % self.rows]
        return {"input_ids": row, "labels": row}


def trained(network: Any, text: Any, recipe: Recipe, folder: str) -> None:
    """One Trainer run."""
    from transformers import Trainer, TrainingArguments

    class InOrder(Trainer):
        def _get_train_sampler(self, *args: Any) -> Any:
            return torch.utils.data.SequentialSampler(self.train_dataset)

    steps = recipe.step_count(64)
    matrices, vectors = [p for p in network.parameters() if p.dim() > 1], [p for p in network.parameters() if p.dim() < 2]
    groups = [{"params": matrices, "weight_decay": recipe.weight_decay}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=recipe.lr, betas=recipe.betas, eps=recipe.epsilon)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: recipe.rate(min(step, steps - 1), steps) / recipe.lr)
    arguments = TrainingArguments(
        output_dir=folder, max_steps=steps, per_device_train_batch_size=recipe.batch, max_grad_norm=recipe.clip, report_to=[], seed=0,
        save_strategy="no", logging_strategy="no", disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    trainer = InOrder(network, arguments, train_dataset=Crops(text, steps, recipe.batch), optimizers=(optimizer, schedule))
    trainer.train()


@torch.no_grad()
def evaluated(network: Any, windows: list[Any]) -> float:
    """Loss over padded batches of 32 windows."""
    network.eval()
    total, count = 0.0, 0
    for start in range(0, len(windows), 32):
        rows = [torch.as_tensor(window.tokens) for window in windows[start : start + 32]]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
        labels = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True, padding_value=-100)
        logits = network(input_ids=ids[:, :-1], attention_mask=(labels[:, :-1] >= 0).long()).logits
        total += float(cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction="sum"))
        count += int((labels[:, 1:] >= 0).sum())
    return total / count


def by_hand(folder: Path) -> dict[tuple[Any, ...], float]:
    """The whole study as a user's script; (tokens, change, measure) -> loss."""
    from transformers import AutoModelForCausalLM

    from pliant.changes.perturb import standard_normal

    tokenizer = load_tokenizer("ascii")
    prose, code = (packed(Corpus(source=f"builtin:{name}"), tokenizer, "train") for name in ("prose", "code"))
    held = {
        name: packed(Corpus(source=f"builtin:{source}"), tokenizer, "heldout").windows(64, 256)
        for name, source in (("generic", "prose"), ("task", "code"))
    }
    losses: dict[tuple[Any, ...], float] = {}

    def note(tokens: int, change: str, network: Any) -> None:
        for measure, windows in held.items():
            key = (tokens, change, measure)
            losses.setdefault(key, 0.0)
            losses[key] += evaluated(network, windows) / (DRAWS if change.startswith("perturb") else 1)

    for tokens in BUDGETS:
        model = build("llama-16x2", tokenizer, seed=0, context=64)
        trained(model.network, prose, Recipe(lr=1e-2, tokens=tokens), str(folder))
        saved = folder / f"{tokens}"
        model.network.save_pretrained(saved)
        note(tokens, "none", model.network)
        for scale in SCALES:
            for draw in range(DRAWS):
                noisy = copy.deepcopy(model.network)
                with torch.no_grad():
                    for name, weight in noisy.named_parameters():
                        if weight.dim() > 1:
                            sign = -1.0 if draw % 2 else 1.0
                            weight += sign * scale * weight.square().mean().sqrt() * standard_normal(0, draw // 2, name, weight.shape)
                note(tokens, f"perturb {scale}", noisy)
        for bits in BITS:
            rounded = AutoModelForCausalLM.from_pretrained(saved)
            with torch.no_grad():
                for weight in rounded.parameters():
                    if weight.dim() > 1:
                        weight.copy_(round_to_grid(weight, bits))
            note(tokens, f"quantize {bits}", rounded)
        for rate in RATES:
            tuned = AutoModelForCausalLM.from_pretrained(saved)
            trained(tuned, code, Recipe(lr=rate, steps=30, batch=8, schedule="constant", warmup=0, weight_decay=0.0), str(folder))
            note(tokens, f"finetune {rate}", tuned)
    return losses


def ours(ledger: Path) -> dict[tuple[Any, ...], float]:
    """The same from pliant's records, draws averaged."""
    runs = pl.run(STUDY, ledger, quiet=True)
    losses: dict[tuple[Any, ...], list[float]] = {}
    rungs = sorted({record["tokens"] for record in runs.records()})
    for record in runs.records():
        change = record["change"]
        strength = {"perturb": "scale", "quantize": "bits", "finetune": "lr"}.get(change["kind"])
        label = change["kind"] if strength is None else f"{change['kind']} {change[strength]}"
        losses.setdefault((BUDGETS[rungs.index(record["tokens"])], label, record["measure"]), []).append(record["value"])
    return {key: sum(values) / len(values) for key, values in losses.items()}


def main() -> None:
    """Both arms, one after the other, on a warm cache of the corpora."""
    for name in ("prose", "code"):
        packed(Corpus(source=f"builtin:{name}"), load_tokenizer("ascii"), "train")
    cores = len(os.sched_getaffinity(0))
    with tempfile.TemporaryDirectory() as folder:
        start = time.perf_counter()
        mine = ours(Path(folder) / "ledger")
        ours_s = time.perf_counter() - start
        torch.set_num_threads(cores)
        start = time.perf_counter()
        theirs = by_hand(Path(folder))
        peer_s = time.perf_counter() - start
    assert set(mine) == set(theirs), set(mine) ^ set(theirs)
    # a change that adds a lot of loss multiplies the drift of the weights by as much
    allowed = {key: TOLERANCE * (1 + 10 * max(0.0, loss - mine[key[0], "none", key[2]])) for key, loss in mine.items()}
    worst = max(mine, key=lambda key: abs(mine[key] - theirs[key]) / allowed[key])
    flops = 6 * 8784 * sum(BUDGETS)
    result = {
        "name": "demo study",
        "claim": f"The demo study ({sum(BUDGETS) / 1e6:g}M training tokens) against a transformers Trainer script, wall time.",
        "ours_s": ours_s,
        "peer": "transformers.Trainer per run, deepcopy + noise, from_pretrained per bit width, padded evaluation",
        "peer_s": peer_s,
        "ratio": peer_s / ours_s,
        "target": 3.0,
        "equal_results": abs(mine[worst] - theirs[worst]) <= allowed[worst],
        "largest_gap": abs(mine[worst] - theirs[worst]),
        "at": " ".join(str(part) for part in worst),
        "training_flops": flops,
        "gflops_reached": flops / ours_s / 1e9,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
