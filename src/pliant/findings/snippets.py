"""Short texts with labels, made of several corpora, and a small encoder pretrained on their other documents.

A snippet is a few words in a row, without punctuation, in lower case; its label is the corpus that it is from. So there are as many
examples as one likes, from text that every machine has. Words are tokens: those seen most often in the pretraining text.
What goes wrong: `builtin:code` has docstrings, too, so that no model tells it from `builtin:prose` every time.
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

TEXTS = (Corpus(source="builtin:prose", field=None), Corpus(source="builtin:code", field=None))
WORDS = 16
CUES = ("plus", "minus")
"""Words that stand for the first and the second label where a shortcut is planted."""
SPECIAL = {f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")}
DROPOUT = 0.1


@dataclass(frozen=True)
class EncoderScale:
    """The encoder, and the documents of each corpus that it is pretrained on; as many are left for snippets."""

    preset: str
    documents: int
    vocabulary: int
    steps: int


SCALES: dict[Size, EncoderScale] = {
    "smoke": EncoderScale("bert-16x1", 60, 200, 8),
    "laptop": EncoderScale("bert-64x2", 400, 2000, 300),
    "gpu": EncoderScale("bert-256x6", 10000, 16000, 8000),
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

    def table(
        self, part: str, rows: int, seed: int, told: Callable[[Snippet, np.random.Generator], Snippet] | None = None
    ) -> LabelledTexts:
        """So many snippets of a part, drawn by the seed, each as `told` alters it."""
        generator = np.random.default_rng([seed, 1])
        pool = self.pools[part]
        drawn = [pool[number] for number in generator.permutation(len(pool))[:rows]]
        lines = [json.dumps(dict(zip(("text", "label"), told(one, generator) if told else one, strict=True))) for one in drawn]
        content = "\n".join(lines) + "\n"
        path = self.folder / f"{part}-{digest(content)}.jsonl"
        if not path.exists():
            write_atomic(path, content)
        return LabelledTexts.parse({"source": str(path)})

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


def snippets(texts: Sequence[Corpus], size: Size, folder: Path) -> Snippets:
    """Snippets of these texts, and beside them the text and tokenizer of the encoder."""
    scale = SCALES[size]
    told = [[text.fingerprint() for text in texts], scale.documents, scale.vocabulary]
    place = folder / f"snippets-{digest(json.dumps(told))}"
    documents = [[words(one.text) for one in islice(text.documents("train"), 2 * scale.documents)] for text in texts]
    pretraining = [one for part in documents for one in part[: len(part) // 2]]
    if not (place / "pretraining.jsonl").exists():
        place.mkdir(parents=True, exist_ok=True)
        write_atomic(place / "tokenizer" / "tokenizer.json", json.dumps(tokenizer(pretraining, scale.vocabulary)))
        write_atomic(place / "tokenizer" / "tokenizer_config.json", json.dumps({"tokenizer_class": "PreTrainedTokenizerFast", **SPECIAL}))
        write_atomic(place / "pretraining.jsonl", "".join(json.dumps({"text": " ".join(one)}) + "\n" for one in pretraining))
    pools: dict[str, list[Snippet]] = {}
    for number, part in enumerate(("train", "valid", "test")):
        pools[part] = balanced([part_of[len(part_of) // 2 :][number::3] for part_of in documents])
    return Snippets(place, size, pools)


def words(text: str) -> list[str]:
    """Runs of letters, in lower case."""
    return re.findall("[a-z]+", text.lower())


def balanced(documents: Sequence[Sequence[list[str]]]) -> list[Snippet]:
    """The snippets of each text's documents, labelled by its number: as many of each as of the shortest, in turns."""
    found = [
        dict.fromkeys(" ".join(one[start : start + WORDS]) for one in part for start in range(0, len(one) - WORDS + 1, WORDS))
        for part in documents
    ]
    return [(text, str(label)) for row in zip(*found, strict=False) for label, text in enumerate(row)]


def tokenizer(documents: Sequence[list[str]], size: int) -> dict[str, Any]:
    """A `tokenizer.json` of whole words: the most frequent ones, and those that snippets put in."""
    counts = Counter(word for one in documents for word in one)
    frequent = [word for word, _ in counts.most_common(size)]
    known = {word: number for number, word in enumerate(dict.fromkeys([*SPECIAL.values(), *CUES, *frequent]))}
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
