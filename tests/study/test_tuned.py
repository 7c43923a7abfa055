"""A fine-tuning run as a ladder: the points of one run are what the run passes through, and a killed one goes on."""

import json
import shutil

import jsonschema
import pytest

from pliant import PliantError, decide
from pliant.axes import axis_named
from pliant.changes import Finetune
from pliant.models import load
from pliant.study import Study, plan, run
from pliant.study.arms import Arms
from pliant.study.ladders import parse_ladder
from pliant.study.tuned_ladder import TunedLadder
from pliant.train.state import STATE_FILE


@pytest.fixture
def fields(text, folders):
    finetune = {"data": str(text), "batch": 2, "length": 16, "lr": 1e-2}
    return {"base": str(folders / "step1-tokens1M"), "finetune": finetune, "steps": [0, 2, 4, 8]}


def tuned(fields, **changes):
    finetune = {**fields["finetune"], **changes.pop("finetune", {})}
    return parse_ladder({"tuned": {**fields, **changes, "finetune": finetune}})


def sums(path):
    """A table of questions and answers."""
    path.write_text("\n".join(json.dumps({"question": f"{n} plus {n}", "answer": f"{2 * n}"}) for n in range(40)))
    return path


def weights(rung):
    with rung.open() as model:
        return model.weights()


@pytest.mark.parametrize("how", [{}, {"schedule": "cosine"}, {"methods": [{"lora": {"rank": 2}}]}], ids=["constant", "cosine", "lora"])
def test_each_point_is_what_the_run_passes_through(fields, tmp_path, how):
    """Trained in one go, or only as far as a point: the same weights; and with a constant rate those of a run of that length."""
    rungs = tuned(fields, finetune=how).rungs(3, tmp_path / "a")
    base = load(fields["base"])
    assert weights(rungs[0]) == base.weights()
    at_once = [weights(rung) for rung in reversed(rungs)][::-1]
    alone = tuned(fields, steps=[4], finetune={**how, "steps": 8}).rungs(3, tmp_path / "b")[0]
    assert weights(alone) == at_once[2]
    assert len(set(at_once)) == 4
    with Finetune.parse({**fields["finetune"], **how, "steps": 8}).applied(base, 3) as whole:
        assert whole.weights() == at_once[3]
    with Finetune.parse({**fields["finetune"], **how, "steps": 4}).applied(base, 3) as half:
        assert (half.weights() == at_once[2]) == (how != {"schedule": "cosine"})


def test_points_are_trained_once_and_a_run_goes_on(fields, tmp_path):
    first = tuned(fields).rungs(0, tmp_path)
    kept = [weights(rung) for rung in first]
    run_folder = first[0].run.place
    states = {path: path.stat().st_mtime_ns for path in run_folder.glob("step*/model.safetensors")}
    longer = tuned(fields, steps=[0, 3, 4, 12]).rungs(0, tmp_path)
    assert longer[0].run.place == run_folder, "a longer run of a constant rate begins as this one does"
    assert (longer[2].cost, longer[3].cost > 0, longer[1].cost > 0) == (0, True, True)
    assert weights(longer[3]) == weights(tuned(fields, steps=[12]).rungs(0, tmp_path / "fresh")[0])
    assert weights(longer[1]) == weights(tuned(fields, steps=[3]).rungs(0, tmp_path / "fresh")[0]), "a point before where the run is"
    assert weights(longer[2]) == kept[2]
    assert {path: path.stat().st_mtime_ns for path in states} == states
    falling = tuned(fields, finetune={"schedule": "cosine"}).rungs(0, tmp_path)
    weights(falling[-1])
    assert not list(falling[0].run.place.glob("unfinished")), "the state of a run that cannot go on is gone"


def test_a_run_that_was_killed_goes_on_from_its_state(fields, tmp_path):
    expected = weights(tuned(fields).rungs(0, tmp_path / "whole")[-1])
    rungs = tuned(fields).rungs(0, tmp_path / "killed")
    weights(rungs[2])
    place = rungs[0].run.place
    shutil.rmtree(place / "step4")  # as if killed before the rename
    (place / "step4.partial").mkdir()
    assert (place / "unfinished" / STATE_FILE).is_file()
    assert weights(rungs[3]) == expected
    shutil.rmtree(place / "step8")
    (place / "unfinished" / STATE_FILE).write_bytes(b"cut")
    with pytest.raises(PliantError, match="remove it to start the run afresh"):
        weights(rungs[3])


def test_what_is_known_of_a_rung(fields, tmp_path):
    rungs = tuned(fields, finetune={"schedule": "cosine"}).rungs(1, tmp_path)
    facts = rungs[2].checkpoint
    assert facts.address == "step1-tokens1M tuned on text.jsonl, lr 0.01, batch 2, length 16, schedule cosine@step4-seed1"
    assert (facts.steps, facts.phase, facts.schedule, facts.peak_lr) == (4, "fine-tuning", "cosine", 1e-2)
    assert facts.final_lr == pytest.approx(5e-3)
    assert rungs[2].outline() is not None
    with rungs[2].open() as model:
        assert model.checkpoint == facts.model_copy(update={"params": sum(p.numel() for p in model.network.parameters())})
    assert rungs[0].checkpoint.revision == "step0"
    other = tuned(fields).rungs(2, tmp_path)
    assert other[0].identity == tuned(fields).rungs(3, tmp_path)[0].identity, "the base is the same for every seed"
    assert other[1].identity != tuned(fields).rungs(3, tmp_path)[1].identity


