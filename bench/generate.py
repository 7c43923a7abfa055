"""Generation: pliant's against lm-eval's `generate_until` and transformers' `generate`, on prompts of mixed lengths, greedily.

Same answers first, character by character. Beginnings of stories have one to twenty sentences, and their answers end by themselves, at a
word, or at `most` tokens; questions of GSM8K are asked of the same network and of an untrained one with 49,152 pieces, neither of which
ends an answer, so that there only the prompts' lengths are mixed. Where the two likeliest tokens are as likely to the last digits, batches
of another size may take the other one; equal results are `SAME` of all answers. Arms take turns; the better of each arm's rounds
counts. `floor` is what of pliant's seconds was spent inside the network's own forward passes.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM

from pliant.data import load_tokenizer
from pliant.measures.generate import STOP
from pliant.models import Model, build, load
from pliant.models.generation import generate

DATA = Path(os.environ.get("PLIANT_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
PROMPTS, SAME, ROUNDS = 128, 0.98, 2

NAMES = ("Lily", "Tom", "Ben", "Anna", "Sue", "Max", "Mia", "Tim", "Sara", "Jack")
THINGS = ("big dog", "red cat", "small ball", "nice tree", "blue boat", "old bird", "gold fish", "toy car", "warm hat", "white flower")


@dataclass
class Work:
    """What is asked of which network."""

    model: Model
    asked: list[str]
    most: int
    stop: Sequence[str]


def stories() -> list[str]:
    """Log-normally many sentences, and the beginning of one."""
    rng = np.random.default_rng(0)
    counts = np.clip(np.exp(rng.normal(1, 0.8, PROMPTS)), 1, 20).astype(int)
    told = [" ".join(f"{rng.choice(NAMES)} had a {rng.choice(THINGS)}." for _ in range(count)) for count in counts]
    return [f"{story} One day {rng.choice(NAMES)}" for story in told]


def questions() -> list[str]:
    """Of GSM8K, as they come."""
    lines = (DATA / "finetune" / "gsm8k" / "test.jsonl").read_text().splitlines()[:PROMPTS]
    return [f"Question: {json.loads(line)['question']}\nAnswer:" for line in lines]


def ours(work: Work) -> list[str]:
    """All prompts at once."""
    return [said.text for said in generate(work.model, work.asked, most=work.most, stop=work.stop)]


def harness(rows: int, work: Work) -> list[str]:
    """lm-eval's, which sorts prompts by length."""
    words = work.model.tokenizer.tokenizer
    peer = HFLM(pretrained=work.model.network, tokenizer=words, batch_size=rows, max_length=work.model.context)
    settings = {"until": list(work.stop), "max_gen_toks": work.most, "do_sample": False}
    requests = [Instance("generate_until", {}, (prompt, settings), number) for number, prompt in enumerate(work.asked)]
    return peer.generate_until(requests, disable_tqdm=True)


def transformers(rows: int, work: Work) -> list[str]:
    """In batches as the prompts come."""
    words = work.model.tokenizer.tokenizer
    words.padding_side, words.pad_token = "left", words.pad_token or words.eos_token
    said: list[str] = []
    for start in range(0, len(work.asked), rows):
        batch = words(work.asked[start : start + rows], return_tensors="pt", padding=True)
        found = work.model.network.generate(
            **batch,
            max_new_tokens=work.most,
            do_sample=False,
            pad_token_id=words.pad_token_id,
            stop_strings=list(work.stop),
            tokenizer=words,
        )
        said += words.batch_decode(found[:, batch.input_ids.shape[1] :], skip_special_tokens=True)
    return [text[: min([text.find(word) for word in work.stop if word in text], default=None)] for text in said]


def timed(arm: Callable[[Work], list[str]], work: Work) -> tuple[float, float, list[str]]:
    """Seconds of a processor, those inside the network, and answers."""
    inside: list[float] = []
    hooks = [
        work.model.network.register_forward_pre_hook(lambda *_: inside.append(-time.process_time())),
        work.model.network.register_forward_hook(lambda *_: inside.append(time.process_time())),
    ]
    start = time.process_time()
    said = arm(work)
    taken = time.process_time() - start
    for hook in hooks:
        hook.remove()
    return taken, sum(inside), said


def compared(work: Work, arms: dict[str, Callable[[Work], list[str]]]) -> dict[str, Any]:
    """Ratios, equality and the floor."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    said: dict[str, list[str]] = {}
    floor = float("inf")
    generate(work.model, work.asked[:2], most=8)
    for _ in range(ROUNDS):
        for name, arm in arms.items():
            taken, inside, said[name] = timed(arm, work)
            seconds[name].append(taken)
            floor = min(floor, inside) if name == "ours" else floor
    best = {name: min(times) for name, times in seconds.items()}
    same = min(float(np.mean([mine == theirs for mine, theirs in zip(said["ours"], said[name], strict=True)])) for name in arms)
    ratios = {f"ratio_{name}": best[name] / best["ours"] for name in arms if name != "ours"}
    return {"ours": best["ours"], "floor": floor, "over_floor": best["ours"] / floor, **ratios, "same_answers": same}


def main() -> None:
    """Print the comparison."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    small = load(DATA / "models" / "stories260K-hf")
    large = build("llama-64x4", load_tokenizer(str(DATA / "models" / "smollm2-tokenizer")), 0, context=512)
    most = {"ours": ours, "harness_64": partial(harness, 64), "transformers_64": partial(transformers, 64)}
    found = {
        "stories": compared(Work(small, stories(), 256, ("happy", "The end")), {**most, "harness_16": partial(harness, 16)}),
        "gsm8k": compared(Work(small, questions(), 128, STOP), most),
        "gsm8k_49152": compared(Work(large, questions(), 128, STOP), most),
    }
    first = found["stories"]
    ratios = [value for name, value in first.items() if name.startswith("ratio_")]
    report: dict[str, Any] = {
        "name": "generate",
        "claim": f"Greedy answers to {PROMPTS} prompts of mixed lengths, against lm-eval's generate_until and transformers' generate in "
        "batches of 64 rows, on one core. The ratio is the least of beginnings of stories, whose answers' lengths are mixed too, with a "
        "network of 260 thousand parameters; beside it questions of GSM8K, and those to a network with a vocabulary of 49,152. "
        "floor: seconds inside the network.",
        "ratio": min(ratios),
        "target": 2.0,
        "equal_results": all(result["same_answers"] >= SAME for result in found.values()),
        "unit": "seconds",
    }
    report |= {f"{name}_{key}": value for name, result in found.items() for key, value in result.items()}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
