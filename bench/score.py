"""Scores against what a user would otherwise run, by processor time, each side in turn.

GraNd: all examples of a batch through one backward pass, against a loop over examples and against opacus's two ways (gradients of every
example, and its own ghost norms); the last layer's score against both. Equal first: the same lengths.
Perplexity: from a file of documents of log-normal lengths to their scores, against lm-eval's `HFLM.loglikelihood_rolling`; and on full
windows against the network's bare forward pass. Equal first: the same log-likelihoods, of documents that fit the context (of longer ones
the peer reads the last window behind more of the text than ours does).
Selection: a band of ten million scores, from the file on the disk to the mask of what is kept.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import numpy as np
import torch
from lm_eval.api.instance import Instance
from lm_eval.models.huggingface import HFLM
from opacus.grad_sample import GradSampleModule, GradSampleModuleFastGradientClipping
from torch.nn.functional import cross_entropy
from transformers import AutoTokenizer, BertConfig, BertForSequenceClassification

from pliant.data import load_tokenizer
from pliant.models import Model, build
from pliant.objectives import NextToken
from pliant.scores import Perplexity, Scores
from pliant.scores.band import Band
from pliant.scores.ghost_norms import squared_gradients
from pliant.scores.scores import opened
from pliant.scores.selected import _numbers

WORK = tempfile.TemporaryDirectory()
ROWS, CLASSES = 32, 4
CONTEXT, TEXTS, MEDIAN, SPREAD, BATCH_SIZES = 512, 400, 90, 1.0, (1, 4, 16)
PRESETS = ("llama-16x2", "llama-48x3")
SCORES = 10_000_000


def in_turn(works: Mapping[str, Callable[[], Any]], repeats: int = 5) -> tuple[dict[str, float], dict[str, Any]]:
    """The least seconds of the processor that each took in some rounds after a warm one, and what it gave."""
    results = {name: work() for name, work in works.items()}
    seconds: dict[str, list[float]] = {name: [] for name in works}
    for _ in range(repeats):
        for name, work in works.items():
            start = time.process_time()
            work()
            seconds[name].append(time.process_time() - start)
    return {name: min(some) for name, some in seconds.items()}, results


def differs(found: Any, expected: Any) -> float:
    """The largest relative difference."""
    return float(np.abs(np.asarray(found, np.float64) / np.asarray(expected, np.float64) - 1).max())


def classifier() -> BertForSequenceClassification:
    """Of 2.1M parameters; as opacus needs it, every tensor of its input has the examples in front."""
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=4096, hidden_size=192, num_hidden_layers=4, num_attention_heads=4, intermediate_size=768, num_labels=CLASSES,
        max_position_embeddings=256, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    return BertForSequenceClassification(config).eval()


def batch(length: int) -> tuple[dict[str, torch.Tensor], torch.Tensor]:
    """Random tokens and labels."""
    generator = torch.Generator().manual_seed(1)
    ids = torch.randint(1, 4096, (ROWS, length), generator=generator)
    inputs = {"input_ids": ids, "position_ids": torch.arange(length).repeat(ROWS, 1), "token_type_ids": torch.zeros_like(ids)}
    return inputs, torch.randint(0, CLASSES, (ROWS,), generator=generator)


def gradients(length: int) -> dict[str, float]:
    """Seconds a batch of every way, and the largest difference between them."""
    network, (inputs, labels) = classifier(), batch(length)

    def losses(rows: slice, of: Any = network) -> torch.Tensor:
        return cross_entropy(of(**{name: tensor[rows] for name, tensor in inputs.items()}).logits, labels[rows], reduction="none")

    def ours() -> Any:
        return squared_gradients(network, losses, ROWS).sqrt()

    def last() -> Any:
        return squared_gradients(network, losses, ROWS, [network.classifier]).sqrt()

    def loop(parameters: list[Any]) -> Any:
        found = [torch.autograd.grad(losses(slice(row, row + 1)).sum(), parameters, allow_unused=True) for row in range(ROWS)]
        return torch.stack([torch.stack([part.square().sum() for part in some if part is not None]).sum().sqrt() for some in found])

    each = GradSampleModule(classifier().train(), loss_reduction="sum")  # nothing drops out; opacus looks at modules in training alone
    ghosts = GradSampleModuleFastGradientClipping(
        classifier().train(), loss_reduction="sum", max_grad_norm=1.0, use_ghost_clipping=True
    )  # fmt: skip

    def per_sample() -> Any:
        each.zero_grad(set_to_none=True)
        losses(slice(None), each).sum().backward()
        found = [parameter.grad_sample for parameter in each.parameters() if parameter.grad_sample is not None]
        return torch.stack([part.flatten(1).square().sum(1) for part in found]).sum(0).sqrt()

    def ghost() -> Any:
        ghosts.zero_grad(set_to_none=True)
        losses(slice(None), ghosts).sum().backward()
        return ghosts.get_norm_sample()

    ways: dict[str, Callable[[], Any]] = {
        "ours": ours,
        "loop": lambda: loop(list(network.parameters())),
        "opacus": per_sample,
        "opacus ghost": ghost,
        "last": last,
        "last loop": lambda: loop(list(network.classifier.parameters())),
    }
    seconds, found = in_turn(ways, 4)
    norms = {name: norm.detach().double().numpy() for name, norm in found.items()}
    worst = max(differs(norms["ours"], norms[name]) for name in ("loop", "opacus", "opacus ghost"))
    return {**seconds, "difference": max(worst, differs(norms["last"], norms["last loop"]))}


def documents(lengths: Any) -> tuple[list[str], Path]:
    """Random texts that begin with a line end, which stands for the token before them, and a file of them."""
    generator, path = np.random.default_rng(0), Path(WORK.name) / f"{len(lengths)}-{int(lengths[0])}.jsonl"
    texts = ["".join(map(chr, generator.integers(32, 127, length))) for length in lengths]
    path.write_text("".join(json.dumps({"text": f"\n{text}"}) + "\n" for text in texts))
    return texts, path


def score(model: Model, path: Path, number: int) -> Scores:
    """From the file, which nobody has read before."""
    os.environ["PLIANT_CACHE"] = f"{WORK.name}/cache-{number}"
    examples: Any = NextToken(data=str(path), part="all").examples(model, None)  # pyright: ignore[reportArgumentType]
    return Perplexity()([model], examples)


def rolling(model: Model, texts: list[str], rows: int) -> Callable[[], Any]:
    """lm-eval's own loop over the same network, with its progress bar thrown away."""
    with tempfile.TemporaryDirectory() as folder:
        model.tokenizer.save(Path(folder))
        words = AutoTokenizer.from_pretrained(folder)
    words.pad_token_id = 0
    peer = HFLM(pretrained=model.network, tokenizer=words, batch_size=rows, prefix_token_id=10, device="cpu", max_length=CONTEXT)
    requests = [Instance("loglikelihood_rolling", {}, (text,), index) for index, text in enumerate(texts)]

    def run() -> Any:
        with contextlib.redirect_stderr(io.StringIO()):
            return -np.array(peer.loglikelihood_rolling(requests, disable_tqdm=True))

    return run


