"""Generation: pliant's against lm-eval's `generate_until` on prompts and answers of mixed lengths, greedily.

Same answers first, character by character. Prompts are beginnings of stories of one to twenty sentences; answers end by themselves, at a
word, or at `MOST` tokens, so their lengths differ as much. Where the two likeliest tokens are as likely to the last digits, batches of
another size may take the other one; `same_answers` says how many answers are the same, and equal results are `SAME` of them.
"""

from __future__ import annotations

import json
import logging
import os
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from pliant.models import Model, load
from pliant.models.generation import generate

DATA = Path(os.environ.get("PLIANT_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
PROMPTS, MOST, STOP, SAME = 128, 256, ["happy", "The end"], 0.98
BATCHES = (16, 64)
"""Rows of the peer's batches; it is compared at its best."""

NAMES = ("Lily", "Tom", "Ben", "Anna", "Sue", "Max", "Mia", "Tim", "Sara", "Jack")
THINGS = ("big dog", "red cat", "small ball", "nice tree", "blue boat", "old bird", "gold fish", "toy car", "warm hat", "white flower")


def prompts() -> list[str]:
    """Log-normally many sentences, and the beginning of one."""
    rng = np.random.default_rng(0)
    counts = np.clip(np.exp(rng.normal(1, 0.8, PROMPTS)), 1, 20).astype(int)
    stories = [" ".join(f"{rng.choice(NAMES)} had a {rng.choice(THINGS)}." for _ in range(count)) for count in counts]
    return [f"{story} One day {rng.choice(NAMES)}" for story in stories]


def ours(model: Model, asked: list[str]) -> tuple[float, list[str]]:
    """Seconds of a processor, and answers."""
    start = time.process_time()
    said = generate(model, asked, most=MOST, stop=STOP)
    return time.process_time() - start, [answer.text for answer in said]


def peer(model: Model, asked: list[str], rows: int) -> tuple[float, list[str]]:
    """The same of the harness."""
    harness = HFLM(pretrained=model.network, tokenizer=model.tokenizer.tokenizer, batch_size=rows, max_length=model.context)
    settings = {"until": STOP, "max_gen_toks": MOST, "do_sample": False}
    requests = [Instance("generate_until", {}, (prompt, settings), number) for number, prompt in enumerate(asked)]
    start = time.process_time()
    said = harness.generate_until(requests, disable_tqdm=True)
    return time.process_time() - start, said


def main() -> None:
    """Print the comparison."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    model, asked = load(DATA / "models" / "stories260K-hf"), prompts()
    ours(model, asked[:2])
    seconds, answers = ours(model, asked)
    seconds = min(seconds, ours(model, asked)[0])
    found = {rows: peer(model, asked, rows) for rows in BATCHES}
    best = min(found, key=lambda rows: found[rows][0])
    same = float(np.mean([mine == theirs for mine, theirs in zip(answers, found[best][1], strict=True)]))
    lengths = [len(ids) for ids in model.tokenizer.encode(answers)]
    report: dict[str, Any] = {
        "name": "generate",
        "claim": f"Greedy answers to {PROMPTS} prompts of mixed lengths by a network of 260 thousand parameters, {min(lengths)} to "
        f"{max(lengths)} tokens each, against lm-eval's generate_until in batches of {best} rows, the better of {BATCHES}; seconds of "
        "one core.",
        "ours": seconds,
        "peer": found[best][0],
        "ratio": found[best][0] / seconds,
        "target": 2.0,
        "equal_results": same >= SAME,
        "same_answers": same,
        "unit": "seconds",
    }
    report |= {f"ratio_rows_{rows}": taken / seconds for rows, (taken, _) in found.items()}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
