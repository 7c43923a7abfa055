"""Over-training in a two-layer linear network: the theory of arXiv 2503.19206, section 4, run exactly.

A network W2 W1 learns A = U diag(sigma) V^T by gradient descent from a small start: singular directions come one after the
other, the weights grow with each, and the same noise hurts more. Noise of std gamma on every weight costs in expectation

    gamma^2/2 (d_out |W1|^2 + d_in |W2|^2) + gamma^4/2 d_in d_out h

(derived in closed form; W1 is h x d_in, W2 is d_out x h), so the noisy loss falls, turns, and rises, and turns earlier the
larger gamma. Fine-tuning towards the same singular vectors with another spectrum, for a fixed number of steps, does the same
to the loss on A, earlier the larger its learning rate. Deterministic but for the noise of the Monte-Carlo check; seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from pliant.findings.finding import Finding, Outcome, verdict

Matrix = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class LinearTask:
    """A target A = U diag(spectrum) V^T of shape (width, width), and the same with the spectrum reversed."""

    target: Matrix
    shifted: Matrix


@dataclass(frozen=True)
class Weights:
    """One state of the network W2 W1."""

    first: Matrix
    second: Matrix

    def loss(self, target: Matrix) -> float:
        """1/2 ||W2 W1 - A||^2 (Frobenius)."""
        return 0.5 * float(np.sum((self.second @ self.first - target) ** 2))

    def step(self, target: Matrix, lr: float) -> Weights:
        """One step of gradient descent on the loss."""
        gap = self.second @ self.first - target
        return Weights(self.first - lr * self.second.T @ gap, self.second - lr * gap @ self.first.T)

    def noisy_loss(self, target: Matrix, gamma: float) -> float:
        """The expected loss when every weight gets independent noise of std gamma; exact."""
        (hidden, d_in), d_out = self.first.shape, self.second.shape[0]
        second_order = gamma**2 / 2 * (d_out * np.sum(self.first**2) + d_in * np.sum(self.second**2))
        return self.loss(target) + float(second_order) + gamma**4 / 2 * d_in * d_out * hidden

    def drawn_noisy_loss(self, target: Matrix, gamma: float, generator: np.random.Generator) -> float:
        """The loss under one draw of that noise."""
        first, second = (w + gamma * generator.standard_normal(w.shape) for w in (self.first, self.second))
        return Weights(first, second).loss(target)


def make_task(width: int = 64, rank: int = 16, seed: int = 0) -> LinearTask:
    """sigma_i = 2 * 0.8^i between random singular vectors."""
    generator = np.random.default_rng(seed)
    left, right = (np.linalg.qr(generator.standard_normal((width, width)))[0][:, :rank] for _ in range(2))
    spectrum = 2 * 0.8 ** np.arange(rank)
    return LinearTask(left * spectrum @ right.T, left * spectrum[::-1] @ right.T)


def pretrain(task: LinearTask, steps: int = 6000, lr: float = 0.05, start: float = 1e-3, seed: int = 1) -> dict[int, Weights]:
    """States at about 40 log-spaced steps, by step."""
    generator = np.random.default_rng(seed)
    width = len(task.target)
    weights = Weights(*(start * generator.standard_normal((width, width)) for _ in range(2)))
    kept = set(np.unique(np.geomspace(20, steps, 40).round().astype(int)).tolist())
    states: dict[int, Weights] = {}
    for step in range(1, steps + 1):
        weights = weights.step(task.target, lr)
        if step in kept:
            states[step] = weights
    return states


def finetuned(weights: Weights, task: LinearTask, lr: float, steps: int = 60) -> Weights:
    """`steps` of gradient descent towards the shifted target."""
    for _ in range(steps):
        weights = weights.step(task.shifted, lr)
    return weights


def turning_point(curve: Sequence[float]) -> tuple[int, float]:
    """Index of the minimum and the rise from it to the end."""
    bottom = int(np.argmin(curve))
    return bottom, curve[-1] - curve[bottom]


class LinearNetwork(Finding):
    """The U shape under noise and under fine-tuning in a two-layer linear network."""

    paper: ClassVar[str] = "Overtrained Language Models Are Harder to Fine-Tune, arXiv 2503.19206, section 4"
    claim: ClassVar[str] = "Sensitivity to noise grows during pretraining, so the perturbed loss turns up, earlier under a larger change."
    published: ClassVar[str] = "theorem: an inflection exists, and comes earlier for larger noise or fine-tuning rate"
    rule: ClassVar[str] = (
        "reproduced when the mean of 40 noisy losses is within 5% of the closed form at every state, the turning points come in "
        "the order of gamma (.08, .05, .02) and of fine-tuning rate (.05, .02, .005), and the rise is positive for each"
    )

    def test(self, folder: Path) -> Outcome:
        """About two seconds; the same at every size."""
        task = make_task()
        states = pretrain(task)
        generator = np.random.default_rng(2)
        gammas, rates = (0.02, 0.05, 0.08), (0.005, 0.02, 0.05)
        worst = 0.0
        figures: dict[str, object] = {}
        points: dict[str, list[int]] = {"noise": [], "finetuning": []}
        rises: list[float] = []
        for gamma in gammas:
            curve = [weights.noisy_loss(task.target, gamma) for weights in states.values()]
            drawn = [_mean_of_draws(weights, task, gamma, generator) for weights in states.values()]
            worst = max(worst, *(abs(mean / exact - 1) for mean, exact in zip(drawn, curve, strict=True)))
            rises.append(_note(figures, f"noise {gamma}", curve, list(states), points["noise"]))
        for rate in rates:
            curve = [finetuned(weights, task, rate).loss(task.target) for weights in states.values()]
            rises.append(_note(figures, f"fine-tuning rate {rate}", curve, list(states), points["finetuning"]))
        checks = {
            "closed form within 5%": worst < 0.05,
            "larger noise turns earlier": points["noise"] == sorted(points["noise"], reverse=True) and len(set(points["noise"])) == 3,
            "larger rate turns earlier": points["finetuning"] == sorted(points["finetuning"], reverse=True),
            "every curve rises after its minimum": min(rises) > 0,
        }
        ours = f"turning points at steps {points['noise']} for gamma {list(gammas)}, {points['finetuning']} for rates {list(rates)}"
        return Outcome(verdict(checks), ours, checks, {**figures, "worst relative error of the closed form": float(worst)})


def _mean_of_draws(weights: Weights, task: LinearTask, gamma: float, generator: np.random.Generator, draws: int = 40) -> float:
    return sum(weights.drawn_noisy_loss(task.target, gamma, generator) for _ in range(draws)) / draws


def _note(figures: dict[str, object], name: str, curve: list[float], steps: list[int], points: list[int]) -> float:
    bottom, rise = turning_point(curve)
    points.append(steps[bottom])
    figures[name] = {"minimum": curve[bottom], "at step": steps[bottom], "at the end": curve[-1], "steps": steps, "loss": curve}
    return rise
