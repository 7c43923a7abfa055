"""Rows of a mixture against `datasets.interleave_datasets`, and text to packed tokens against the tokenizer's own threads.

Sampling: three sources of tokens at 70, 20 and 10%; the peer interleaves data sets of rows of as many tokens with the same
probabilities, in batches, as training would read them. Equal first: every row is a crop of the source it is said to be of, both come to
the weights (the peer within what chance allows), and the same seed gives the same rows again.
Packing: from a compressed file of text to memory-mapped tokens, reading and hashing included, against `encode_batch` of the same
documents in memory, with all threads. Equal first: the same tokens.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "true"
WORK = tempfile.TemporaryDirectory()
os.environ["PLIANT_CACHE"] = f"{WORK.name}/cache"

import numpy as np  # noqa: E402
from datasets import Dataset, interleave_datasets  # noqa: E402

from pliant.data import Corpus, load_tokenizer, packed  # noqa: E402
from pliant.data.mixture import Mixture  # noqa: E402

LENGTH, BATCHES, ROWS, TOKENS = 128, (256, 32), 25_600, 4_000_000
WEIGHTS = {"a": 0.7, "b": 0.2, "c": 0.1}
SHARED = Path(os.environ.get("PLIANT_SHARED_DATA", "../shared/data"))
TEXT, WORDS = SHARED / "text" / "encyclopedic_wiki_vital.jsonl.xz", SHARED / "models" / "smollm2-tokenizer"


def timed(work: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """The least seconds of some runs, and the last result."""
    seconds, result = [], None
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def sampling() -> dict[int, dict[str, Any]]:
    """Of each batch: samples a second of both, and whether they come to the weights."""
    folder = Path(WORK.name)
    letters = {name: chr(97 + 8 * number) for number, name in enumerate(WEIGHTS)}
    for name, letter in letters.items():
        rows = [json.dumps({"text": f"{number:07d}" + letter * 993}) for number in range(TOKENS // 1000)]
        (folder / f"{name}.jsonl").write_text("\n".join(rows))
    mixture = Mixture(mixture={name: str(folder / f"{name}.jsonl") for name in WEIGHTS}, phases=[{"weights": WEIGHTS}])
    text = mixture.packed(load_tokenizer("ascii"), "all")

    sets = [Dataset.from_dict({"tokens": part.tokens[: len(part) // LENGTH * LENGTH].reshape(-1, LENGTH)}) for part in text.texts]
    mixed = interleave_datasets(sets, probabilities=list(WEIGHTS.values()), seed=0, stopping_strategy="all_exhausted").with_format("numpy")
    return {batch: sampled(text, mixed, letters, batch) for batch in BATCHES}


def sampled(text: Any, mixed: Any, letters: dict[str, str], batch: int) -> dict[str, Any]:
    """Both in batches of one size."""
    steps = ROWS // batch

    def ours() -> list[np.ndarray]:
        return [text.batch(step, batch, LENGTH - 1, 0)[1] for step in range(steps)]

    def peer() -> list[np.ndarray]:
        return [np.asarray(rows["tokens"]) for _, rows in zip(range(steps), mixed.iter(batch), strict=False)]

    seconds, found = timed(ours)
    peers, other = timed(peer)
    shares = [source_shares(np.concatenate(rows), letters) for rows in (found, other)]
    repeated = all(np.array_equal(one, two) for one, two in zip(found, ours(), strict=True))
    exact, chance = (float(np.abs(share - list(WEIGHTS.values())).max()) for share in shares)
    count, read = sum(map(len, found)), sum(map(len, other))
    equal = repeated and exact < 3 / count and chance < 0.02
    return {"ours": count / seconds, "peer": read / peers, "equal": equal, "off": exact, "peer_off": chance}


def source_shares(rows: np.ndarray, letters: dict[str, str]) -> np.ndarray:
    """The fraction of rows of each source, which must be of one alone."""
    ids = [int(load_tokenizer("ascii").encode([letter])[0][0]) for letter in letters.values()]
    counts = np.stack([(rows == number).sum(axis=1) for number in ids], axis=1)
    assert ((counts > 0).sum(axis=1) == 1).all()
    return np.bincount(counts.argmax(axis=1), minlength=len(ids)) / len(rows)


def packing() -> dict[str, Any]:
    """Tokens a second from a file to packed tokens, and of the tokenizer alone."""
    from tokenizers import Tokenizer

    corpus, words = Corpus.parse(str(TEXT)), load_tokenizer(str(WORDS))
    texts = [document.text for document in corpus.documents("all")]
    bare = Tokenizer.from_file(str(WORDS / "tokenizer.json"))
    bare.encode_batch(texts[:100])
    alone, encoded = timed(lambda: bare.encode_batch(texts, add_special_tokens=False), 2)
    tokens = sum(len(one.ids) for one in encoded)
    best, text = np.inf, None
    for run in range(2):
        os.environ["PLIANT_CACHE"] = f"{WORK.name}/cache-{run}"
        start = time.perf_counter()
        text = packed(corpus, words, "all")
        best = min(best, time.perf_counter() - start)
    assert text is not None
    own = np.concatenate([np.diff(text.offsets) - [len(one.ids) for one in encoded]])
    ends = int(own[0])
    first = np.asarray(text.tokens[: len(encoded[0].ids)])
    equal = bool((own == ends).all()) and np.array_equal(first, encoded[0].ids)
    return {"ours": tokens / best, "peer": tokens / alone, "equal": equal, "tokens": tokens}


def main() -> None:
    """Print the comparison; the ratio is that of sampling."""
    by_batch = sampling()
    first = by_batch[BATCHES[0]]
    report: dict[str, Any] = {
        "name": "mixture",
        "claim": f"Rows of {LENGTH} tokens of three sources at 70, 20 and 10%, in batches of {BATCHES[0]}, against "
        "datasets.interleave_datasets with the same "
        "probabilities; and text to packed tokens against the tokenizer's own encode_batch with all threads (target 0.8).",
        "ours": first["ours"],
        "peer": first["peer"],
        "ratio": first["ours"] / first["peer"],
        "target": 10.0,
        "equal_results": all(found["equal"] for found in by_batch.values()),
        "unit": "samples a second",
        "shares_off": first["off"],
        "peer_shares_off": first["peer_off"],
    }
    report |= {f"ratio_batch_{batch}": found["ours"] / found["peer"] for batch, found in by_batch.items()}
    if TEXT.exists():
        found = packing()
        report["equal_results"] = report["equal_results"] and found["equal"]
        report |= {f"packing_{name}": found[name] for name in ("ours", "peer", "tokens")}
        report["packing_ratio"] = found["ours"] / found["peer"]
    print(json.dumps(report))


if __name__ == "__main__":
    main()
