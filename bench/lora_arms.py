"""LoRA arms side by side: pliant against PEFT and transformers' Trainer, run once for each arm.

Six arms (learning rates and ranks) on one base, with the same initial factors, batches, AdamW, clipping and constant rate, in float32.
Same numbers first: the loss of every step of every arm within `TOLERANCE`. Then both run again, the Trainer telling no loss, and the
seconds of all arms are compared: from the base in memory to every arm trained.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from datasets import Dataset
from peft import LoraConfig, get_peft_model
from transformers import LlamaConfig, LlamaForCausalLM, PrinterCallback, Trainer, TrainingArguments, default_data_collator

from pliant.data import load_tokenizer
from pliant.methods import Lora
from pliant.models import Checkpoint, Model
from pliant.objectives import Batch, NextToken
from pliant.train import Recipe
from pliant.train.factor_stack import SharedArm
from pliant.train.schedules import Constant
from pliant.train.side_by_side import train_side_by_side
from pliant.train.state import STATE_FILE

BATCH, LENGTH, SEED = 8, 64, 0
TOLERANCE = 1e-5  # nats/token
ARMS = [(lr, rank) for lr in (1e-3, 3e-3, 1e-2) for rank in (4, 8)]
NETWORKS: dict[str, tuple[int, dict[str, int]]] = {  # steps, shape
    "demo": (60, {"hidden_size": 16, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 1, "vocab_size": 128}),
    "100k": (40, {"hidden_size": 48, "intermediate_size": 144, "num_hidden_layers": 3, "num_attention_heads": 3, "vocab_size": 128}),
    "1m": (15, {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 4096}),
}


class Tokens:
    """Random tokens, since speed does not depend on sense."""

    row_tokens, fingerprint = LENGTH, "made"

    def __init__(self, steps: int, vocabulary: int) -> None:
        self.rows = np.random.default_rng(0).integers(0, vocabulary, (steps * BATCH, LENGTH + 1))
        self.unique, self.chance = self.rows.size, float(np.log(vocabulary))

    def batch(self, step: int, rows: int, seed: int) -> Batch:
        """In their order."""
        numbers = np.arange(step * rows, (step + 1) * rows)
        ids = torch.from_numpy(self.rows[numbers])
        return Batch(numbers, {"input_ids": ids[:, :-1]}, ids[:, 1:], torch.full((rows,), float(LENGTH)))


class Made(NextToken):
    """Text that is there already."""

    data: Any

    def examples(self, model: Model, length: int | None) -> Any:
        """It."""
        return self.data

    def planned(self, examples: Any, rows: int) -> Any:
        """As they are."""
        return examples

    def described(self) -> Any:
        """Nothing of it."""
        return {"kind": self.kind}

    def seen(self, examples: Any, rows: int) -> str:
        """The same for all."""
        return examples.fingerprint


def ours(network: Any, data: Tokens, steps: int, folder: Path) -> float:
    """Seconds of all arms."""
    model = Model(network, load_tokenizer("ascii"), Checkpoint(name="made"))
    shared: dict[str, Any] = {"steps": steps, "batch": BATCH, "length": LENGTH, "schedule": Constant(), "warmup": 0}
    recipes = [Recipe(lr=lr, **shared, weight_decay=0.0, betas=(0.9, 0.999)) for lr, _ in ARMS]
    arms = [
        SharedArm(recipe, SEED, (Lora(rank=rank),), folder / str(n))
        for n, (recipe, (_, rank)) in enumerate(zip(recipes, ARMS, strict=True))
    ]
    start = time.perf_counter()
    train_side_by_side(model, Made.model_construct(data=data, part="train"), arms, [steps])
    return time.perf_counter() - start


def losses_of(folder: Path) -> list[list[float]]:
    """Of every arm, from its state."""
    from safetensors.torch import load_file

    return [load_file(folder / str(number) / STATE_FILE)["losses"].tolist() for number in range(len(ARMS))]


def peer(network: Any, data: Tokens, steps: int, folder: Path, every: int) -> tuple[float, list[list[float]]]:
    """Seconds of all arms, and the loss of every so many steps of each."""
    rows = [{"input_ids": row.tolist(), "labels": row.tolist()} for row in data.rows]
    table, seconds, losses = Dataset.from_list(rows), 0.0, []
    for lr, rank in ARMS:
        options = TrainingArguments(
            output_dir=str(folder / "peer"),
            per_device_train_batch_size=BATCH,
            max_steps=steps,
            learning_rate=lr,
            lr_scheduler_type="constant",
            weight_decay=0.0,
            max_grad_norm=1.0,
            train_sampling_strategy="sequential",
            logging_steps=every,
            save_strategy="no",
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        fresh = copy.deepcopy(network)
        start = time.perf_counter()
        torch.manual_seed(SEED)
        names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
        adapted = get_peft_model(fresh, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules=names))
        trainer = Trainer(model=adapted, args=options, train_dataset=table, data_collator=default_data_collator)
        trainer.remove_callback(PrinterCallback)
        trainer.train()
        seconds += time.perf_counter() - start
        losses.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
    return seconds, losses


def compare(steps: int, shape: dict[str, int], folder: Path) -> dict[str, float]:
    """Seconds of both, and the largest difference between the losses of a step."""
    torch.manual_seed(0)
    config = LlamaConfig(**shape, max_position_embeddings=LENGTH + 1, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0)
    network, data = LlamaForCausalLM(config), Tokens(steps, shape["vocab_size"])
    _, expected = peer(network, data, steps, folder, 1)
    best = [
        min(ours(network, data, steps, folder / f"ours{n}") for n in range(2)),
        min(peer(network, data, steps, folder, steps)[0] for _ in range(2)),
    ]
    difference = float(np.abs(np.array(losses_of(folder / "ours0")) - np.array(expected)).max())
    return {"ours": best[0], "peer": best[1], "difference": difference}


def main() -> None:
    """Print the comparison; the ratio is the demo network's."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        results = {name: compare(steps, shape, Path(folder) / name) for name, (steps, shape) in NETWORKS.items()}
    demo = results["demo"]
    report: dict[str, Any] = {
        "name": "lora_arms",
        "claim": f"{len(ARMS)} LoRA arms ({NETWORKS['demo'][0]} steps of {BATCH} x {LENGTH} tokens) on a base of 8,784 parameters, side by "
        "side, against PEFT and transformers' Trainer once for each; seconds of all. Larger bases are listed beside it.",
        "ours": demo["ours"],
        "peer": demo["peer"],
        "ratio": demo["peer"] / demo["ours"],
        "target": 1.5,
        "equal_results": all(result["difference"] < TOLERANCE for result in results.values()),
        "largest_difference": max(result["difference"] for result in results.values()),
        "unit": "seconds",
    }
    for name, result in results.items():
        report |= {f"ratio_{name}": result["peer"] / result["ours"], f"ours_{name}": result["ours"], f"peer_{name}": result["peer"]}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
