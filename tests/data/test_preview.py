"""What a mixture comes to, against what is drawn."""

import json

import numpy as np
import pytest

from pliant.data import load_tokenizer
from pliant.data.mixture import Mixture
from pliant.data.preview import MixturePreview


@pytest.fixture
def mixed(tmp_path, monkeypatch):
    """Two sources of documents of different lengths."""
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    generator = np.random.default_rng(0)
    for name, count in (("short", 120), ("long", 30)):
        texts = ["".join(generator.choice(list("abcdefgh"), generator.integers(20, 40 if name == "short" else 400))) for _ in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(json.dumps({"text": text}) for text in texts))
    pools = {"short": {"source": str(tmp_path / "short.jsonl"), "epochs": 9}, "long": str(tmp_path / "long.jsonl")}
    phases = [{"until": "50%", "weights": {"short": 0.25, "long": 0.75}}, {"weights": {"short": 0.75, "long": 0.25}}]
    return Mixture(mixture=pools, phases=phases).packed(load_tokenizer("ascii"), "all")


def test_tokens_passes_and_chances_are_what_rows_drawn_come_to(mixed):
    rows, length, seeds = 200, 12, 40
    preview = MixturePreview.of(mixed, rows * length, length)
    run, starts = mixed.of_run(rows * length), np.cumsum([0, *(len(text) for text in mixed.texts)])
    taken, met = np.zeros(2), np.zeros(2)
    for seed in range(seeds):
        positions = run.positions(0, rows, length, seed)
        for number, text in enumerate(mixed.texts):
            mine = positions[(positions[:, 0] >= starts[number]) & (positions[:, 0] < starts[number + 1])] - starts[number]
            taken[number] += len(mine) * length / seeds
            met[number] += len(np.unique(text.document_index(mine[:, 1:]))) / len(text.document_ids) / seeds
    for source, tokens, chance in zip(preview.sources, taken, met, strict=True):
        assert source.planned == pytest.approx(tokens, rel=0.01)
        assert source.epochs == source.planned / source.tokens
        assert source.document_chance == pytest.approx(chance, abs=0.02), "within what forty runs tell"
        assert 0.2 < source.document_chance < 0.95
    assert [source.limit for source in preview.sources] == [9, None]
    assert sum(source.share for source in preview.sources) == pytest.approx(1)
    assert [phase["until"] for phase in preview.json()["phases"]] == [1200, 2400]


def test_many_passes_are_remarked(mixed):
    tokens = 6 * len(mixed.texts[0])
    assert MixturePreview.of(mixed, tokens, 12).remarks() == []
    more = MixturePreview.of(mixed, 10 * len(mixed.texts[0]), 12)
    assert [line.split(" is read")[0] for line in more.remarks()] == ["short"]
