"""A small reference model for a corpus, trained on some of its documents, which then have no score.

Idea: a model that has read a document finds it easier than it is. So documents drawn by their hashes are set aside, as many as the budget
has tokens but at most a fifth of all (fewer are read several times), a network of about the size asked for is trained on them, and the
others are scored with it. Documents and model stay in a folder beside the scores.
Cost: 6 x parameters x tokens operations, beside the scoring's 2 x parameters x tokens of the corpus.
What goes wrong: near-duplicates of what the model was trained on are scored all the same. Killed, the same command goes on where it was.
Source: arXiv 2405.20541.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from math import log
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.data.corpus import Corpus
from pliant.data.excerpt import write_excerpt
from pliant.data.packed import packed
from pliant.errors import PliantError
from pliant.files import disk_errors, replace_folder, workplace
from pliant.models.checkpoint import Checkpoint
from pliant.models.load import load
from pliant.models.save import save
from pliant.numbers import format_count
from pliant.objectives.next_token import NextToken
from pliant.progress import remark
from pliant.scores.band import scattered
from pliant.spec import digest
from pliant.spec.yaml import read_json
from pliant.train import Recipe, train
from pliant.train.new_model import NewModel

if TYPE_CHECKING:
    from pliant.models import Model

MOST = 0.2
"""Of the tokens that may be set aside."""
TOKENS_A_STEP = 2048
SHAPES = (
    *((width, 2) for width in (16, 32)), *((width, 3) for width in (48, 64, 80, 96)),
    *((width, 4) for width in (112, 128, 160, 192, 224, 256)),
    *((320, 5), (384, 5), (448, 6), (512, 8), (640, 10), (768, 12), (1024, 16)),
)  # fmt: skip
"""Width and layers."""


@dataclass(frozen=True)
class Reference:
    """What is to be trained, on how much."""

    parameters: int
    tokens: int
    tokenizer: str = "bytes"
    context: int = 256
    seed: int = 0

    def network(self) -> NewModel:
        """The shape nearest to the number of parameters, embeddings included."""
        made = [
            NewModel(preset=f"llama-{width}x{layers}", tokenizer=self.tokenizer, context=self.context)
            for width, layers in SHAPES
        ]  # fmt: skip
        return min(made, key=lambda network: abs(log(network.counts()[0] / self.parameters)))

    def trained(self, objective: NextToken, folder: Path, device: str | None = None) -> tuple[Model, frozenset[str], dict[str, Any]]:
        """The model, the ids of the documents it was trained on, and what there is to say of it; all is kept in `folder`.

        Raises PliantError for a mixture, for a corpus that is too small, where another command's reference is, and as training does.
        """
        corpus, network = objective.data, self.network()
        if not isinstance(corpus, Corpus):
            raise PliantError("a reference is trained on some of the documents of one corpus, not of a mixture")
        told = {"preset": network.preset, "tokens": self.tokens, "tokenizer": self.tokenizer, "context": self.context, "seed": self.seed}
        key = digest(json.dumps([told, corpus.fingerprint(), objective.part]))
        if folder.exists() and (not (folder / "key.json").is_file() or read_json(folder / "key.json") != key):
            raise PliantError(f"{folder}: holds the reference of other data or settings; delete it, or choose another file with -o")
        if not folder.exists():
            self._set_aside(corpus, objective, folder, key)
        own = NextToken(data=Corpus(source=str(folder / "data"), field=corpus.field), part="all")
        ids = frozenset(f"{int(number):016x}" for number in np.load(folder / "documents.npy"))
        if not (folder / "model").exists():
            self._train(network, own, folder)
        remark(f"{len(ids):,} documents are the reference's training split, and have no score; they and the model are in {folder}")
        return load(folder / "model", device=device), ids, {**told, "documents": len(ids)}

    def _set_aside(self, corpus: Corpus, objective: NextToken, folder: Path, key: str) -> None:
        text, split = packed(corpus, self.network().words(), objective.part), corpus.split()
        lengths, numbers = np.diff(text.offsets), np.array([int(name, 16) for name in text.document_ids], np.uint64)
        order = np.argsort(scattered(numbers, self.seed))
        budget = min(self.tokens, MOST * float(lengths.sum()))
        count = int(np.searchsorted(np.cumsum(lengths[order]), budget)) + 1
        if count >= len(order):
            raise PliantError(f"{corpus.source}: {len(order)} documents are too few to set some aside for a reference")
        chosen = numbers[order[:count]]
        repeats = self.tokens / float(lengths[order[:count]].sum())
        if repeats > 1.5:
            remark(f"the reference reads its documents {repeats:.1f} times; a fifth of the corpus is {format_count(int(budget))} tokens")
        mask = np.isin(split.hashes, chosen) & split.selected(objective.part)
        with workplace(folder) as work, disk_errors(folder):
            made = work / "made"
            (made / "data").mkdir(parents=True)
            write_excerpt(corpus, mask, made / "data")
            np.save(made / "documents.npy", chosen)
            (made / "key.json").write_text(json.dumps(key))
            replace_folder(work, made, folder)

    def _train(self, network: NewModel, objective: NextToken, folder: Path) -> None:
        fresh = network.build(self.seed)
        form = {"lr": network.learning_rate, "tokens": self.tokens, "batch": max(1, TOKENS_A_STEP // self.context)}
        record = train(fresh, objective, Recipe.parse(form, "--train-reference"), seed=self.seed, folder=folder / "training")
        facts = fresh.checkpoint.model_dump(exclude_none=True) | record.checkpoint_facts() | {"name": f"reference-{network.preset}"}
        fresh.checkpoint = Checkpoint.parse(facts)
        save(fresh, folder / "model")