def test_bases_trained_here_follow_the_seed(fields, trained, tmp_path):
    base = {"ladder": trained["checkpoints"]["ladder"] | {"tokens": "4k"}}
    found = [tuned(fields, base=base).rungs(seed, tmp_path)[0] for seed in (0, 1)]
    assert found[0].identity != found[1].identity
    assert weights(found[0]) != weights(found[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"steps": []}, "steps"),
        ({"steps": [0]}, "give steps to train"),
        ({"steps": [-1, 2]}, "steps"),
        ({"steps": "many"}, "steps"),
        ({"finetune": {"steps": 4}}, "ends after 4 steps, before its last point at 8"),
        ({"finetune": {"epochs": 2}}, "epochs has no place"),
        ({"finetune": {"draws": 2}}, "draws has no place"),
        ({"finetune": {"lr": None}}, "lr"),
        ({"finetune": {"lrr": 1}}, "lrr"),
        ({"base": None}, "base"),
        ({"extra": 1}, "extra"),
    ],
)
def test_wrong_fields_are_one_line(fields, changes, message):
    with pytest.raises(PliantError, match=message) as caught:
        tuned(fields, **changes)
    assert len(str(caught.value).splitlines()) == 1


def test_a_base_is_one_checkpoint(fields, folders):
    with pytest.raises(PliantError, match="2 checkpoints, and one is fine-tuned"):
        tuned(fields, base=str(folders / "step*")).rungs()
    with pytest.raises(PliantError, match="no such folder"):
        tuned(fields, base="nowhere").rungs()
    assert tuned(fields, base="lab/model").base.form()["hub"] == "lab/model"


def test_forms(fields):
    found = tuned(fields)
    assert isinstance(found, TunedLadder)
    assert parse_ladder(found.form()) == found
    assert parse_ladder(json.loads(json.dumps(found.form()))).rungs()[1].identity == found.rungs()[1].identity
    arms = tuned(fields, finetune={"lr": [1e-2, 1e-3], "methods": [[], [{"lora": {"rank": 2}}]]})
    assert isinstance(arms, Arms)
    assert len(arms.arms) == 4
    assert parse_ladder(arms.form()) == arms


def test_answers_are_cut_as_the_change_cuts_them(fields, folders, tmp_path):
    """A length that is not given is the model's context for answers, also after the form went through JSON."""
    table = sums(tmp_path / "sums.jsonl")
    short = {"data": str(table), "lr": 1e-2, "batch": 2}
    ladder = parse_ladder({"tuned": {"base": fields["base"], "steps": [2], "finetune": short}})
    cut = parse_ladder({"tuned": {"base": fields["base"], "steps": [2], "finetune": short | {"length": 64}}})
    again = parse_ladder(json.loads(json.dumps(ladder.form())))
    assert again.rungs()[0].identity == ladder.rungs()[0].identity != cut.rungs()[0].identity


def test_each_axis_has_its_words():
    assert axis_named("steps", "fine-tuning").reached(300) == "after 300 fine-tuning steps"
    assert axis_named("steps").reached(300) == "after 300 steps"
    assert axis_named("tokens").reached(4e6) == "at 4M tokens"
    assert axis_named("density").reached(0.2) == "at density 0.2"
    assert axis_named("density").listed((0.5, 0.2), " to ") == "density 0.5 to 0.2"
    assert axis_named("tasks").reached(1024) == "with 1.02k tasks"
    assert axis_named("params").reached(26e4) == "at 260k parameters"


def test_a_study_along_a_run_answers_where_the_loss_turns(fields, text, tmp_path):
    (tmp_path / "other.jsonl").write_text("\n".join(json.dumps({"text": f"{n}Q{n * n}X{n**3}Z{n**4}"}) for n in range(200)))
    data = [str(text), str(tmp_path / "other.jsonl")]
    form = {
        "name": "along",
        "checkpoints": {"tuned": fields | {"finetune": fields["finetune"] | {"data": data}}},
        "measures": {"generic": {"loss": {"data": str(text), "samples": 8}}},
        "seeds": [0, 1, 2],
        "questions": ["checkpoint"],
    }
    planned = plan(Study.parse(form))
    assert (planned.axis, planned.remarks) == ("steps", [])
    runs = run(form, tmp_path / "ledger", workers=0, quiet=True)
    assert not runs.failed
    same, other = sorted(decide.checkpoint(runs), key=lambda one: "other" in one.evidence.family)
    assert [point.position for point in same.evidence.curve] == [0, 2, 4, 8]
    assert same.evidence.runs == 3, "the common beginning is no run of its own"
    assert same.sentence() == "still improves after 8 fine-tuning steps"
    assert " fine-tuning steps" in other.sentence()
    assert other.json()["evidence"]["axis"] == "steps"
    assert other.json()["evidence"]["phase"] == "fine-tuning"


def test_the_schema_knows_its_forms(fields):
    schema = Study.model_json_schema()
    rest = {"measures": {"generic": {"loss": {"data": "builtin:prose"}}}}
    swept = fields | {"finetune": fields["finetune"] | {"lr": [1e-3, 1e-2], "methods": [[], [{"lora": {"rank": 2}}]]}}
    for checkpoints in ({"tuned": fields}, {"tuned": swept}, {"arms": [{"tuned": swept}, "a/*"]}):
        jsonschema.validate({"checkpoints": checkpoints, **rest}, schema)
    for wrong in ({"tuned": fields | {"finetune": {"data": "x", "rate": 1}}}, {"tuned": {"base": "x"}}, {"arms": {"tuned": fields}}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({"checkpoints": wrong, **rest}, schema)