def perplexities(preset: str) -> tuple[dict[str, float], float]:
    """Seconds of both over texts of log-normal lengths, and the largest difference."""
    model = build(preset, load_tokenizer("ascii"), 0, context=CONTEXT)
    lengths = np.exp(np.random.default_rng(0).normal(np.log(MEDIAN), SPREAD, TEXTS)).clip(2, CONTEXT).astype(int)
    texts, path = documents(lengths)
    calls = iter(range(1000))
    ways: dict[str, Callable[[], Any]] = {"ours": lambda: score(model, path, next(calls))}
    seconds, found = in_turn(ways | {str(rows): rolling(model, texts, rows) for rows in BATCH_SIZES}, 2)
    ours = dict(zip(found["ours"].ids, found["ours"].values * found["ours"].tokens, strict=True))
    expected = dict(zip(found["ours"].ids, found["1"], strict=True))  # both in the order of the file
    assert list(found["ours"].tokens) == list(lengths)
    return seconds, differs(list(ours.values()), list(expected.values()))


def full_windows() -> tuple[float, float]:
    """Tokens a second of the processor, scored and merely put through the network, where every window is full."""
    model = build("llama-192x4", load_tokenizer("ascii"), 0, context=CONTEXT)
    count = 64
    _, path = documents(np.full(count, CONTEXT))
    examples: Any = NextToken(data=str(path), part="all").examples(model, None)  # pyright: ignore[reportArgumentType]
    rows = torch.from_numpy(examples.text.tokens.astype(np.int64)).view(count, CONTEXT + 1)[:, :-1]

    def bare() -> None:
        with torch.inference_mode():
            for some in rows.split(8):
                model.network(input_ids=some, use_cache=False)

    seconds, _ = in_turn({"ours": lambda: Perplexity()([model], examples), "bare": bare}, 4)
    return count * CONTEXT / seconds["ours"], count * CONTEXT / seconds["bare"]


