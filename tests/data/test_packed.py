from __future__ import annotations

import json
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import ArrayLike, NDArray

from pliant.data import ByteTokenizer, Corpus, Packed, load_tokenizer, packed
from pliant.errors import PliantError


@dataclass(frozen=True)
class Framing:
    """Bytes between a beginning (1000) and an end token (1001), where asked for."""

    beginning_id: int | None = 1000
    end_id: int | None = 1001
    vocab_size: int = 1002

    @property
    def fingerprint(self) -> str:
        return str(self)

    def encode(self, texts: Sequence[str]) -> list[NDArray[np.int32]]:
        return ByteTokenizer().encode(texts)

    def decode(self, ids: ArrayLike, special: bool = True) -> str:
        return ByteTokenizer().decode(ids)

    def save(self, folder: str | Path) -> None:
        raise AssertionError


TEXTS = [f"text number {number} " * (number % 7 + 1) for number in range(100)]


@pytest.fixture
def corpus(jsonl: Callable[..., str]) -> Corpus:
    return Corpus.parse(jsonl(TEXTS))


def test_tokens_are_the_documents_one_after_the_other(corpus: Corpus) -> None:
    for part in ("train", "heldout", "all"):
        found = packed(corpus, ByteTokenizer(), part)
        documents = list(corpus.documents(part))
        assert bytes(found.tokens) == "".join(document.text for document in documents).encode()
        assert found.document_ids == [document.id for document in documents]
        assert found.offsets.tolist() == [0, *np.cumsum([len(document.text) for document in documents]).tolist()]
        assert len(found) == found.offsets[-1]


def test_beginning_and_end_tokens_frame_each_document(corpus: Corpus) -> None:
    found = packed(corpus, Framing(), "all")
    expected = [token for text in TEXTS for token in [1000, *text.encode(), 1001]]
    assert found.tokens.tolist() == expected
    assert found.tokens.dtype == np.uint16
    assert found.tokens[found.offsets[:-1]].tolist() == [1000] * len(TEXTS)


def test_a_published_tokenizer(corpus: Corpus, shared_data: Path) -> None:
    tokenizer = load_tokenizer(shared_data / "models" / "stories260K-hf")
    found = packed(corpus, tokenizer, "all")
    expected = [token for ids in tokenizer.encode(TEXTS) for token in [1, *ids.tolist(), 2]]
    assert found.tokens.tolist() == expected


def test_fingerprints_are_of_the_content(
    corpus: Corpus, jsonl: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    first = packed(corpus, ByteTokenizer())
    elsewhere = Corpus.parse(jsonl(TEXTS, "copy.json"))
    assert packed(elsewhere, ByteTokenizer()).folder == first.folder  # found, not tokenised again
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "other cache"))
    again = packed(corpus, ByteTokenizer())
    assert again.folder != first.folder
    assert again.fingerprint == first.fingerprint
    others = [packed(corpus, ByteTokenizer(), "heldout"), packed(Corpus.parse(jsonl(TEXTS[::-1], "b.jsonl")), ByteTokenizer())]
    assert len({first.fingerprint, *(other.fingerprint for other in others)}) == 3


def test_sending_it_to_another_process_sends_the_path(corpus: Corpus) -> None:
    found = packed(corpus, ByteTokenizer())
    message = pickle.dumps(found)
    assert len(message) < 500
    assert (pickle.loads(message).batch(3, 2, 8, 0) == found.batch(3, 2, 8, 0)).all()


def philox(key: int, counter: int) -> list[int]:
    """Philox 4x64 with 10 rounds, from its paper (Salmon et al. 2011, section 3 and table 2): four 64-bit numbers."""
    mask = 2**64 - 1
    x = [counter >> 64 * word & mask for word in range(4)]
    k = [key & mask, key >> 64]
    for _ in range(10):
        low, high = x[0] * 0xD2E7470EE14C6C93, x[2] * 0xCA5A826395121157
        x = [high >> 64 ^ x[1] ^ k[0], high & mask, low >> 64 ^ x[3] ^ k[1], low & mask]
        k = [k[0] + 0x9E3779B97F4A7C15 & mask, k[1] + 0xBB67AE8584CAA73B & mask]
    return x


