"""Pruning by the perplexity of a small model, against as many random documents, at equal training tokens (arXiv 2405.20541).

Documents of 256 characters from several domains with a fifth of junk (shuffled characters, and templates that come again and again). A
small model trained on documents of its own scores them; low, medium and high halves, a random half, and all that is no junk are trained
on for as many tokens, and read on clean held-out text and on the original mixture.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import Field

import pliant as pl
from pliant.data import Corpus
from pliant.decide.data.against import ArmEffect, decide
from pliant.files import write_atomic
from pliant.findings.domains import domains, pieces
from pliant.findings.finding import Finding, Outcome, Size
from pliant.objectives import NextToken
from pliant.scores.band import Band
from pliant.scores.journal import score_to_file
from pliant.scores.scores import Scores
from pliant.scores.selected import select
from pliant.spec import digest
from pliant.train import TrainedLadder

CHARACTERS, WINDOW = 256, 64
TEMPLATES = (
    "All rights reserved. Click here to read more. ",
    "Home | About | Contact | Terms of use | ",
    "Loading, please wait ... ",
    "0 comments. ",
)
ARMS = ("low", "medium", "high", "random")


@dataclass(frozen=True)
class PruningScale:
    """How much there is at one size."""

    documents: int
    reference_tokens: str
    tokens: str
    model: str
    seeds: int
    lr: float = 2e-2


SCALES: dict[Size, PruningScale] = {
    "smoke": PruningScale(1500, "0.1M", "0.1M", "llama-16x1", 1),
    "laptop": PruningScale(10_000, "1M", "0.8M", "llama-16x2", 6),
    "gpu": PruningScale(200_000, "32M", "128M", "llama-1m", 6, 3e-3),
}


class PerplexityPruning(Finding):
    """A middle band of perplexity trains a better model than as many random documents; the wrong bands a worse one."""

    paper: ClassVar[str] = "Perplexed by Perplexity: perplexity-based data pruning with small reference models, arXiv 2405.20541"
    claim: ClassVar[str] = (
        "At equal training tokens the right band of perplexity beats the unpruned mixture, and the wrong one loses to it."
    )
    published: ClassVar[str] = (
        "3B models: +2.04 points on average (Pile, high half) and +0.59 (Dolma, medium half); 1B, medium half of Pile: -0.23; the loss on "
        "the original mixture is worse after pruning"
    )
    rule: ClassVar[str] = (
        "reproduced when, against a random half at equal tokens and on clean held-out text of the domains, the medium half's loss has its "
        "90% interval (over seeds and documents) below zero and the low and the high half's above it, the medium half "
        "is worse on the original mixture, and shuffled documents have the highest scores (area 0.95 or more); contradicted when the "
        "medium half's interval on clean text lies above zero"
    )

    corpus: str | None = Field(None, description="A folder with a file of text for each domain; by default built-in prose and code")

    def test(self, folder: Path) -> Outcome:
        """Smoke: some seconds; laptop: about three minutes on two cores; gpu: minutes."""
        scale = SCALES[self.size]
        place = folder / f"perplexity-pruning-{digest(json.dumps([self.corpus, repr(scale)]))}"
        self._documents(place / "data", scale)
        area = self._scored(place, scale)
        kept = {band: place / "kept" / band for band in ARMS}
        for band, path in kept.items():
            if not path.exists():
                select(place / "scores.parquet", Band.parse("50%", band), path)
        runs = self._runs(place, scale, [*map(str, kept.values()), str(place / "data" / "no-junk.jsonl")])
        found = {
            answer.measure: {effect.arm: effect for effect in answer.effects}
            for answer in decide(runs.own, "corpus random", together=False)
        }
        clean, original = found["clean"], found["original"]
        low, medium, high = (clean[f"corpus {band}"] for band in ("low", "medium", "high"))
        checks = {
            f"clean text: medium below random ({_told(medium)})": medium.high < 0,
            f"clean text: low above random ({_told(low)})": low.low > 0,
            f"clean text: high above random ({_told(high)})": high.low > 0,
            f"original mixture: medium above random ({_told(original['corpus medium'])})": original["corpus medium"].value > 0,
            f"shuffled documents have the highest scores (area {area:.3f})": area >= 0.95,
        }
        oracle = clean["corpus no-junk.jsonl"]
        ours = (
            f"clean loss minus a random half's: medium {_told(medium)}, low {_told(low)}, high {_told(high)}; all but junk {_told(oracle)}"
        )
        figures = {name: {arm: vars(effect) for arm, effect in effects.items()} for name, effects in found.items()}
        return Outcome(self.judged(checks, against=medium.low > 0), ours, checks, {**figures, "area of shuffled": area})

    def _documents(self, place: Path, scale: PruningScale) -> None:
        """Reference, pool and held-out texts, which share no piece."""
        if (place / "no-junk.jsonl").exists():
            return
        generator, texts = np.random.default_rng(self.first_seed), domains(self.corpus)
        each = scale.documents // len(texts)
        good = [{"text": text, "source": name} for name, corpus in texts.items() for text in pieces(corpus, CHARACTERS, each)]
        generator.shuffle(good)  # pyright: ignore[reportArgumentType]
        clean, rest = good[: len(good) // 10], good[len(good) // 10 :]
        mixed = [self._junk(row, number, generator) if generator.random() < 0.2 else row for number, row in enumerate(rest)]
        cut = np.cumsum([len(mixed) // 5, len(mixed) // 10])
        place.mkdir(parents=True, exist_ok=True)
        parts = {"clean": clean, "reference": mixed[: cut[0]], "original": mixed[cut[0] : cut[1]], "pool": mixed[cut[1] :]}
        parts["no-junk"] = [row for row in parts["pool"] if not row["source"].startswith("junk")]
        for name, rows in parts.items():
            write_atomic(place / f"{name}.jsonl", "".join(json.dumps(row) + "\n" for row in rows))

    def _junk(self, row: dict[str, str], number: int, generator: np.random.Generator) -> dict[str, str]:
        if number % 2:
            return {"text": "".join(generator.permutation(list(row["text"]))), "source": "junk-shuffled"}
        template = TEMPLATES[number // 2 % len(TEMPLATES)]
        return {"text": (template * CHARACTERS)[: CHARACTERS - 8] + f"{generator.integers(10**7):08d}", "source": "junk-template"}

    def _scored(self, place: Path, scale: PruningScale) -> float:
        """Scores the pool, and tells how well the scores find shuffled documents."""
        pool, out = place / "data" / "pool.jsonl", place / "scores.parquet"
        if not out.exists():
            model = {"preset": "llama-16x1", "tokenizer": "ascii", "context": WINDOW}
            ladder = TrainedLadder.parse(
                {"model": model, "corpus": str(place / "data" / "reference.jsonl"), "tokens": scale.reference_tokens, "lr": 1e-2}
            )
            (rung,) = ladder.rungs(self.first_seed, place / "checkpoints")
            objective = NextToken(data=Corpus.parse(str(pool)), part="train")
            further = {"objective": objective.canonical(), "content": Corpus.parse(str(pool)).fingerprint()}
            with rung.open() as reference:
                score_to_file(pl.scores.Perplexity.parse({}), [reference], objective.examples(reference, None), out, further)
        values = Scores.read(out).by_id()
        rows = [json.loads(line) for line in pool.read_text(encoding="utf-8").splitlines()]
        shuffled = {digest(row["text"]) for row in rows if row["source"] == "junk-shuffled"}
        return area(
            [value for name, value in values.items() if name in shuffled], [v for name, v in values.items() if name not in shuffled]
        )

    def _runs(self, place: Path, scale: PruningScale, corpora: list[str]) -> pl.study.Runs:
        model = {"preset": scale.model, "tokenizer": "ascii", "context": WINDOW}
        study: dict[str, Any] = {
            "name": "perplexity-pruning",
            "checkpoints": {"ladder": {"model": model, "corpus": corpora, "tokens": scale.tokens, "lr": scale.lr}},
            "measures": {
                name: {"loss": {"data": str(place / "data" / f"{name}.jsonl"), "part": "all", "samples": 384}}
                for name in ("clean", "original")
            },
            "seeds": list(range(self.first_seed, self.first_seed + scale.seeds)),
        }
        return pl.run(study, place / "ledger", device="cuda" if self.size == "gpu" else None)


def area(positive: Sequence[float], negative: Sequence[float]) -> float:
    """The chance that one of the first is above one of the second, ties counting half."""
    from scipy.stats import rankdata

    ranks = rankdata(np.concatenate([positive, negative]))[: len(positive)]
    return float((ranks.sum() - len(positive) * (len(positive) + 1) / 2) / (len(positive) * len(negative)))


def _told(effect: ArmEffect) -> str:
    return f"{effect.value:+.3f} [{effect.low:+.3f}, {effect.high:+.3f}]"