def selection() -> float:
    """Seconds from a file of ten million scores to which documents a band keeps."""
    generator = np.random.default_rng(0)
    numbers = generator.integers(0, 2**63, SCORES, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
    path = Path(WORK.name) / "scores.parquet"
    ids = [f"{number:016x}" for number in numbers.tolist()]
    tokens = generator.integers(1, 2000, SCORES)
    about: dict[str, Any] = {"score": {"kind": "perplexity"}, "models": ("m",), "data": "d", "unit": "nats/token", "better": "lower"}
    Scores(ids, generator.normal(3, 1, SCORES), tokens, ["s"] * SCORES, **about).save(path)
    start = time.process_time()
    table, _ = opened(path)
    band = Band.parse("50%", "medium")
    kept = band.kept(table["score"].to_numpy(), _numbers(path, table["id"]), table["tokens"].to_numpy(), by_tokens=True)
    seconds = time.process_time() - start
    assert abs(tokens[kept].sum() / tokens.sum() - 0.5) < 1e-6
    return seconds


def main() -> None:
    """Print the comparison; the ratio is GraNd's over a loop at 16 tokens."""
    logging.disable(logging.WARNING)
    torch.set_num_threads(1)
    short, long = gradients(16), gradients(128)
    read = {preset: perplexities(preset) for preset in PRESETS}
    apart = max(difference for _, difference in read.values())
    scored, bare = full_windows()
    report: dict[str, Any] = {
        "name": "score",
        "claim": f"GraNd of {ROWS} texts of 16 tokens (a BERT of 2.6M parameters), all in one backward pass, against a loop over them.",
        "ours": short["ours"],
        "peer": short["loop"],
        "ratio": short["loop"] / short["ours"],
        "target": 3.0,
        "equal_results": max(short["difference"], long["difference"]) < 1e-4 and apart < 1e-6,
        "largest relative difference of gradients": max(short["difference"], long["difference"]),
        "largest relative difference of log-likelihoods": apart,
        "unit": "seconds of the processor",
    }
    for length, found in (("16", short), ("128", long)):
        for name in ("loop", "opacus", "opacus ghost"):
            report[f"GraNd at {length} tokens over {name}"] = found[name] / found["ours"]
        report[f"last layer at {length} tokens over GraNd by a loop"] = found["loop"] / found["last"]
        report[f"last layer at {length} tokens over GraNd, ours"] = found["ours"] / found["last"]
        report[f"last layer at {length} tokens over a loop of the last layer"] = found["last loop"] / found["last"]
    for preset, (seconds, _) in read.items():
        for rows in BATCH_SIZES:
            report[f"perplexity of {preset} over lm-eval's rolling scorer at batch size {rows} (target 3)"] = (
                seconds[str(rows)] / seconds["ours"]
            )  # fmt: skip
    report["perplexity's tokens a second over those of the bare forward pass, full windows (target 0.85)"] = scored / bare
    report["tokens a second, scored, of a network of 1.9M parameters"] = scored
    report["seconds to choose among ten million scores"] = selection()
    print(json.dumps(report))


if __name__ == "__main__":
    main()
