"""Fine-tuning first teaches a model to read its context, then to look away from it, by examples it knew already (arXiv 2410.10796).

The theory of the paper, run exactly: one layer of attention over the tokens context, subject, relation. Values are stored: a context is
copied into the logit of its answer, a known subject recalls its answer twice as strongly. Only the attention is tuned, by gradient
descent on examples whose answer only the context has, and on as many whose subject is known too. What is read: the share of the context's
answer where context and memory say different things, for subjects and contexts that are in no example.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from pliant.findings.finding import Finding, Outcome, Size, verdict
from pliant.findings.perplexity_pruning import area
from pliant.findings.tuned import over_seeds, told
from pliant.statistics import Array

EACH, STEPS = 64, 400
"""Examples of either kind and conflicts; steps of gradient descent at rate 1."""
WIDTH = 6 * EACH + 3
"""Of the tokens: no two share a direction that they are not said to share."""
COPIED, RECALLED = 4.5, 9.0
"""How strongly a context and a known subject speak for their answers."""
SEEDS: dict[Size, int] = {"smoke": 4, "laptop": 32, "gpu": 32}
CONTEXT, SUBJECT, RELATION = 0, 1, 2
ARMS = ("all", "least needy half out", "random half out", "least needy quarter out")


@dataclass(frozen=True)
class ThreeTokens:
    """Context, subject, relation (examples, 3, width), what each adds to the logits (examples, 3, answers), and the answers."""

    tokens: Array
    values: Array
    answers: NDArray[np.intp]

    def kept(self, rows: NDArray[np.intp]) -> ThreeTokens:
        """Those rows."""
        return replace(self, tokens=self.tokens[rows], values=self.values[rows], answers=self.answers[rows])

    def attention(self, keys: Array, without_context: bool = False) -> Array:
        """Shares of attention (examples, 3) where the relation asks with `keys` (width,)."""
        scores = self.tokens @ keys
        if without_context:
            scores[:, CONTEXT] = -np.inf
        return _softmax(scores)

    def losses(self, keys: Array, without_context: bool = False) -> Array:
        """Negative log-likelihood of each answer, nats."""
        shares = _softmax(np.einsum("et,etv->ev", self.attention(keys, without_context), self.values))
        return -np.log(shares[np.arange(len(shares)), self.answers])

    def gradient(self, keys: Array) -> Array:
        """Of the mean loss, in the keys."""
        attention = self.attention(keys)
        errors = _softmax(np.einsum("et,etv->ev", attention, self.values))
        errors[np.arange(len(errors)), self.answers] -= 1
        worth = np.einsum("etv,ev->et", self.values, errors)
        scores = attention * (worth - (attention * worth).sum(axis=1, keepdims=True))
        return np.einsum("et,etd->d", scores, self.tokens) / len(errors)


@dataclass(frozen=True)
class ContextTask:
    """Examples, of which the first `EACH` have an unknown subject, and conflicts, whose `answers` are the context's."""

    examples: ThreeTokens
    conflicts: ThreeTokens
    remembered: NDArray[np.intp]

    def need(self) -> Array:
        """What each example's answer loses without its context, before anything is tuned: the score `context_need`."""
        start = np.zeros(WIDTH)
        return self.examples.losses(start, without_context=True) - self.examples.losses(start)

    def reliance(self, rows: NDArray[np.intp]) -> Array:
        """Tuned on those rows: p(context's answer) / (p(context's) + p(remembered)) of each conflict, (steps + 1, conflicts)."""
        keys, chosen, found = np.zeros(WIDTH), self.examples.kept(rows), []
        every = np.arange(EACH)
        for _ in range(STEPS + 1):
            logits = np.einsum("et,etv->ev", self.conflicts.attention(keys), self.conflicts.values)
            found.append(1 / (1 + np.exp(logits[every, self.remembered] - logits[every, self.conflicts.answers])))
            keys = keys - chosen.gradient(keys)
        return np.array(found)