def test_crops_start_where_the_counter_based_generator_says(corpus: Corpus) -> None:
    found = packed(corpus, ByteTokenizer())
    for seed, step in ((0, 0), (7, 123_456), (2**40, 3)):
        numbers = [number for block in range(1, 3) for number in philox(seed, (step << 128) + block)]
        starts = [number % (len(found) - 16) for number in numbers]
        positions = found.positions(step, 8, 16, seed)
        assert positions[:, 0].tolist() == starts
        assert (np.diff(positions, axis=1) == 1).all()


def test_batches_are_crops_and_depend_on_seed_and_step_alone(corpus: Corpus) -> None:
    found = packed(corpus, ByteTokenizer())
    text = bytes(found.tokens)
    batch = found.batch(5, 16, 32, 1)
    assert batch.shape == (16, 33)
    assert batch.dtype == np.int64
    assert all(bytes(row.astype(np.uint8)) in text for row in batch)
    for step in (9, 2, 5):  # whatever was asked before
        again = Packed(found.folder).batch(step, 16, 32, 1)
    assert (again == batch).all()
    assert (found.batch(5, 4, 32, 1) == batch[:4]).all()
    assert (found.batch(6, 16, 32, 1) != batch).any()
    assert (found.batch(5, 16, 32, 2) != batch).any()


def test_every_start_can_be_drawn_and_none_runs_over(jsonl: Callable[..., str]) -> None:
    found = packed(Corpus.parse(jsonl(["abcdefgh", "ijkl"])), ByteTokenizer(), "all")
    starts = {int(found.positions(step, 1, 9, 0)[0, 0]) for step in range(200)}
    assert starts == {0, 1, 2}  # 12 tokens hold three crops of ten


def test_shorter_than_a_batch(corpus: Corpus) -> None:
    found = packed(corpus, ByteTokenizer(), "heldout")
    assert found.batch(0, 1, len(found) - 1, 0).shape == (1, len(found))
    with pytest.raises(PliantError, match=rf"heldout part\): {len(found)} tokens are fewer than one batch of 1 x {len(found) + 1}"):
        found.batch(0, 1, len(found), 0)
    with pytest.raises(PliantError, match="fewer than one batch"):
        found.batch(0, len(found), 1, 0)
    with pytest.raises(PliantError, match="at least one"):
        found.batch(0, 0, 8, 0)


def test_document_index(corpus: Corpus) -> None:
    found = packed(corpus, Framing(), "all")
    owner = [number for number, text in enumerate(TEXTS) for _ in range(len(text) + 2)]
    positions = found.positions(0, 20, 50, 0)
    assert found.document_index(positions).tolist() == [[owner[position] for position in row] for row in positions]
    firsts = np.diff(found.document_index(positions), axis=1) != 0
    assert (found.tokens[positions[:, 1:]][firsts] == 1000).all()


@settings(max_examples=60)
@given(
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=12),
    length=st.integers(1, 45),
    framing=st.sampled_from([Framing(), Framing(None, 1001), Framing(1000, None), Framing(None, None)]),
)
def test_windows_predict_every_token_but_the_first_once(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], length: int, framing: Framing
) -> None:
    folder = tmp_path_factory.mktemp("windows")
    texts = {chr(65 + number) * size for number, size in enumerate(lengths)}
    (folder / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in sorted(texts)))
    found = packed(Corpus.parse(str(folder / "a.jsonl")), framing, "all")
    expected = {}
    for document in Corpus.parse(str(folder / "a.jsonl")).documents("all"):
        tokens = ([] if framing.beginning_id is None else [framing.beginning_id]) + list(document.text.encode())
        for position in range(1, len(tokens)):
            expected[document.id, position] = (tokens[position - 1], tokens[position])
    if not expected:
        with pytest.raises(PliantError, match="nothing to predict"):
            found.windows(length)
        return
    seen: dict[tuple[str, int], tuple[int, int]] = {}
    for window in found.windows(length):
        assert 2 <= len(window.tokens) <= length + 1
        name, _, offset = window.id.partition(":")
        assert name == window.document
        for position in range(1, len(window.tokens)):
            place = (name, int(offset) + position)
            assert place not in seen
            seen[place] = (int(window.tokens[position - 1]), int(window.tokens[position]))
    assert seen == expected


