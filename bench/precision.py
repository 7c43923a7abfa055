"""A sweep of 7 bit widths x 3 groups x 2 methods on one model: pliant against reloading, quantizing and evaluating for each setting.

Peers: transformers with torchao for rounding to nearest, llm-compressor's `oneshot` for GPTQ, which calibrates anew for each
setting. Ours: one load, one calibration, every setting through `Quantize.applied` and `Loss`. Both round the linear layers on
asymmetric grids and read the same held-out windows. Same numbers first: the losses after rounding to nearest agree within
`TOLERANCE`. GPTQ's need not be equal: the peer collects each block's inputs after the blocks before it were rounded, and fixes the
grids of groups beforehand; their largest difference is listed. The floor is the network's bare forward pass for every setting.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch
import transformers
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.gptq import GPTQModifier
from loguru import logger
from torchao.quantization import IntxWeightOnlyConfig, PerAxis, PerGroup
from torchao.quantization.quant_primitives import MappingType
from transformers import AutoModelForCausalLM, TorchAoConfig

from pliant.changes import Quantize
from pliant.data import Corpus, packed
from pliant.measures import Loss
from pliant.models import Model, load
from pliant.train import TrainedLadder

PRESET, TOKENS, CONTEXT = os.environ.get("BENCH_PRESET", "llama-1m"), os.environ.get("BENCH_TOKENS", "100k"), 128
CORPUS = Corpus.parse("builtin:prose")
WIDTHS, GROUPS = (2, 3, 4, 5, 6, 7, 8), ("channel", 32, 16)
WINDOWS, CALIBRATION, BATCH = 32, 128, 16
TOLERANCE = 2e-4
"""Nats/token; weights agree to a few 1e-8, but one on the border between two grid values may go either way."""

Losses = dict[tuple[int, str | int], float]


def trained_folder() -> Path:
    """A model of a million parameters, trained for a few seconds, kept in the cache."""
    form = {"model": {"preset": PRESET, "tokenizer": "ascii", "context": CONTEXT}, "corpus": CORPUS, "tokens": TOKENS, "batch": 16}
    return TrainedLadder.parse(form, "bench").rungs(0)[0].train()


def ours(folder: Path, method: str) -> Losses:
    """Every width and group, on one loaded model."""
    model, loss = load(str(folder)), Loss(data=CORPUS, samples=WINDOWS)
    losses: Losses = {}
    for bits in WIDTHS:
        for group in GROUPS:
            change = Quantize(
                bits=bits, group=group, method=method, scheme="asymmetric", tensors="linear", calibration=CORPUS, samples=CALIBRATION
            )
            with change.applied(model) as changed:
                losses[bits, group] = loss(changed).estimate().value
    return losses


def torchao(folder: Path, evaluate: Callable[[Any], float]) -> Losses:
    """Rounding to nearest as transformers' documentation shows it, once a setting."""
    losses: Losses = {}
    for bits in WIDTHS:
        for group in GROUPS:
            granularity = PerAxis(0) if group == "channel" else PerGroup(group)
            config = IntxWeightOnlyConfig(
                weight_dtype=getattr(torch, f"int{bits}"), granularity=granularity, mapping_type=MappingType.ASYMMETRIC
            )
            network = AutoModelForCausalLM.from_pretrained(folder, quantization_config=TorchAoConfig(config))
            losses[bits, group] = evaluate(network)
    return losses


def llm_compressor(folder: Path, evaluate: Callable[[Any], float], calibration: Dataset) -> Losses:
    """GPTQ as llm-compressor's documentation shows it, once a setting."""
    losses: Losses = {}
    for bits in WIDTHS:
        for group in GROUPS:
            network = AutoModelForCausalLM.from_pretrained(folder)
            size = None if group == "channel" else group
            weights = QuantizationArgs(num_bits=bits, symmetric=False, strategy="group" if size else "channel", group_size=size)
            scheme = QuantizationScheme(targets=["Linear"], weights=weights)
            recipe = GPTQModifier(config_groups={"all": scheme}, ignore=["lm_head"], actorder=None)
            oneshot(model=network, dataset=calibration, recipe=recipe, num_calibration_samples=CALIBRATION, max_seq_length=CONTEXT)
            losses[bits, group] = evaluate(network)
    return losses


