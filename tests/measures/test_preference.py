"""Which of two answers a model prefers: by hand, against a reference, and on real pairs."""

import gzip
import json
from pathlib import Path

import numpy as np
import pytest

from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.measures import MEASURES, Preference
from pliant.models import build, load, save
from pliant.objectives import Dpo
from pliant.train import Recipe, train
from small_text import cache

__all__ = ["cache"]


@pytest.fixture
def table(tmp_path, cache):
    path = tmp_path / "pairs.jsonl"
    records = [{"prompt": f"Is {n} even?", "chosen": "yes", "rejected": f"no{n}"} for n in range(12)]
    path.write_text("\n".join(map(json.dumps, records)))
    return str(path)


def model(seed=0):
    return build("llama-16x2", load_tokenizer("ascii"), seed, context=64)


def read(subject, **fields):
    return {reading.metric: reading for reading in Preference(**fields).readings(subject)}


def log_likelihood(subject, question, answer):
    import torch

    tokens = torch.from_numpy(subject.tokenizer.encode([f"{question}\n{answer}"])[0].astype(np.int64))
    with torch.no_grad():
        likely = subject.network(tokens[None, :-1]).logits[0].double().log_softmax(-1)
    return float(sum(likely[place - 1, tokens[place]] for place in range(len(question) + 1, len(tokens))))


def test_values_by_hand(table):
    subject = model()
    found = read(subject, data=table)
    margins = [log_likelihood(subject, f"Is {n} even?", "yes") - log_likelihood(subject, f"Is {n} even?", f"no{n}") for n in range(12)]
    assert found["preference_margin"].values == pytest.approx(margins, abs=1e-4)
    assert found["preference"].values.tolist() == [float(margin > 0) for margin in margins]
    assert {reading.better for reading in found.values()} == {"higher"}
    assert len(set(found["preference"].samples)) == 12
    assert read(subject, data=table, samples=5)["preference"].samples == found["preference"].samples[:5]


def test_against_itself_nothing_is_preferred(table, tmp_path):
    save(model(), tmp_path / "before")
    found = read(model(), data=table, reference=str(tmp_path / "before"))
    assert found["preference_margin"].values == pytest.approx(np.zeros(12), abs=1e-4)
    other = read(model(1), data=table, reference=str(tmp_path / "before"))["preference_margin"].values
    apart = read(model(1), data=table)["preference_margin"].values - read(model(), data=table)["preference_margin"].values
    assert other == pytest.approx(apart, abs=1e-4)


def test_real_pairs_are_learned(shared_data, tmp_path, cache):
    """HH-RLHF under a real model: ten steps of DPO at a high rate order the pairs they are made on; a model is indifferent to itself."""
    source = shared_data / "preference" / "hh_rlhf_harmless_test" / "test.jsonl.gz"
    lines = gzip.decompress(source.read_bytes()).decode().splitlines()
    short = [line for line in lines if len(line) < 700][:17]
    (tmp_path / "short.jsonl").write_text("\n".join(short))
    data, address = str(tmp_path / "short.jsonl"), shared_data / "models" / "stories260K-hf"
    subject = load(address)
    table = {"source": data, "skip_bad": True}
    fields = {"data": table, "reference": str(address)}
    before = read(subject, **fields)["preference_margin"]
    train(subject, Dpo(data=table, part="all"), Recipe(lr=1e-3, steps=10, batch=8), quiet=True)
    after = read(subject, **fields)
    gained = (after["preference_margin"] - before).estimate()
    assert gained.low > 0
    assert after["preference"].estimate().value > 0.9
    assert before.values == pytest.approx(np.zeros(len(before.values)), abs=1e-3)


def test_it_is_a_kind_like_any_other(table):
    assert MEASURES.parse({"preference": {"data": table, "samples": 3}}) == Preference(data=table, samples=3)
    Path(table).write_text('{"question": "a", "answer": "b"}')
    with pytest.raises(PliantError, match="which columns hold a chosen and a rejected answer"):
        read(model(), data=table)
