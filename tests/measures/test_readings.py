"""Measures of several readings, and readings that say what their samples count with: from the measure to tables and decisions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import pliant as pl
from pliant.cli.measure import measure_command
from pliant.errors import PliantError
from pliant.ledger import Ledger
from pliant.measures import Loss, Measure, Reading
from pliant.measures.measure import by_metric
from pliant.measures.shares import joined
from pliant.models import build, save
from pliant.models.ladder import Loading
from pliant.statistics import cluster_numbers, clustered_error, joint_clusters

IDS = [f"{number}:0" for number in range(12)]
GROUPS = np.repeat([7, 3, 5], 4)  # whatever numbers: equal ones hang together


class LossAndHits(Measure):
    """A loss, and how much of it is below a line: two metrics of one pass, of which more of the second is better."""

    data: str
    samples: int = 12
    moody: bool = False

    def readings(self, model: Any) -> list[Reading]:
        loss = Loss(data=self.data, samples=self.samples, part="all")(model)
        hits = Reading("top1_hits", "fraction", loss.samples, 1 / loss.values, np.ones(12), loss.data, clusters=GROUPS, better="higher")
        moody = self.moody and float(next(model.network.parameters()).detach().sum()) % 2 > 1
        return [loss] if moody else [loss, hits]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Two checkpoints and a text."""
    folder = tmp_path_factory.mktemp("place")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLIANT_CACHE", str(folder / "cache"))
        (folder / "text.jsonl").write_text("\n".join(json.dumps({"text": f"{number} is a number of a few words"}) for number in range(40)))
        for seed in (0, 1):
            model = build("llama-16x1", pl.data.load_tokenizer("ascii"), seed, context=64)
            model.checkpoint = model.checkpoint.model_copy(update={"tokens": (seed + 1) * 1_000_000})
            save(model, folder / f"step{seed}-tokens{seed + 1}M")
        yield folder


def study(place: Path, **fields: Any) -> dict[str, Any]:
    measure = LossAndHits(data=str(place / "text.jsonl"))
    noise = {"perturb": {"scale": 0.3, "draws": 2}}
    form = {"name": "two", "checkpoints": [str(place / "step*")], "changes": [noise], "measures": {"both": measure}, "seeds": [0]}
    return form | fields


@pytest.fixture(scope="module")
def ledger(place: Path, tmp_path_factory: pytest.TempPathFactory) -> Ledger:
    runs = pl.run(study(place), tmp_path_factory.mktemp("ledger"), workers=0, quiet=True)
    assert not runs.failed
    return runs.ledger


def test_a_simple_measure_has_one_reading_and_one_of_several_gives_the_first(place: Path) -> None:
    class Simple(Measure):
        def __call__(self, model: Any) -> Reading:
            return Reading("norm", "1", ["all"], np.ones(1), np.ones(1))

    class Nothing(Measure):
        pass

    assert [found.metric for found in Simple().readings(None)] == ["norm"]  # type: ignore[arg-type]
    measure, model = LossAndHits(data=str(place / "text.jsonl")), pl.load(place / "step0-tokens1M")
    assert measure(model).metric == "loss"
    assert (measure(model) - measure(model)).estimate().value == 0
    with pytest.raises(NotImplementedError):
        Nothing()(model)


def test_every_reading_is_a_record_under_one_key(ledger: Ledger) -> None:
    rows = ledger.sql("select key, metric, better, unit, draw, seconds from records order by key, draw, metric").to_pylist()
    assert len(rows) == 2 * 2 * (1 + 2)  # checkpoints x metrics x (unchanged and two draws)
    assert len({row["key"] for row in rows}) == 4
    assert {(row["metric"], row["better"], row["unit"]) for row in rows} == {
        ("loss", "lower", "nats/token"),
        ("top1_hits", "higher", "fraction"),
    }
    assert len({(row["key"], row["metric"], row["draw"]) for row in rows}) == len(rows)


def test_differences_are_of_each_metric_and_count_by_its_clusters(ledger: Ledger) -> None:
    for row in ledger.differences().to_pylist():
        values = {}
        for kind in ("none", "perturb"):
            found = ledger.sql(
                f"select draw, list(value order by sample) as found from samples where checkpoint = '{row['checkpoint']}' "
                f"and metric = '{row['metric']}' and change_kind = '{kind}' group by draw"
            ).to_pylist()
            values[kind] = np.mean([each["found"] for each in found], axis=0)
        names = ledger.sql(f"select distinct sample, weight from samples where metric = '{row['metric']}' order by sample").to_pylist()
        weights = np.array([name["weight"] for name in names])
        rise = values["perturb"] - values["none"]
        assert row["rise"] == pytest.approx(float(rise @ weights / weights.sum()))
        if row["metric"] == "top1_hits":
            (stored,) = ledger.sql(
                "select distinct list(sample order by sample) as ids from samples group by key, metric, draw"
            ).to_pylist()
            assert len(stored["ids"]) == 12
            assert row["stderr"] == pytest.approx(expected_error(ledger, rise, [name["sample"] for name in names]))


