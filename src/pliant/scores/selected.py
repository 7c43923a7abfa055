"""Documents by their scores: from a file of scores to the documents themselves, in a folder with a card that says what was kept.

Idea: the file of scores says where its data lay and what it held; the documents are found there again by their ids, those of a band are
written as they stand in their files, and the card counts them by source, by length and by tokens.
Cost: a sort, one pass over the data (two, where groups are told by one of its fields), and some 60 bytes of memory a document.
What goes wrong: data that changed since is refused by its hash. What has no score (the held-out part, a document of one token) is not
chosen from, and the card says how many those are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from pliant.data.corpus import Corpus
from pliant.data.excerpt import said_of_documents, write_excerpt
from pliant.data.locate import CARD
from pliant.errors import PliantError
from pliant.files import as_utf8, disk_errors, expanded, replace_folder, workplace
from pliant.scores.band import Band
from pliant.scores.card import card, counted
from pliant.scores.scores import opened
from pliant.statistics import Array

if TYPE_CHECKING:
    from collections.abc import Mapping

SMALLEST_GROUPS = 4
"""Documents a group, on average: of fewer a band is not the share that was asked for."""
SOURCE = "source"
"""Names the column of the scores as what tells groups apart, rather than a field of the data."""


@dataclass(frozen=True)
class ScoredCorpus:
    """Scores beside the documents they are of."""

    corpus: Corpus
    documents: NDArray[np.int64]
    """(examples,) the number of each example's document in the corpus's split."""
    values: Array
    ids: NDArray[np.uint64]
    tokens: NDArray[np.int64]
    sources: Any
    """The column `source`, an Arrow array."""
    about: Mapping[str, Any]

    @classmethod
    def of(cls, path: str | Path, corpus: Corpus | None = None) -> ScoredCorpus:
        """From a file of scores, and the corpus if it lies elsewhere now.

        Raises PliantError for a damaged file, for scores of other data than text, and for data that is not what was scored.
        """
        table, about = opened(path)
        if corpus is None:
            corpus = _corpus(path, about)
        elif (about.get("objective") or {}).get("data", {}).get("skip_bad"):
            corpus = corpus.model_copy(update={"skip_bad": True})
        if about.get("content") not in (None, corpus.fingerprint()):
            raise PliantError(
                f"{path}: is of other data than {corpus.source} holds now; score that again, or say with --data where the scored data lies"
            )
        ids, split = _numbers(path, table["id"]), corpus.split()
        order = np.argsort(split.hashes, kind="stable")  # the first of equal documents is the one that is read
        places = np.searchsorted(split.hashes, ids, sorter=order)
        documents = order[np.minimum(places, len(order) - 1)]
        if missing := int((split.hashes[documents] != ids).sum()):
            raise PliantError(
                f"{path}: {missing} of {len(ids)} scored documents are not in {corpus.source}; say with --data where they are"
            )
        return cls(corpus, documents, table["score"].to_numpy(), ids, table["tokens"].to_numpy(), table["source"], about)

    def groups(self, by: str | None) -> tuple[NDArray[np.int64], list[str]]:
        """(examples,) the group of each, and the groups' names: by the column `source`, or by a field of the data."""
        import pyarrow as pa

        if by is None:
            return np.zeros(len(self.ids), np.int64), ["all"]
        if by == SOURCE and len(self.sources.unique()) > 1:
            coded = self.sources.combine_chunks().dictionary_encode()
        else:
            said = pa.array(said_of_documents(self.corpus, by), pa.string()).dictionary_encode()
            coded = said.take(pa.array(self.documents))
        return coded.indices.to_numpy().astype(np.int64), [str(name) for name in coded.dictionary.to_pylist()]


