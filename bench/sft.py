"""Fine-tuning on answers: pliant against TRL's SFTTrainer, on the same batches.

Both get the same initial weights, the same tokenised examples with the same marks on what is an answer, in the same order, and the
same AdamW at a constant rate in float32; TRL's own loop, collator and loss otherwise. Same numbers first: the loss of every step
within `TOLERANCE`. Then both run again, TRL telling its loss once in the end, and the seconds of a step are compared.
Questions and answers have log-normal lengths; every token of them is drawn at random, since speed does not depend on sense.
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
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast
from trl import SFTConfig, SFTTrainer

from pliant.data import load_tokenizer
from pliant.data.sequences import Sequences, built
from pliant.methods import Forward, Method, MethodState, Run
from pliant.models import Checkpoint, Model
from pliant.objectives import Answers, Batch, Losses
from pliant.objectives.answers import AnswerExamples
from pliant.train import Recipe, train
from pliant.train.schedules import Constant

EXAMPLES, BATCH, CONTEXT, LR = 512, 8, 256, 1e-3
TOLERANCE = 1e-5  # nats/token
NETWORKS: dict[str, tuple[int, dict[str, int]]] = {  # steps, shape
    "demo": (120, {"hidden_size": 16, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 1, "vocab_size": 128}),
    "100k": (80, {"hidden_size": 48, "intermediate_size": 144, "num_hidden_layers": 3, "num_attention_heads": 3, "vocab_size": 128}),
    "1m": (40, {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 4096}),
    "vocabulary": (
        20,
        {"hidden_size": 64, "intermediate_size": 192, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 32768},
    ),
}


class Made(Answers):
    """Answers whose sequences are there already."""

    data: Any

    def examples(self, model: Model, length: int | None) -> AnswerExamples:
        """They."""
        return AnswerExamples(self.data)

    def canonical(self) -> dict[str, Any]:
        """Nothing of them."""
        return {"kind": self.kind}


class Told(Method):
    """Keeps the loss of every step, to its last digit."""

    def loss(self, run: Run, state: MethodState, forward: Forward, batch: Batch) -> Losses:
        """As it is."""
        losses = forward(batch)
        run.facts.setdefault("losses", []).append(float(losses.mean().detach()))
        return losses


def sequences(vocabulary: int, folder: Path) -> Sequences:
    """Questions of about 60 tokens and answers of about 40."""
    rng = np.random.default_rng(0)
    lengths = np.clip(np.exp(rng.normal(np.log([60, 40]), 0.5, (EXAMPLES, 2))), 4, CONTEXT // 2).astype(int)
    found = [
        (number, rng.integers(4, vocabulary, int(asked + said)).tolist(), [False] * int(asked) + [True] * int(said))
        for number, (asked, said) in enumerate(lengths)
    ]
    return built(folder / f"sequences-{vocabulary}", "made", vocabulary, found, {})


def ours(network: Any, data: Sequences, steps: int, methods: list[Method]) -> tuple[float, list[float]]:
    """Seconds, and the loss of every step where a method tells it."""
    model = Model(copy.deepcopy(network), load_tokenizer("ascii"), Checkpoint(name="made"))
    recipe = Recipe(lr=LR, steps=steps, batch=BATCH, schedule=Constant(), warmup=0, weight_decay=0.0, betas=(0.9, 0.999))
    start = time.perf_counter()
    log = train(model, Made.model_construct(data=data, part="all"), recipe, methods=methods, quiet=True)
    return time.perf_counter() - start, log.facts.get("losses", [])


def peer(network: Any, data: Sequences, steps: int, folder: Path, every: int) -> tuple[float, list[float]]:
    """The same of TRL, which tells its loss every so many steps."""
    examples = AnswerExamples(data)
    numbers = np.concatenate([examples.batch(step, BATCH, 0).numbers for step in range(steps)])
    rows = [data.tokens_of(int(number)) for number in numbers]
    table = Dataset.from_list([{"input_ids": ids.tolist(), "labels": np.where(marks, ids, -100).tolist()} for ids, marks in rows])
    load_tokenizer("ascii").save(folder / "words")
    words = PreTrainedTokenizerFast(tokenizer_file=str(folder / "words" / "tokenizer.json"), eos_token=chr(256), pad_token=chr(256))
    options = SFTConfig(
        output_dir=str(folder / "peer"),
        per_device_train_batch_size=BATCH,
        max_steps=steps,
        learning_rate=LR,
        lr_scheduler_type="constant",
        weight_decay=0.0,
        max_grad_norm=1.0,
        max_length=None,
        train_sampling_strategy="sequential",
        dataset_kwargs={"skip_prepare_dataset": True},
        logging_steps=every,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
    )
    trainer = SFTTrainer(model=copy.deepcopy(network), args=options, train_dataset=table, processing_class=words)
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    return seconds, [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def compare(steps: int, shape: dict[str, int], folder: Path) -> dict[str, float]:
    """Seconds of both, and the largest difference between the losses of a step."""
    torch.manual_seed(0)
    config = LlamaConfig(**shape, max_position_embeddings=CONTEXT, tie_word_embeddings=True, bos_token_id=0, eos_token_id=0, pad_token_id=0)
    network, data = LlamaForCausalLM(config), sequences(shape["vocab_size"], folder)
    _, expected = peer(network, data, steps, folder, 1)
    _, losses = ours(network, data, steps, [Told()])
    differences = np.abs(np.array(losses) - np.array(expected))
    best = [min(ours(network, data, steps, [])[0] for _ in range(3)), min(peer(network, data, steps, folder, steps)[0] for _ in range(3))]
    return {"ours": best[0] / steps, "peer": best[1] / steps, "difference": float(differences.max()), "first": float(differences[0])}


def main() -> None:
    """Print the comparison; the ratio is the demo network's."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        results = {name: compare(steps, shape, Path(folder) / name) for name, (steps, shape) in NETWORKS.items()}
    demo = results["demo"]
    report: dict[str, Any] = {
        "name": "sft",
        "claim": f"Fine-tuning on answers (batches of {BATCH} questions of about 60 tokens with answers of about 40) of a network of 8,784 "
        "parameters, against TRL's SFTTrainer on the same batches; seconds of a step. Larger networks are listed beside it.",
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
        report |= {f"difference_{name}": result["difference"], f"difference_first_step_{name}": result["first"]}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
