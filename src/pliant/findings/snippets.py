"""Short texts with labels, made of any corpus, and a small encoder pretrained on its other documents.

A snippet is twelve words in a row whose sixth is one of a few frequent words; it is replaced by `blank`, and is the label. So there are as
many examples as one likes, from text that every machine has. Words are tokens: those seen most often in the pretraining text.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pliant.data import Corpus
from pliant.data.labelled_texts import LabelledTexts
from pliant.files import write_atomic
from pliant.findings.finding import Size
from pliant.models import Model, load
from pliant.models.heads import fit as with_head
from pliant.models.modules import dropouts
from pliant.objectives import Label
from pliant.spec import digest
from pliant.train import TrainedLadder

WORDS, PLACE, BLANK = 12, 5, "blank"
CUES = ("plus", "minus")
"""Words that stand for the first and the second label where a shortcut is planted."""
SPECIAL = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
DROPOUT = 0.1


@dataclass(frozen=True)
class Scale:
    """The encoder, and the documents it is pretrained on; as many are left for snippets."""

    preset: str
    documents: int
    vocabulary: int
    steps: int


SCALES: dict[Size, Scale] = {
    "smoke": Scale("bert-16x1", 60, 200, 8),
    "laptop": Scale("bert-64x2", 1000, 2000, 400),
    "gpu": Scale("bert-256x6", 10000, 16000, 8000),
}

Snippet = tuple[str, str]
"""A text and its label."""


@dataclass(frozen=True)
class Snippets:
    """What was made of a corpus at one size; `folder` holds it."""

    folder: Path
    size: Size
    pools: dict[str, list[Snippet]]
    """Of `train`, `valid` and `test`, each from documents of its own; every label as often."""

    def table(self, part: str, rows: int, seed: int, told: Callable[[Snippet, np.random.Generator], Snippet] | None = None) -> LabelledTexts:
        """So many snippets of a part, drawn by the seed, each as `told` alters it."""
        generator = np.random.default_rng([seed, 1])
        pool = self.pools[part]
        drawn = [pool[number] for number in generator.permutation(len(pool))[:rows]]
        lines = [json.dumps(dict(zip(("text", "label"), told(one, generator) if told else one, strict=True))) for one in drawn]
        content = "\n".join(lines) + "\n"
        path = self.folder / f"{part}-{digest(content)}.jsonl"
        if not path.exists():
            write_atomic(path, content)
        return LabelledTexts(source=str(path))

    def encoder(self, objective: Label, seed: int) -> Model:
        """The pretrained encoder with a fresh head, and dropout."""
        scale = SCALES[self.size]
        model = {"preset": scale.preset, "tokenizer": str(self.folder / "tokenizer"), "context": 64}
        masked = {"masked": {"data": str(self.folder / "pretraining.jsonl")}}
        ladder = TrainedLadder.parse({"model": model, "objective": masked, "steps": scale.steps, "batch": 32, "lr": 3e-3})
        (rung,) = ladder.rungs(0, self.folder / "encoders")
        found = load(rung.train(), device="cuda" if self.size == "gpu" else None)
        with_head(found, objective.needs(), seed)
        for module, name, _ in dropouts(found.network):
            setattr(module, name, DROPOUT)
        return found


def snippets(corpus: Corpus, labels: Sequence[str], size: Size, folder: Path) -> Snippets:
    """Snippets with these labels, and beside them the text and tokenizer of the encoder."""
    scale = SCALES[size]
    place = folder / f"snippets-{digest(json.dumps([corpus.fingerprint(), scale.documents, scale.vocabulary]))}"
    documents = [words(document.text) for document in islice(corpus.documents("train"), 2 * scale.documents)]
    half = len(documents) // 2
    pretraining = documents[:half]
    text = "".join(json.dumps({"text": " ".join(one)}) + "\n" for one in pretraining)
    if not (place / "pretraining.jsonl").exists():
        place.mkdir(parents=True, exist_ok=True)
        write_atomic(place / "tokenizer" / "tokenizer.json", json.dumps(tokenizer(pretraining, scale.vocabulary)))
        write_atomic(place / "tokenizer" / "tokenizer_config.json", json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **SPECIAL}))
        write_atomic(place / "pretraining.jsonl", text)
    cuts = np.split(np.arange(half, len(documents)), [(len(documents) - half) // 2, 3 * (len(documents) - half) // 4])
    pools = {part: balanced([documents[n] for n in numbers], labels) for part, numbers in zip(("train", "valid", "test"), cuts, strict=True)}
    return Snippets(place, size, pools)


def words(text: str) -> list[str]:
    """Runs of letters, in lower case."""
    return re.findall("[a-z]+", text.lower())


def balanced(documents: Sequence[list[str]], labels: Sequence[str]) -> list[Snippet]:
    """The snippets of these documents, every label as often as the rarest, the labels taking turns."""
    found: dict[str, dict[str, None]] = {label: {} for label in labels}
    for one in documents:
        for start in range(0, len(one) - WORDS + 1, WORDS):
            part = one[start : start + WORDS]
            if part[PLACE] in found:
                found[part[PLACE]][" ".join([*part[:PLACE], BLANK, *part[PLACE + 1 :]])] = None
    return [(text, label) for row in zip(*found.values(), strict=False) for text, label in zip(row, labels, strict=True)]


def tokenizer(documents: Sequence[list[str]], size: int) -> dict[str, Any]:
    """A `tokenizer.json` of whole words: the most frequent ones, and those that snippets put in."""
    counts = Counter(word for one in documents for word in one)
    frequent = [word for word, _ in counts.most_common(size)]
    known = {word: number for number, word in enumerate(dict.fromkeys([*SPECIAL.values(), BLANK, *CUES, *frequent]))}
    special = [
        {"id": known[name], "content": name, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        for name in SPECIAL.values()
    ]
    begin, end = ({"SpecialToken": {"id": name, "type_id": 0}} for name in ("[CLS]", "[SEP]"))
    single = [begin, {"Sequence": {"id": "A", "type_id": 0}}, end]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": special,
        "normalizer": {"type": "Lowercase"},
        "pre_tokenizer": {"type": "WhitespaceSplit"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, {"Sequence": {"id": "B", "type_id": 1}}, end],
            "special_tokens": {name: {"id": name, "ids": [known[name]], "tokens": [name]} for name in ("[CLS]", "[SEP]")},
        },
        "decoder": None,
        "model": {"type": "WordLevel", "vocab": known, "unk_token": "[UNK]"},
    }