def evaluation(model: Model) -> Callable[[Any], float]:
    """Nats/token on the windows that `Loss` reads, in padded batches."""
    windows = [torch.tensor(window.tokens) for window in packed(CORPUS, model.tokenizer, "heldout").windows(CONTEXT, WINDOWS)]
    batches = [torch.nn.utils.rnn.pad_sequence(windows[i : i + BATCH], True, -100) for i in range(0, len(windows), BATCH)]

    @torch.no_grad()
    def evaluate(network: Any) -> float:
        total, tokens = 0.0, 0
        for batch in batches:
            logits = network(input_ids=batch[:, :-1].clamp(min=0), attention_mask=(batch[:, :-1] >= 0).long()).logits
            target = batch[:, 1:].reshape(-1)
            total += torch.nn.functional.cross_entropy(logits.reshape(len(target), -1), target, ignore_index=-100, reduction="sum").item()
            tokens += int((target >= 0).sum())
        return total / tokens

    return evaluate


class Stopwatch:
    """Wall and processor seconds by name; the latter do not count what else the machine was doing."""

    def __init__(self) -> None:
        self.wall: dict[str, float] = {}
        self.processor: dict[str, float] = {}

    def __call__(self, name: str, work: Callable[[], Any]) -> Any:
        start = time.perf_counter(), time.process_time()
        result = work()
        self.wall[name], self.processor[name] = time.perf_counter() - start[0], time.process_time() - start[1]
        return result


def ratio(seconds: dict[str, float], *methods: str) -> float:
    """Peers' seconds over ours."""
    of = {"rtn": "torchao", "gptq": "llm-compressor"}
    return sum(seconds[f"{method}, {of[method]}"] for method in methods) / sum(seconds[f"{method}, pliant"] for method in methods)


def main() -> None:
    """Prints one JSON object."""
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    logger.remove()
    transformers.utils.logging.disable_progress_bar()
    folder = trained_folder()
    model = load(str(folder))
    evaluate = evaluation(model)
    text = packed(CORPUS, model.tokenizer, "train").batch(0, CALIBRATION, CONTEXT, seed=0)[:, :-1]
    calibration = Dataset.from_dict({"input_ids": text.tolist(), "attention_mask": [[1] * CONTEXT] * CALIBRATION})
    base = evaluate(model.network)
    watch = Stopwatch()
    with Path(os.devnull).open("w") as nowhere, contextlib.redirect_stderr(nowhere):
        rtn = watch("rtn, pliant", lambda: ours(folder, "rtn"))
        peer_rtn = watch("rtn, torchao", lambda: torchao(folder, evaluate))
        gptq = watch("gptq, pliant", lambda: ours(folder, "gptq"))
        peer_gptq = watch("gptq, llm-compressor", lambda: llm_compressor(folder, evaluate, calibration))
        watch("bare", lambda: [evaluate(model.network) for _ in range(5)])
    settings = len(WIDTHS) * len(GROUPS)
    apart = max(abs(rtn[at] - peer_rtn[at]) for at in rtn)
    layers = [p for name, p in model.network.named_parameters() if p.ndim == 2 and ".layers." in name]
    result = {
        "name": "precision",
        "claim": f"{2 * settings} ways to round one model of {model.checkpoint.params} parameters, each with its held-out loss",
        "ratio": ratio(watch.wall, "rtn", "gptq"),
        "target": 5.0,
        "equal_results": apart <= TOLERANCE,
        "ratio_processor_time": ratio(watch.processor, "rtn", "gptq"),
        "ratio_rtn": ratio(watch.wall, "rtn"),
        "ratio_gptq": ratio(watch.wall, "gptq"),
        "seconds": {name: round(value, 2) for name, value in watch.wall.items()},
        "processor_seconds": {name: round(value, 2) for name, value in watch.processor.items()},
        "largest_difference_rtn": apart,
        "largest_difference_gptq_4_bits_and_up": max(abs(gptq[at] - peer_gptq[at]) for at in gptq if at[0] >= 4),
        "rise_4_bits_channel": {
            "rtn": rtn[4, "channel"] - base, "gptq": gptq[4, "channel"] - base, "gptq, peer": peer_gptq[4, "channel"] - base
        },
        "floor_processor_seconds": 2 * settings * watch.processor["bare"] / 5,
        "floor_forward_gflop": 2 * settings * 2e-9 * model.checkpoint.params * WINDOWS * CONTEXT,
        "floor_gptq_gflop": settings * 2e-9 * sum(len(weight) * weight.shape[1] ** 2 for weight in layers) / 2,
        "floor_weights_rewritten_gb": 2 * settings * 2 * 4e-9 * sum(weight.numel() for weight in layers),
    }  # fmt: skip
    print(json.dumps(result))


if __name__ == "__main__":
    main()
