"""Which examples a table of values keeps: the ones that sorting says, as many as asked for, whatever order they come in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pliant.data.images import Images
from pliant.data.selection import Selection
from pliant.data.table import Table
from pliant.errors import PliantError

IDS = [f"{number:016x}" for number in np.random.default_rng(0).permutation(50)]
VALUES = np.random.default_rng(1).integers(0, 20, 50) / 4  # with ties


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))


def table(path: Path, ids=IDS, values=VALUES, header: str = "id,score") -> str:
    path.write_text("\n".join([header, *(f"{name},{value}" for name, value in zip(ids, values, strict=True))]))
    return str(path)


def kept(ids: list[str], **fields) -> set[str]:
    mask = Selection(**fields).kept(ids)
    return {name for name, keep in zip(ids, mask, strict=True) if keep}


def test_the_highest_the_lowest_and_a_window(tmp_path: Path) -> None:
    scores = table(tmp_path / "s.csv")
    falling = sorted(range(50), key=lambda i: (-VALUES[i], IDS[i]))
    rising = sorted(range(50), key=lambda i: (VALUES[i], IDS[i]))
    assert kept(IDS, scores=scores, keep=0.3) == {IDS[i] for i in falling[:15]}
    assert kept(IDS, scores=scores, keep=0.3, order="lowest") == {IDS[i] for i in rising[:15]}
    assert kept(IDS, scores=scores, keep=0.5, skip=0.1) == {IDS[i] for i in falling[5:30]}
    assert kept(IDS, scores=scores, keep=1) == set(IDS)
    assert kept(IDS, scores=scores, keep=0.001) == {IDS[falling[0]]}
    for fields in ({"scores": scores, "keep": 0.3}, {"keep": 0.3, "order": "random"}):
        assert kept(IDS[::-1], **fields) == kept(IDS, **fields)


def test_a_random_choice_is_a_seeds_own_and_of_its_size() -> None:
    draws = [kept(IDS, keep=0.5, order="random", seed=seed) for seed in range(40)]
    assert {len(draw) for draw in draws} == {25}
    assert len(set(map(frozenset, draws))) == 40
    overlap = np.mean([len(draws[i] & draws[i + 1]) for i in range(39)])
    assert abs(overlap - 12.5) < 1  # of independent halves


def test_within_classes_each_keeps_its_share(tmp_path: Path) -> None:
    labels = np.array([0] * 30 + [1] * 20)
    mask = Selection(scores=table(tmp_path / "s.csv"), keep=0.5, balanced=True).kept(IDS, labels)
    assert (mask[:30].sum(), mask[30:].sum()) == (15, 10)


def test_the_key_knows_the_values_and_not_where_they_lie(tmp_path: Path) -> None:
    one, same, other = (table(tmp_path / f"{name}.csv") for name in "abc")
    table(Path(other), values=VALUES + 1)
    prints = {path: Images(source="builtin:digits", select={"scores": path, "keep": 0.5}).fingerprint() for path in (one, same, other)}
    assert prints[one] == prints[same] != prints[other]
    assert prints[one] != Images(source="builtin:digits", select={"scores": one, "keep": 0.4}).fingerprint()


def test_tables_that_do_not_fit_are_one_line(tmp_path: Path) -> None:
    path = tmp_path / "s.csv"
    for arguments, said in (
        ({"ids": IDS[1:], "values": VALUES[1:]}, f"1 of 50 examples have no value, the first of them {IDS[0]}"),
        ({"values": [*VALUES[:-1], "nan"]}, "is 'nan', not a finite number"),
        ({"values": [*VALUES[:-1], "x"]}, "is 'x', not a finite number"),
        ({"ids": [*IDS[:-1], IDS[0]]}, "has a value already"),
        ({"header": "name,score"}, "has the columns id and score, not name, score"),
        ({"ids": [], "values": []}, "the table is empty"),
    ):
        with pytest.raises(PliantError, match=said):
            kept(IDS, scores=table(path, **arguments), keep=0.5)
    with pytest.raises(PliantError, match="give a table of scores, or order: random"):
        Selection(keep=0.5)
    with pytest.raises(PliantError, match="more than there is"):
        Selection(keep=0.6, skip=0.5, order="random")
    with pytest.raises(PliantError, match="no such file"):
        kept(IDS, scores=str(tmp_path / "missing.parquet"), keep=0.5)


def dialogues(path: Path, count: int = 40) -> str:
    path.write_text("\n".join(json.dumps({"question": f"What is {n}?", "answer": f"It is number {n}."}) for n in range(count)))
    return str(path)


def test_dialogues_are_selected_by_their_ids(tmp_path: Path) -> None:
    from pliant.data import load_tokenizer

    words, source = load_tokenizer("ascii"), dialogues(tmp_path / "qa.jsonl")
    whole = Table(source=source).sequences(words, "train", 64)
    values = np.random.default_rng(0).random(len(whole))
    scores = table(tmp_path / "s.csv", whole.ids, values)
    half = Table(source=source, select={"scores": scores, "keep": 0.5}).sequences(words, "train", 64)
    count = round(len(whole) / 2)
    assert set(half.ids) == {whole.ids[i] for i in np.argsort(-values)[:count]}
    assert half.counts["unselected"] == len(whole) - count
    assert half.fingerprint != whole.fingerprint
    assert Table(source=source).canonical() == {"kind": "table", "source": source, "format": None, "skip_bad": False}  # as before
    with pytest.raises(PliantError, match="these examples have none"):
        Table(source=source, select={"keep": 0.5, "order": "random", "balanced": True}).sequences(words, "train", 64)