def select(
    scores: str | Path,
    band: Band,
    out: str | Path,
    *,
    data: Corpus | None = None,
    by: str | None = None,
    tokens: bool = False,
    seed: int = 0,
) -> dict[str, Any]:
    """Writes the documents of a band, and the card, into the new folder `out`; what the card says.

    Args:
        scores: A file that `pliant score` wrote.
        band: Which of them.
        out: The documents come to lie in `data` inside it; as a source the folder stands for those.
        data: Where the documents are, if not where they were when they were scored.
        by: A field of the data, or `source`: the band is taken within each of its values.
        tokens: Whether the band's share is one of tokens.
        seed: Of the band `random`.

    Raises PliantError where `out` is there already, and as `ScoredCorpus.of` and `Band.kept` do.
    """
    place = expanded(out)
    if place.exists():
        raise PliantError(f"{out} exists already; choose a new folder")
    found = ScoredCorpus.of(scores, data)
    groups, names = found.groups(by)
    if (values := len(np.unique(groups))) > max(1, len(groups) // SMALLEST_GROUPS):
        raise PliantError(
            f"--by {by}: has {values} values in {len(groups)} documents, too few of each to take a band of; name another field"
        )
    kept = band.kept(found.values, found.ids, found.tokens, groups, tokens, seed)
    split = found.corpus.split()
    mask = np.zeros(len(split.hashes), bool)
    mask[found.documents[kept]] = True
    with workplace(place) as work, disk_errors(place):
        made = work / "made"
        (made / "data").mkdir(parents=True)
        ends = write_excerpt(found.corpus, mask, made / "data")
        if by is None:
            groups, names = np.searchsorted(list(ends.values()), found.documents, side="right"), list(ends)
        told = {
            **counted(kept, found.tokens, groups, names),
            "band": band.name, "share": float(band.end - band.start), "of_tokens": tokens, "by": by, "seed": seed,
            "without_score": int((split.sides != 0).sum()) - len(kept), "repeated": int((split.sides == 0).sum()),
            "scores": as_utf8(scores), "score": found.about["score"], "unit": found.about["unit"], "models": found.about["models"],
            "data": found.corpus.canonical(), "content": found.corpus.fingerprint(),
        }  # fmt: skip
        card(made, made / CARD, told, found.values, kept, found.tokens, split.lengths[found.documents])
        replace_folder(work, made, place)
    return told


def _corpus(path: str | Path, about: Mapping[str, Any]) -> Corpus:
    objective = about.get("objective")
    if objective is None:
        raise PliantError(f"{path}: does not say where its data lies; say it with --data")
    form = objective.get("data")
    if objective.get("kind") != "next_token" or not isinstance(form, dict) or "source" not in form:
        raise PliantError(
            f"{path}: is of examples that are no corpus of text; choose among those where they are used: "
            f"select: {{scores: {path}, keep: 0.5}}"
        )
    return Corpus.parse(form, str(path))


def _numbers(path: str | Path, ids: Any) -> NDArray[np.uint64]:
    """The ids as numbers, without a line of Python for each. Raises PliantError for what names no document."""
    import pyarrow as pa
    import pyarrow.compute as pc

    compute: Any = pc
    if not compute.all(compute.match_substring_regex(ids, "^[0-9a-f]{16}$")).as_py():
        raise PliantError(f"{path}: its ids name no documents of a corpus")
    flat = ids.combine_chunks() if isinstance(ids, pa.ChunkedArray) else ids
    offsets = np.frombuffer(flat.buffers()[1], np.int32)
    first = int(offsets[flat.offset])
    letters = np.frombuffer(flat.buffers()[2], np.uint8)[first : first + 16 * len(flat)].reshape(-1, 16)
    digits = np.where(letters > 57, letters - 87, letters - 48).astype(np.uint8)
    return (digits[:, ::2] << 4 | digits[:, 1::2]).copy().view(">u8")[:, 0].astype(np.uint64)


def told_names(told: Mapping[str, Any]) -> Sequence[str]:
    """The sources of a card, those of which most is kept first."""
    return sorted(told["by_source"], key=lambda name: -told["by_source"][name]["tokens_kept"])
