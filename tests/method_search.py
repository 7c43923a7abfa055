"""Two domains small enough to search in: words in a fixed order, known to the base, and sums, to be learned."""

from __future__ import annotations

import json
import random

from pliant.changes import Finetune
from pliant.data import Corpus, load_tokenizer
from pliant.decide.methods.ground import Ground, halves
from pliant.models import build, save
from pliant.objectives import NextToken, found_in
from pliant.train import Recipe, train

WORDS = ("the", "old", "ship", "sails", "over", "a", "calm", "sea", "at", "night")


def write_domains(folder):
    draw = random.Random(0)
    starts = [draw.randrange(10) for _ in range(240)]
    prose = [" ".join(WORDS[(start + n) % 10] for n in range(12)) + f" {number}" for number, start in enumerate(starts)]
    sums = [" ".join(f"{a}+{b}={a + b}" for a, b in ((draw.randrange(9), draw.randrange(9)) for _ in range(12))) for _ in range(240)]
    for name, texts in (("prose", prose), ("sums", sums)):
        (folder / f"{name}.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))


def base_of(folder):
    """A model that knows prose, in `folder`/model."""
    model = build("llama-16x2", load_tokenizer("ascii"), 0, context=48)
    prose = NextToken(data=Corpus(source=str(folder / "prose.jsonl")))
    train(model, prose, Recipe(lr=1e-2, steps=60, batch=8, length=32), quiet=True)
    save(model, folder / "model")
    return model


def ground_of(model, domains, folder, steps):
    told = Finetune(data=Corpus(source=str(domains / "sums.jsonl")), lr=1.0, steps=steps, batch=4, length=32)
    tuning, judging = halves(model, told.learned, found_in(Corpus(source=str(domains / "prose.jsonl")), "heldout"), 12)
    return Ground(model, str(domains / "model"), model.weights(), told, tuning, judging, folder)