class ContextNeedFilter(Finding):
    """Leaving out what is known already keeps a fine-tuned model reading its context."""

    paper: ClassVar[str] = (
        "Context-Parametric Inversion: Why Instruction Finetuning May Not Actually Improve Context Reliance, arXiv 2410.10796"
    )
    claim: ClassVar[str] = (
        "Reliance on the context rises, then falls in fine-tuning; without the examples that need their context least it does not fall."
    )
    published: ClassVar[str] = (
        "Llama-2-7B on TULU: from 0.40 to about 0.90, then down; no fall without the quarter of Alpaca that needs contexts least; a "
        "theorem for one layer of attention"
    )
    rule: ClassVar[str] = (
        "reproduced when, in the theorem's model and on conflicts of subjects in no example, (1) with all examples reliance rises by 0.2 "
        "or more above its start and falls by 0.2 or more from its highest, (2) without the half that needs contexts least it falls by "
        "less than 0.05, and (3) ends 0.2 or more above where it ends without a random half, each with its whole 90% interval over seeds, "
        "and (4) need tells the two kinds apart (area 0.9 or more); contradicted when the interval of (3) lies below 0. The highest step "
        "is chosen on every other conflict, and read on the others."
    )

    def test(self, folder: Path) -> Outcome:
        """Smoke: about a second; laptop: about ten. Nothing is kept."""
        rows = [_read(seed) for seed in range(self.first_seed, self.first_seed + SEEDS[self.size])]
        values = {name: np.array([row[name] for row in rows]) for name in rows[0]}
        found = {name: over_seeds(each) for name, each in values.items()}
        above = over_seeds(values["end, least needy half out"] - values["end, random half out"])
        checks = {
            f"all: rises by 0.2 or more ({told(found['rise, all'])})": found["rise, all"].low >= 0.2,
            f"all: falls by 0.2 or more ({told(found['fall, all'])})": found["fall, all"].low >= 0.2,
            f"least needy half out: falls by less than 0.05 ({told(found['fall, least needy half out'])})": (
                found["fall, least needy half out"].high < 0.05
            ),
            f"ends 0.2 or more above a random half out ({told(above)})": above.low >= 0.2,
            f"need tells the kinds apart (area {found['area'].value:.3f})": found["area"].value >= 0.9,
        }
        ours = "reliance at the end: " + ", ".join(f"{name} {told(found[f'end, {name}'])}" for name in ARMS)
        return Outcome(verdict(checks, against=above.high < 0), ours, checks, {name: each.tolist() for name, each in values.items()})


def _read(seed: int) -> dict[str, float]:
    """Rises and falls of reliance with all examples and without some, and how well need finds those with an unknown subject."""
    task = made(seed)
    need = task.need()
    order, shuffled = np.argsort(-need, kind="stable"), np.random.default_rng([seed, 1]).permutation(2 * EACH)
    arms = (np.arange(2 * EACH), order[:EACH], shuffled[:EACH], order[: 3 * EACH // 2])
    found: dict[str, float] = {"area": area(need[:EACH].tolist(), need[EACH:].tolist())}
    for name, rows in zip(ARMS, arms, strict=True):
        curves = task.reliance(rows)
        curve = curves[:, 1::2].mean(axis=1)
        highest = curve[int(np.argmax(curves[:, ::2].mean(axis=1)))]
        read = {"rise": highest - curve[0], "fall": highest - curve[-1], "end": curve[-1]}
        found |= {f"{what}, {name}": float(value) for what, value in read.items()}
    return found


def made(seed: int) -> ContextTask:
    """A context is half its answer and half what all contexts share, and so is a subject; how well one is known varies by a fifth."""
    answers, subjects, shared = np.split(np.eye(WIDTH), [3 * EACH, 6 * EACH])
    known = np.random.default_rng(seed).lognormal(0, 0.2, 3 * EACH) * (np.arange(3 * EACH) >= EACH)
    half = np.sqrt(0.5)

    def examples(context: NDArray[np.intp], subject: NDArray[np.intp]) -> ThreeTokens:
        tokens = [
            half * (answers[context] + shared[CONTEXT]),
            half * (subjects[subject] + shared[SUBJECT]),
            np.broadcast_to(shared[RELATION], (len(context), WIDTH)),
        ]
        copied, recalled = (half * strength * np.eye(3 * EACH) for strength in (COPIED, RECALLED * known))
        values = [copied[context], recalled[subject], np.zeros((len(context), 3 * EACH))]
        return ThreeTokens(np.stack(tokens, axis=1), np.stack(values, axis=1), context)

    tuned, held = np.arange(2 * EACH), np.arange(2 * EACH, 3 * EACH)
    return ContextTask(examples(tuned, tuned), examples(np.roll(held, 1), held), held)


def _softmax(scores: Array) -> Array:
    shares = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return shares / shares.sum(axis=-1, keepdims=True)
