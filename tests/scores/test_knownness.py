"""Knownness: likelihoods and answers as transformers gives them for the prompts as they are written out here."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pliant.data import load_tokenizer
from pliant.data.facts import Facts
from pliant.data.selection import Selection
from pliant.data.table import Table
from pliant.errors import PliantError
from pliant.models import Model, build
from pliant.scores import Knownness, Scores
from pliant.scores.journal import score_to_file

CITIES = [("Anna", "Rome"), ("Bert", "Oslo"), ("Cleo", "Bonn"), ("Dora", "Lima")]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model() -> Model:
    return build("llama-16x1", load_tokenizer("ascii"), 0, context=256)


def lines(path: Path, *records: Any) -> Path:
    path.write_text("\n".join(json.dumps(record) for record in records))
    return path


def facts(folder: Path) -> dict[str, Any]:
    born, made = folder / "facts" / "born.jsonl", folder / "facts" / "made.jsonl"
    born.parent.mkdir()
    lines(born, *({"sub_label": name, "obj_label": city} for name, city in CITIES))
    lines(made, {"sub_label": "Tea", "obj_label": "China"}, {"sub_label": "Ale", "obj_label": "Kent"})
    (folder / "ways").mkdir()
    lines(folder / "ways" / "born.jsonl", {"pattern": "[X] was born in [Y]."}, {"pattern": "[Y] saw [X]."}, {"pattern": "[X] is from [Y]"})
    lines(folder / "ways" / "made.jsonl", {"pattern": "[X] comes from [Y]."})
    return {"source": str(folder / "facts"), "patterns": str(folder / "ways")}


def read(model: Model, form: Any, **fields: Any) -> tuple[Scores, Any]:
    score = Knownness(**fields)
    examples: Any = score.source({"data": form, "part": "all"}, "--data").examples(model, None)
    return score([model], examples), examples


def log_likelihoods(model: Model, before: str, answer: str) -> torch.Tensor:
    """Of each token of an answer, as transformers has it."""
    ids = torch.tensor(np.concatenate(model.tokenizer.encode([before + answer])).astype(np.int64))[None]
    with torch.no_grad():
        logs = model.network.eval()(input_ids=ids).logits[0].double().log_softmax(-1)
    return logs[:-1].gather(1, ids[0, 1:, None])[-len(answer) :, 0]


def test_the_likelihood_is_the_mean_over_prompts_per_token(model: Model, tmp_path: Path) -> None:
    scores, examples = read(model, facts(tmp_path), shots=0)
    assert sorted(scores.sources) == ["born"] * 4 + ["made"] * 2
    assert scores.tokens.tolist() == [len(f" {fact.answers[0]}") for fact in examples.facts]
    for fact, value in zip(examples.facts, scores.values, strict=True):
        ways = ["{} was born in", "{} is from"] if fact.relation == "born" else ["{} comes from"]
        each = [log_likelihoods(model, way.format(fact.asked), f" {fact.answers[0]}").mean() for way in ways]
        assert value == pytest.approx(float(np.mean(each)), abs=1e-6)


def test_shots_are_other_facts_of_the_relation_in_the_same_words(model: Model, tmp_path: Path) -> None:
    """Ale has one other fact of its relation, Tea."""
    scores, examples = read(model, facts(tmp_path), shots=3)
    place = [fact.asked for fact in examples.facts].index("Ale")
    before = "Tea comes from China\nAle comes from"
    assert scores.values[place] == pytest.approx(float(log_likelihoods(model, before, " Kent").mean()), abs=1e-6)
    again, _ = read(model, {"source": str(tmp_path / "facts"), "patterns": str(tmp_path / "ways")}, shots=3)
    assert (again.values == scores.values).all()


def greedy(model: Model, text: str, count: int) -> str:
    """Tokens that the model goes on with."""
    ids = torch.tensor(model.tokenizer.encode([text])[0].astype(np.int64))[None]
    for _ in range(count):
        ids = torch.cat([ids, model.network.eval()(input_ids=ids).logits[:, -1:].argmax(-1)], 1)
    return model.tokenizer.decode(ids[0, -count:].tolist())


def test_accuracy_is_what_greedy_decoding_gives(tmp_path: Path) -> None:
    """Of a model that has learned four answers: right are those, and as one of several."""
    model, asked = build("llama-16x1", load_tokenizer("ascii"), 0, context=64), [f"Q: {name}?\nA:" for name, _ in CITIES]
    ids = torch.tensor(
        np.stack(model.tokenizer.encode([f"{q} {city}" for q, (_, city) in zip(asked, CITIES, strict=True)])).astype(np.int64)
    )
    optimizer = torch.optim.Adam(model.network.parameters(), 1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        model.network(input_ids=ids, labels=ids).loss.backward()
        optimizer.step()
    assert [greedy(model, question, 5) for question in asked] == [f" {city}" for _, city in CITIES]
    answers = ["Rome", ["Nice", "Oslo"], "Bono", "Peru"]
    table = lines(tmp_path / "q.jsonl", *({"question": f"{q}?", "answers": a} for (q, _), a in zip(CITIES, answers, strict=True)))
    scores, examples = read(model, {"source": str(table), "templates": ["Q: {}\nA:"]}, value="accuracy", shots=0)
    found = {fact.asked: value for fact, value in zip(examples.facts, scores.values, strict=True)}
    assert found == {"Anna?": 1, "Bert?": 1, "Cleo?": 0, "Dora?": 0}


def test_popularity_is_the_column_and_lists_may_be_json(model: Model, tmp_path: Path) -> None:
    rows = [{"question": f"Who is {n}?", "possible_answers": json.dumps([f"A{n}", "B"]), "prop": "who", "s_pop": n * 10} for n in range(5)]
    scores, examples = read(model, str(lines(tmp_path / "p.jsonl", *rows)), value="popularity")
    assert sorted(scores.values) == [0, 10, 20, 30, 40]
    assert set(scores.sources) == {"who"}
    assert {fact.answers for fact in examples.facts} == {(f"A{n}", "B") for n in range(5)}
    with pytest.raises(PliantError, match="no popularity of"):
        read(model, str(lines(tmp_path / "q.jsonl", {"question": "Who?", "answer": "I"})), value="popularity")


def test_the_better_known_half_of_every_relation_is_what_fine_tuning_reads(model: Model, tmp_path: Path) -> None:
    rows = [{"question": f"What is {n} of {r}?", "answer": f"It is {n * n}", "relation": r} for r in ("ab", "cd", "ef") for n in range(8)]
    table, out = lines(tmp_path / "t.jsonl", *rows), tmp_path / "s.parquet"
    score = Knownness(shots=1)
    examples: Any = score.source({"data": str(table), "part": "all"}, "--data").examples(model, None)
    score_to_file(score, [model], examples, out, {})
    scores = Scores.read(out)
    kept = Selection(scores=str(out), keep=0.5, within_source=True).kept(list(scores.ids))
    relations = np.array(list(scores.sources))
    for name in ("ab", "cd", "ef"):
        mine = relations == name
        assert kept[mine].sum() == 4
        assert scores.values[kept & mine].min() >= scores.values[~kept & mine].max()
    selected = Table(source=str(table), select=Selection(scores=str(out), keep=0.5, within_source=True))
    learned = {f"{number:016x}" for number, *_ in selected.chosen("all", Counter())}
    assert learned == {name for name, keep in zip(scores.ids, kept, strict=True) if keep}


def test_what_cannot_be_asked_is_one_line_or_counted(model: Model, tmp_path: Path) -> None:
    form = facts(tmp_path)
    (tmp_path / "facts" / "bad.jsonl").write_text('{"sub_label": "", "obj_label": "x"}')
    with pytest.raises(PliantError, match=r"bad\.jsonl.*sub_label is empty; `skip_bad: true` leaves"):
        read(model, form)
    assert len(read(model, {**form, "skip_bad": True})[0]) == 6
    (tmp_path / "ways" / "born.jsonl").unlink()
    assert len(read(model, {**form, "skip_bad": True})[0]) == 2  # the others have no patterns, which is told
    with pytest.raises(PliantError, match="say once where the question stands"):
        Facts(source="x", templates=["what?"]).prompts()
    with pytest.raises(PliantError, match="scores facts, not"):
        Knownness().scoring([model], "text")  # type: ignore[arg-type]
