"""The kinds of ladders: each says which forms are its own, and another package's is one file and one name."""

import json
from importlib.metadata import EntryPoint

import jsonschema
import pytest
from pydantic import Field

from pliant import PliantError, decide
from pliant.models import FolderLadder, HubLadder, Ladder
from pliant.spec import registry
from pliant.study import Ledger, Study, plan, run
from pliant.study.ladders import LADDERS, parse_ladder
from pliant.train import TrainedLadder

TRAINED = {"model": "llama-16x2", "corpus": "x.txt", "tokens": "1M"}


class Doubled(Ladder):
    """Folders, each of them twice."""

    of: tuple[str, ...] = Field(min_length=1)

    def rungs(self, seed=0, folder=None):
        return [rung for rung in FolderLadder(folders=self.of).rungs() for _ in range(2)]

    def along(self, checkpoints):
        return "params"


@pytest.fixture
def installed(monkeypatch):
    """As another package names it under `pliant.ladders`."""
    point = EntryPoint("doubled", f"{__name__}:Doubled", "pliant.ladders")
    monkeypatch.setattr(registry, "entry_points", lambda group: [point] if group == point.group else [])
    monkeypatch.setattr(EntryPoint, "load", lambda self: Doubled)
    monkeypatch.setattr(LADDERS, "_entries", dict(LADDERS._entries))
    monkeypatch.setattr(LADDERS, "_entry_points_read", False)


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        ("a/*", FolderLadder),
        (["a@b", "c"], FolderLadder),
        ({"folders": "a", "axis": "steps"}, FolderLadder),
        ("owner/name@step*", HubLadder),
        ({"hub": "owner/name"}, HubLadder),
        ({"ladder": TRAINED}, TrainedLadder),
    ],
)
def test_each_form_is_taken_by_one_kind(form, kind):
    found = parse_ladder(form)
    assert type(found) is kind
    assert parse_ladder(found.form()) == found
    assert parse_ladder(json.loads(json.dumps(found.form()))) == found


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"laddr": {}}, "checkpoints: unknown form 'laddr'; did you mean 'ladder'"),
        ({}, "checkpoints: unknown form ''"),
        ({"ladder": TRAINED, "seed": 3}, "unknown form 'ladder'"),
        (5, "checkpoints: give folders"),
        (None, "checkpoints: nothing is given"),
        ({"ladder": {"corpuss": "x"}}, "checkpoints.ladder: .*'corpus'"),
        ({"ladder": None}, "checkpoints.ladder"),
        ([], "checkpoints: "),
        ({"folders": "a", "axis": "size"}, "axis"),
    ],
)
def test_what_nobody_takes_is_one_line(form, message):
    with pytest.raises(PliantError, match=message) as caught:
        parse_ladder(form)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.usefixtures("installed")
def test_a_kind_of_another_package_is_one_name(form, folders, tmp_path):
    form |= {"checkpoints": {"doubled": {"of": [str(folders / "step*")]}}, "changes": [], "seeds": 0}
    study = Study.parse(form)
    assert study.canonical()["checkpoints"] == {"doubled": {"of": [str(folders / "step*")]}}
    assert Study.parse({key: value for key, value in study.canonical().items() if key != "kind"}) == study
    jsonschema.validate({key: value for key, value in form.items() if key != "changes"}, Study.model_json_schema())
    runs = run(study, tmp_path / "ledger", workers=0, quiet=True)
    assert [(row["status"], row["axis"], row["position"] == row["params"] > 0) for row in runs.records()] == [("ok", "params", True)] * 2
    with pytest.raises(PliantError, match="did you mean 'doubled'"):
        parse_ladder({"doubld": {}})


def test_sizes_at_one_budget_are_one_ladder(trained, tmp_path):
    """Two presets of other widths, whose peak learning rates differ, at one budget that neither context divides."""
    ladder = trained["checkpoints"]["ladder"]
    model = ladder["model"]
    models = [{**model, "preset": "llama-32x1"}, model, {**model, "preset": "llama-16x2", "context": 24}]
    fields = {key: value for key, value in ladder.items() if key != "lr"} | {"model": models, "tokens": "4k"}
    form = trained | {"checkpoints": {"ladder": fields}, "changes": [{"quantize": {"bits": 3}}], "questions": ["checkpoint"]}
    form["measures"] = {"generic": {"loss": form["measures"]["generic"]["loss"] | {"window": 16}}}  # the same windows for every context
    planned = plan(Study.parse(form))
    assert (planned.axis, planned.remarks) == ("params", [])
    runs = run(form, tmp_path / "ledger", workers=0, quiet=True)
    rows = runs.records()
    assert {(row["axis"], row["position"] == row["params"]) for row in rows} == {("params", True)}
    assert len({row["peak_lr"] for row in rows}) == 2
    assert len({row["tokens"] for row in rows}) == 2
    sizes = sorted({row["params"] for row in rows})
    assert len(sizes) == 3
    found = decide.checkpoint(runs)
    assert [one.change.unchanged for one in found] == [True, False]
    for one in found:
        assert [point.position for point in one.evidence.curve] == sizes
        assert (one.evidence.family, one.evidence.axis, one.evidence.runs) == ("trained", "params", 2)
        assert "parameters" in one.sentence()
    several = form | {"checkpoints": {"ladder": fields | {"tokens": ["4k", "8k"]}}}
    assert plan(Study.parse(several)).axis == "tokens"


def test_arms_of_one_size_are_not_put_together(trained, folders, tmp_path):
    """Sizes along which each has two peak learning rates are two ladders."""
    from dataclasses import replace

    ladder = trained["checkpoints"]["ladder"]
    models = [ladder["model"], {**ladder["model"], "preset": "llama-32x1"}]
    form = trained | {"checkpoints": {"ladder": ladder | {"model": models, "tokens": "4k"}}, "changes": [], "seeds": 0}
    runs = run(form, tmp_path / "ledger", workers=0, quiet=True)
    assert len(decide.checkpoint(runs)) == 1
    from pliant.ledger.record import Record

    columns = [name for name in Record.__dataclass_fields__ if not name.startswith("sample_")]
    samples = runs.ledger.sql("select key, list(sample) as ids, list(value) as v, list(weight) as w from samples group by key").to_pylist()
    told = {row["key"]: row for row in samples}
    both = Ledger(tmp_path / "both", create=True)
    for rate, mark in ((0.01, "a"), (0.02, "b")):
        records = [Record(**{name: row[name] for name in columns}) for row in runs.records()]
        for record in records:
            values = told[record.key]
            samples = {"sample_ids": values["ids"], "sample_values": values["v"], "sample_weights": values["w"]}
            other = {name: f"{getattr(record, name)}{mark}" for name in ("key", "cell", "base_weights")}
            both.write([replace(record, peak_lr=rate, **samples, **other)])
    assert {one.evidence.peak_lr for one in decide.checkpoint(both)} == {0.01, 0.02}