def expected_error(ledger: Ledger, rise: np.ndarray, names: list[str]) -> float:
    """By the groups that the measure stated, in the order of its samples; the two mirrored draws count as one."""
    import pyarrow.parquet as pq

    table = pq.read_table(ledger.shards()[0]).to_pylist()
    ids = next(row["sample_ids"] for row in table if row["metric"] == "top1_hits")
    group = dict(zip(ids, GROUPS, strict=True))
    return clustered_error(rise, np.ones(12), [group[name] for name in names])


def test_decisions_know_which_direction_of_each_metric_is_better(ledger: Ledger) -> None:
    told = {decision.evidence.metric: decision.evidence for decision in pl.decide.checkpoint(ledger)}
    assert (told["loss"].higher_is_better, told["top1_hits"].higher_is_better) == (False, True)
    assert (told["loss"].documents, told["top1_hits"].documents) == (12, 3)


def test_the_ledger_keeps_clusters_only_where_ids_do_not_say_them(ledger: Ledger) -> None:
    import pyarrow.parquet as pq

    rows = [row for path in ledger.shards() for row in pq.read_table(path).to_pylist()]
    assert {row["metric"] for row in rows if row["sample_clusters"] is None} == {"loss"}
    assert all(row["sample_clusters"] == [2] * 4 + [0] * 4 + [1] * 4 for row in rows if row["metric"] == "top1_hits")
    assert "sample_clusters" not in ledger.records()[0]


def test_readings_that_differ_between_draws_are_one_failed_record(place: Path, tmp_path: Path) -> None:
    """Draws whose weights have an odd sum, which about half of them have, are read by fewer metrics."""
    noise = {"perturb": {"scale": 0.3, "draws": 16}}
    measure = LossAndHits(data=str(place / "text.jsonl"), moody=True)
    runs = pl.run(study(place, changes=[noise], measures={"both": measure}), tmp_path / "ledger", workers=0, quiet=True)
    failed = runs.failed
    assert failed
    assert len({row["key"] for row in failed}) == len(failed)
    assert all(row["error"].startswith("the measure gave other readings one time than another: loss") for row in failed)
    assert not {row["key"] for row in runs.records() if row["status"] == "ok"} & {row["key"] for row in failed}


@pytest.mark.parametrize(
    ("metrics", "words"), [([], "no reading"), (["a", "b", "a"], "two readings of a;"), (["a"], "other readings one time than another")]
)
def test_what_no_measure_may_give_is_said(metrics: list[str], words: str) -> None:
    times = [[Reading(metric, "1", ["x"], np.ones(1), np.ones(1)) for metric in names] for names in (metrics, ["b"])]
    with pytest.raises(PliantError, match=words):
        by_metric(times)


def test_clusters_of_shares_join_those_of_the_measure() -> None:
    """Authors a and b meet in the second share; c, in a share of its own, meets nobody."""
    values = np.arange(2.0)
    parts = [
        Reading("m", "1", [f"{share}0", f"{share}1"], values, np.ones(2), clusters=names)
        for share, names in enumerate((["a", "a"], ["b", "a"], ["c", "c"]))
    ]
    assert joined(parts).clusters.tolist() == [0, 0, 0, 0, 1, 1]
    assert joined(parts[:1]).clusters == ["a", "a"]


def test_clusters_may_be_any_names_or_numbers() -> None:
    values, weights = np.arange(4.0), np.ones(4)
    by_name = Reading("m", "1", ["1", "2", "3", "4"], values, weights, clusters=["x", "x", "y", "z"])
    by_number = Reading("m", "1", ["1", "2", "3", "4"], values, weights, clusters=np.array([900, 900, -3, 10**12]))
    expected = clustered_error(values, weights, np.array([0, 0, 1, 2]))
    assert by_name.estimate().stderr == by_number.estimate().stderr == pytest.approx(expected)
    assert cluster_numbers(np.array([900, 900, -3])).tolist() == [1, 1, 0]
    assert joint_clusters(["a", "b", "c", "d"], [0, 1, 1, 2]).tolist() == [0, 1, 1, 2]
    with pytest.raises(ValueError, match="4 samples in 2 clusters"):
        Reading("m", "1", ["1", "2", "3", "4"], values, weights, clusters=["x", "y"])


@pytest.mark.parametrize("several", [False, True])
def test_measure_prints_one_document_or_a_list_of_them(place: Path, several: bool, capsys: pytest.CaptureFixture[str]) -> None:
    text, model = str(place / "text.jsonl"), str(place / "step0-tokens1M")
    measure = LossAndHits(data=text) if several else Loss(data=text, samples=12, part="all")
    measure_command(measure, Loading(), model=model, change=["quantize: {bits: 3}"], as_json=True)
    told = json.loads(capsys.readouterr().out)
    first = told[0] if several else told
    assert list(first) == ["metric", "unit", "better", "results"]
    assert [next(iter(found)) for found in first["results"].values()] == ["value"] * 3
    assert isinstance(told, list) == several
    if several:
        assert [(found["metric"], found["better"]) for found in told] == [("loss", "lower"), ("top1_hits", "higher")]
    rise = first["results"]["rise"]["value"]
    loaded = pl.load(model)
    before = measure(loaded)
    with pl.changes.Quantize(bits=3).applied(loaded):
        assert rise == (measure(loaded) - before).estimate().value
    measure_command(measure, Loading(), model=model)
    assert capsys.readouterr().out.count("standard error") == (2 if several else 1)