def test_a_limit_takes_evenly_spaced_windows(corpus: Corpus) -> None:
    found = packed(corpus, ByteTokenizer(), "all")
    every = found.windows(10)
    assert len({window.id for window in every}) == len(every)
    few = found.windows(10, 7)
    assert [window.id for window in few] == [every[k * len(every) // 7].id for k in range(7)]
    assert [window.id for window in found.windows(10, len(every) + 5)] == [window.id for window in every]
    with pytest.raises(PliantError, match="at least one token"):
        found.windows(0)


def test_text_that_the_tokenizer_cannot_spell(jsonl: Callable[..., str]) -> None:
    found = packed(Corpus.parse(jsonl(["中文", "abc", "déf"])), ByteTokenizer("ascii"), "all")
    assert bytes(found.tokens) == b"abcdf"
    assert len(found.document_ids) == 2
    with pytest.raises(PliantError, match="leaves nothing of its text"):
        packed(Corpus.parse(jsonl(["中文", "字"], "b.jsonl")), ByteTokenizer("ascii"), "all")


@pytest.mark.parametrize("name", ["tokens.bin", "offsets.npy", "documents.npy", "packed.json"])
def test_damaged_files_in_the_cache_are_made_anew(corpus: Corpus, name: str) -> None:
    whole = packed(corpus, ByteTokenizer())
    folder, fingerprint, tokens = whole.folder, whole.fingerprint, bytes(whole.tokens)
    content = (folder / name).read_bytes()
    flipped = content[:-3] + bytes([content[-3] ^ 1]) + content[-2:]
    for damage in (content[:10], b"", content + b"00", flipped, None):
        (folder / name).unlink()
        if damage is not None:
            (folder / name).write_bytes(damage)
        with pytest.raises(PliantError, match="damaged; delete it"):
            Packed(folder)
        again = packed(corpus, ByteTokenizer())
        assert (again.folder, again.fingerprint, bytes(again.tokens)) == (folder, fingerprint, tokens)


def test_a_changed_fact_is_noticed(corpus: Corpus) -> None:
    folder = packed(corpus, ByteTokenizer()).folder
    facts = (folder / "packed.json").read_text()
    (folder / "packed.json").write_text(facts.replace('"ends": false', '"ends": true'))
    assert (folder / "packed.json").read_text() != facts
    assert packed(corpus, ByteTokenizer()).windows(5)[0].tokens.shape == (6,)
    assert (folder / "packed.json").read_text() == facts


BUILD = """
import sys, time
from pathlib import Path
from pliant.data import ByteTokenizer, Corpus, packed
class Slow(ByteTokenizer):
    def encode(self, texts):
        with open(sys.argv[2], "a") as log:
            log.write("x")
        time.sleep(float(sys.argv[3]))
        return super().encode(texts)
print(packed(Corpus.parse(sys.argv[1]), Slow(), "all").fingerprint)
"""


def builder(corpus: Corpus, log: Path, seconds: float) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-c", BUILD, corpus.source, str(log), str(seconds)], stdout=subprocess.PIPE, text=True)


def test_a_killed_builder_leaves_nothing_that_is_taken_for_whole(corpus: Corpus, cache: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = builder(corpus, log, 60)
    while not log.exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert list((cache / "packed").glob("*.partial"))
    assert bytes(packed(corpus, ByteTokenizer(), "all").tokens) == "".join(TEXTS).encode()
    assert not list((cache / "packed").glob("*.partial"))


def test_builders_at_the_same_time_tokenise_once(corpus: Corpus, tmp_path: Path) -> None:
    log = tmp_path / "log"
    processes = [builder(corpus, log, 1) for _ in range(3)]
    answers = {process.communicate()[0].strip() for process in processes}
    assert answers == {packed(corpus, ByteTokenizer(), "all").fingerprint}
    assert log.read_text() == "x"
