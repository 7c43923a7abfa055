"""The loss of texts of log-normal lengths: pliant against lm-eval's `HFLM.loglikelihood_rolling`.

Both get the same network in memory, the same tokenizer and the same strings, and return the summed log-likelihood of each. The peer
is timed at several batch sizes and the ratio is taken against its fastest; what it takes at the size that people set to fill a
device (16) is listed beside it. The floor is the network's bare forward pass over as many tokens without any padding.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

from pliant.data import load_tokenizer
from pliant.measures.likelihood import BATCH_TOKENS, sequence_losses

CONTEXT, TEXTS, MEDIAN, SPREAD = 512, 400, 90, 1.0
BEGIN = 10  # the token before each text: a newline
BATCH_SIZES = (1, 4, 16)
NETWORKS: dict[str, dict[str, int]] = {
    "demo": {"hidden_size": 16, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 1, "vocab_size": 128},
    "100k": {"hidden_size": 48, "intermediate_size": 144, "num_hidden_layers": 3, "num_attention_heads": 3, "vocab_size": 128},
    "1m": {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4, "vocab_size": 4096},
}


def timed(work: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """The least seconds of `repeats` runs after a warm one, and the result."""
    result, seconds = work(), []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def compare(shape: dict[str, int]) -> dict[str, Any]:
    """Seconds of ours, of the peer at each batch size and of the floor, and the largest relative difference of the sums."""
    torch.manual_seed(0)
    config = LlamaConfig(**shape, max_position_embeddings=CONTEXT, tie_word_embeddings=True, bos_token_id=0, eos_token_id=1)
    network = LlamaForCausalLM(config).eval()
    tokenizer = load_tokenizer("ascii")
    rng = np.random.default_rng(0)
    lengths = np.clip(np.exp(rng.normal(np.log(MEDIAN), SPREAD, TEXTS)), 2, CONTEXT).astype(int)
    texts = ["".join(map(chr, rng.integers(32, 127, length))) for length in lengths]

    def ours() -> np.ndarray:
        sequences = [np.concatenate([[BEGIN], tokens]) for tokens in tokenizer.encode(texts)]
        return np.array([losses.sum() for losses in sequence_losses(network, sequences)])

    def floor() -> None:
        rows = torch.zeros((BATCH_TOKENS["cpu"] // int(lengths.mean()), int(lengths.mean())), dtype=torch.long)
        with torch.no_grad():
            for _ in range(round(int(lengths.sum()) / rows.numel())):
                network(input_ids=rows, use_cache=False)

    seconds, found = timed(ours)
    peers, worst = {}, 0.0
    for batch_size in BATCH_SIZES:
        peers[batch_size], expected = timed(peer(network, tokenizer, texts, batch_size), repeats=2)
        worst = max(worst, float(np.abs(found / expected - 1).max()))
    return {"ours": seconds, "peers": peers, "floor": timed(floor)[0], "difference": worst, "tokens": int(lengths.sum())}


def peer(network: Any, tokenizer: Any, texts: list[str], batch_size: int) -> Callable[[], np.ndarray]:
    """lm-eval's own loop over the same network, made ready, with its progress bar thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save(folder)
        words = AutoTokenizer.from_pretrained(folder)
    words.pad_token_id = 0
    model = HFLM(pretrained=network, tokenizer=words, batch_size=batch_size, prefix_token_id=BEGIN, device="cpu", max_length=CONTEXT)
    requests = [Instance("loglikelihood_rolling", {}, (text,), index) for index, text in enumerate(texts)]

    def run() -> np.ndarray:
        with contextlib.redirect_stderr(io.StringIO()):
            return -np.array(model.loglikelihood_rolling(requests, disable_tqdm=True))

    return run


def main() -> None:
    """Print the comparison; the ratio is the demo network's, the one a study here evaluates hundreds of times."""
    logging.disable(logging.WARNING)
    results = {name: compare(shape) for name, shape in NETWORKS.items()}
    demo = results["demo"]
    fastest = min(demo["peers"].values())
    report: dict[str, Any] = {
        "name": "loss",
        "claim": f"Losses of {TEXTS} texts of log-normal lengths (median {MEDIAN} tokens, sigma {SPREAD:g}, at most {CONTEXT}) of a "
        "network of 8,784 parameters, against lm-eval's HFLM.loglikelihood_rolling at the fastest of its batch sizes "
        f"{', '.join(map(str, BATCH_SIZES))}. Larger networks, where the processor's arithmetic takes over, are listed beside it.",
        "ours": demo["ours"],
        "peer": fastest,
        "ratio": fastest / demo["ours"],
        "target": 3.0,
        "equal_results": all(result["difference"] < 1e-6 for result in results.values()),
        "largest_relative_difference": max(result["difference"] for result in results.values()),
        "floor": demo["floor"],
        "unit": "seconds",
    }
    for name, result in results.items():
        report[f"ours_over_floor_{name}"] = result["ours"] / result["floor"]
        report |= {f"ratio_{name}_batch_{size}": seconds / result["ours"] for size, seconds in result["peers"].items()}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
