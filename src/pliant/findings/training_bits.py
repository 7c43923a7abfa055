"""Training in few bits acts like training fewer parameters, and stops mattering above 6 to 7 bits (arXiv 2411.04330).

The same run, seeds and batches, with weights rounded to 3, 4, 6 and 8 bits in the forward pass and not at all; each is judged by the
network that was trained, its weights rounded. A smaller model trained alike tells how much loss a parameter is worth, hence the share
f(P) of parameters that P bits leave effective. Beside it, the published law's best bits, by brute force and by its own condition.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

from pliant.data import Corpus
from pliant.findings.arms import Readings, readings, run_arm
from pliant.findings.finding import Finding, Outcome, Size, verdict
from pliant.laws import LAWS
from pliant.laws.forms.training_bits import PRINTED
from pliant.statistics import Array, bootstrap_means, percentile_interval

BITS = (3, 4, 6, 8)
RUNS: dict[Size, tuple[str, str, str]] = {
    "smoke": ("llama-16x2", "llama-16x1", "0.5M"),
    "laptop": ("llama-16x2", "llama-16x1", "4M"),
    "gpu": ("llama-1m", "llama-300k", "64M"),
}
"""The model, a smaller one, and the budget of both."""
LENGTHS = np.geomspace(0.1, 20, 500)
"""Decay lengths tried, bits."""


class TrainingBits(Finding):
    """More bits in training help up to a point."""

    paper: ClassVar[str] = "Scaling Laws for Precision, arXiv 2411.04330, section on quantized training"
    claim: ClassVar[str] = "Effective parameters are N (1 - exp(n - P/g)) for P-bit weights, so that training bits saturate above 6 to 7."
    published: ClassVar[str] = "g = 2.67 bits for weights; 7 to 8 bits train best for their cost when all parts have P bits"
    rule: ClassVar[str] = (
        "reproduced when the loss of training in P bits, paired with that of unrounded training, is above it at 3 bits (90% interval over "
        "seeds and documents) and higher at 3 than at 4 bits, at most a quarter of that excess is left at 6 and at 8 bits, and the "
        "published law's best training bits by brute force over N, D and P are the 7 that its condition max f(P)/P gives; contradicted "
        "when more than half of the excess is left at 8 bits. Our g is told with its interval; it decides nothing."
    )

    corpus: Corpus = Field(Corpus.parse("builtin:prose"), description="Pretraining text")
    task: Corpus = Field(Corpus.parse("builtin:code"), description="Other text that the loss is read on")

    def test(self, folder: Path) -> Outcome:
        """Smoke: about fifteen seconds; laptop: about five minutes on two cores; gpu: about an hour."""
        model, smaller, tokens = RUNS[self.size]
        unrounded, params = self._trained(folder, model, tokens, 16)
        small, fewer = self._trained(folder, smaller, tokens, 16)
        rounded = [self._trained(folder, model, tokens, bits)[0] for bits in BITS]
        excess = [found.above(unrounded) for found in rounded]
        shares = _shares(rounded, unrounded, small, params, fewer)
        fits = [_fit(row) for row in shares]
        lengths = np.array([length for length, _ in fits])
        brute, condition = (
            brute_force(),
            best_bits_by_share([(PRINTED[f"g{part}"], PRINTED[f"n{part}"]) for part in ("w", "a", "kv")], lowest=4),
        )
        values = [value for value, _, _ in excess]
        checks = {
            f"3 bits cost ({_shown(excess[0])})": excess[0][1] > 0,
            "3 bits cost more than 4": values[0] > values[1],
            f"at most a quarter is left at 6 and 8 bits ({values[2]:.3f}, {values[3]:.3f})": max(values[2:]) <= values[0] / 4,
            f"the published law is best at 7 bits (brute force {brute}, condition {condition:.2f})": brute == round(condition) == 7,
        }
        length = (float(lengths[0]), *percentile_interval(lengths[1:]))
        ours = f"excess at {', '.join(map(str, BITS))} bits: {', '.join(f'{value:.3f}' for value in values)}; g = {_shown(length)} bits"
        figures: dict[str, Any] = {
            "excess": dict(zip(map(str, BITS), excess, strict=True)),
            "share of parameters left": {
                str(bits): (float(column[0]), *percentile_interval(column[1:])) for bits, column in zip(BITS, shares.T, strict=True)
            },
            "g": length,
            "n": float(fits[0][1]),
            "best bits for their cost": {
                "measured widths": BITS[int(np.argmax(shares[0] / BITS))],
                "fitted, 3 bits or more": best_bits_by_share([(fits[0][0], fits[0][1])], lowest=3),
            },
            "loss per smaller model": small.above(unrounded),
        }
        return Outcome(verdict(checks, against=values[3] > values[0] / 2), ours, checks, figures)

    def _trained(self, folder: Path, model: str, tokens: str, bits: int) -> tuple[Readings, int]:
        """The losses of the network that training in `bits` gives, and its parameters; 16 bits are not rounded."""
        methods = [] if bits == 16 else [{"qat": {"weights": bits}}]
        changes = [] if bits == 16 else [{"quantize": {"bits": bits, "tensors": "linear"}}]
        name = f"training-bits-{model}-{bits}"
        runs = run_arm(name, self.size, self.corpus, self.task, changes, folder, methods=methods, only=(model, tokens))
        found = next(found for change, found in readings(runs) if change.get("bits", 16) == bits)
        return found, runs.records()[0]["params"]


def _shares(rounded: list[Readings], unrounded: Readings, small: Readings, params: int, fewer: int) -> Array:
    """f(P) of every width, of the data (row 0) and of bootstrap resamples over seeds and documents: (1 + resamples, widths).

    L(N) = E' + A N^-alpha with the published alpha goes through both sizes, and f is how much smaller a model has the loss of P bits.
    """
    values = np.stack([found.values for found in (*rounded, small)]) - unrounded.values  # widths, seeds, one checkpoint, samples
    resamples = bootstrap_means(values, unrounded.weights, unrounded.documents)
    excess = np.vstack([values.mean(axis=(1, 2)) @ unrounded.weights / unrounded.weights.sum(), resamples])
    alpha = PRINTED["alpha"]
    slope = excess[:, -1:] / (fewer**-alpha - params**-alpha)
    effective = np.maximum(excess[:, :-1] / slope + params**-alpha, 1e-12) ** (-1 / alpha)
    return effective / params


def _fit(share: Array) -> tuple[float, float]:
    """g and n of 1 - f = exp(n - P/g) by least squares on 1 - f, over a grid of g."""
    basis = np.exp(-np.array(BITS)[None, :] / LENGTHS[:, None])
    basis /= np.linalg.norm(basis, axis=1, keepdims=True)
    match = np.maximum(basis @ (1 - share), 0)
    best = int(np.argmax(match))
    length = float(LENGTHS[best])
    amplitude = match[best] / np.linalg.norm(np.exp(-np.array(BITS) / length))
    return length, float(np.log(amplitude)) if amplitude > 0 else float("-inf")


def brute_force(compute: float = 6 * 2e8 * 2e10) -> int:
    """The bits at which the published law is lowest over a grid of N and all D = 16 compute / (6 N P), all parts in P bits."""
    sizes = np.geomspace(1e7, 1e11, 2000)[None, :]
    parameters = {name: np.full((1, 1), value) for name, value in PRINTED.items()}
    losses: dict[int, float] = {}
    for bits in range(4, 17):
        at = {"N": sizes, "D": 16 * compute / (6 * sizes * bits), **dict.fromkeys(("Pw", "Pa", "Pkv"), float(bits))}
        losses[bits] = float(np.nanmin(LAWS["training_bits"](at, parameters)))
    return min(losses, key=lambda bits: losses[bits])


def best_bits_by_share(parts: Sequence[tuple[float, float]], lowest: float) -> float:
    """The P with the largest f(P) / P when every part, given by its g and n, has P bits: the law's optimum, whatever the compute."""
    bits = np.linspace(lowest, 16, 12001)
    share = np.prod([1 - np.exp(offset - bits / length) for length, offset in parts], axis=0)
    return float(bits[np.argmax(share / bits)])


def _shown(interval: tuple[float, float, float]) -> str:
    return f"{interval[0]:.3f} [{interval[1]:.3f}, {interval[2]:.3f}]"
