"""What is said before anything runs: what is left out, what is damaged, what shapes do not allow."""

import json
import shutil

import pytest
import yaml

from pliant import PliantError
from pliant.ledger.ledger import Ledger
from pliant.study.planning import plan
from pliant.study.running import run
from pliant.study.study import Study


def refused(form, *changes, **checkpoints):
    with pytest.raises(PliantError) as caught:
        plan(Study.parse({**form, "changes": list(changes), **checkpoints}))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_groups_that_do_not_divide_a_row_stop_the_plan(form, trained):
    for subject in (form, trained):  # by their configuration, and by their preset
        message = refused(subject, {"quantize": {"bits": 4, "group": [16, 32]}})
        assert "groups of 32 do not divide rows of 16" in message
        assert "group=32" in message
        plan(Study.parse({**subject, "changes": [{"quantize": {"bits": 4, "group": 16}}]}))


def test_names_that_no_tensor_has_stop_the_plan(form, trained):
    for subject in (form, trained):
        assert "mlpp" in refused(subject, {"quantize": {"bits": 4, "tensors": "*.mlpp.*"}})
        assert "mlpp" in refused(subject, {"quantize": {"bits": 4, "exceptions": {"*.mlpp.*": 8}}})
        assert "mlpp" in refused(subject, {"perturb": {"scale": 0.1, "tensors": "*.mlpp.*"}})
        assert "mlpp" in refused(subject, [{"perturb": {"scale": 0.1}}, {"quantize": {"bits": 4, "tensors": "*.mlpp.*"}}])
        plan(Study.parse({**subject, "changes": [{"quantize": {"bits": 4, "tensors": "*.mlp.*", "exceptions": {"*.up_proj.*": 8}}}]}))


def test_tensors_left_at_16_bits_need_no_groups(form):
    plan(Study.parse({**form, "changes": [{"quantize": {"bits": 4, "group": 32, "tensors": "*.mlp.*", "exceptions": {"*": 16}}}]}))
    message = refused(form, {"quantize": {"bits": 4, "group": 48, "exceptions": {"*down_proj*": 16}}})
    assert "groups of 48 do not divide rows of 16" in message
    plan(Study.parse({**form, "changes": [{"quantize": {"bits": 4, "group": 48, "tensors": "*down_proj*"}}]}))  # rows of 48


def test_what_some_checkpoints_allow_is_run_and_the_others_are_named(trained):
    ladder = trained["checkpoints"]["ladder"]
    wide = {**ladder["model"], "preset": "llama-32x1"}
    both = {"ladder": {**ladder, "model": [ladder["model"], wide], "tokens": "4k"}}
    planned = plan(Study.parse({**trained, "checkpoints": both, "changes": [{"quantize": {"bits": 4, "group": 32}}], "seeds": 0}))
    assert len(planned.cells) == 4
    (line,) = planned.remarks
    assert "do not divide" in line
    assert "1 of 2 checkpoints" in line


def test_nothing_is_built_for_what_needs_no_shapes(form, monkeypatch):
    monkeypatch.setattr("pliant.models.folders.FolderRung.outline", lambda rung: pytest.fail("built"))
    plan(Study.parse(form))


def test_what_is_left_out_is_in_the_plan_and_in_the_run(form, folders, tmp_path, capsys):
    shutil.copytree(folders, tmp_path / "all")
    (tmp_path / "all" / "step3-tokens3M" / "pytorch_model_fsdp_0").mkdir(parents=True)
    study = Study.parse({**form, "checkpoints": [str(tmp_path / "all" / "step*")], "changes": [], "seeds": 0})
    planned = plan(study)
    assert list(planned.skipped) == [str(tmp_path / "all" / "step3-tokens3M")]
    (line,) = planned.remarks
    assert "step3-tokens3M" in line
    assert "FSDP" in line
    runs = run(study, tmp_path / "ledger", workers=0)
    assert runs.remarks == (line,)
    assert line in capsys.readouterr().err
    assert len(runs.records()) == 2


def test_folders_left_out_for_one_reason_are_one_line(form, folders, tmp_path):
    shutil.copytree(folders, tmp_path / "all")
    for step in range(100, 130):
        (tmp_path / "all" / f"step{step}").mkdir()
    planned = plan(Study.parse({**form, "checkpoints": [str(tmp_path / "all")]}))
    assert len(planned.skipped) == 30
    (line,) = planned.remarks
    assert "22 more" in line
    assert "is empty" in line


def test_damaged_facts_are_a_note_and_the_checkpoint_is_measured(form, folders, tmp_path, capsys):
    shutil.copytree(folders / "step1-tokens1M", tmp_path / "checkpoint-100")
    (tmp_path / "checkpoint-100" / "pliant.json").unlink()
    (tmp_path / "checkpoint-100" / "trainer_state.json").write_text('{"global_step": 100, "log_hist')
    ladder = {"folders": str(tmp_path / "checkpoint-*"), "batch_tokens": 1000}
    runs = run({**form, "checkpoints": ladder, "changes": [], "seeds": 0}, tmp_path / "ledger", workers=0)
    assert [(row["tokens"], row["status"]) for row in runs.records()] == [(100_000, "ok")]
    assert capsys.readouterr().err.count("trainer_state.json") == 1


def test_a_study_of_too_many_cells_is_refused_before_they_are_made(form):
    sweep = {"quantize": {"bits": ["2..8"], "group": ["1..1000"]}}
    assert "1,050,150 cells" in refused({**form, "seeds": list(range(75))}, sweep)


def test_a_ledger_may_lie_in_a_folder_of_any_name(form, tmp_path):
    for name in ("seed=7", "run[lr=1e-4]", "a*b", "value=nan"):
        runs = run({**form, "changes": [], "seeds": 0}, tmp_path / name / "ledger", workers=0)
        rows = Ledger(tmp_path / name / "ledger").records()
        assert [row["seed"] for row in rows] == [0, 0]
        assert all(row["value"] == pytest.approx(4.6, abs=0.5) for row in rows)
        assert not runs.failed


def test_the_shared_faults(shared_data, tmp_path, monkeypatch):
    """Folders made as `make.sh` makes them."""
    faults, model = shared_data / "faults", shared_data / "models" / "stories260K-hf"
    if not faults.is_dir():
        pytest.skip("shared faults are absent")
    monkeypatch.chdir(tmp_path)
    shutil.copy(faults / "_stories.jsonl", "stories.jsonl")
    for step in (100, 200):
        for place in (f"run[lr=1e-4,bs=8]/checkpoint-{step}", f"ds/checkpoint-{step}"):
            shutil.copytree(model, tmp_path / place)
            (tmp_path / place / "trainer_state.json").write_text(json.dumps({"global_step": step, "log_history": []}))
    (tmp_path / "ds/checkpoint-300/pytorch_model_fsdp_0").mkdir(parents=True)
    for name, rungs, skipped in (("bracket-path/br", 2, 0), ("bracket-path/br2", 2, 0), ("skipped-fsdp/ds", 2, 1)):
        study = Study.parse(yaml.safe_load((faults / f"{name}.yaml").read_text()))
        assert len(study.checkpoints.rungs()) == rungs
        assert len(plan(study).skipped) == skipped
    for state in ("null_rate", "truncated"):
        shutil.copytree(model, tmp_path / state / "checkpoint-100")
        shutil.copy(
            faults / "damaged-trainer-state" / f"trainer_state_{state}.json", tmp_path / state / "checkpoint-100/trainer_state.json"
        )
        form = {
            "checkpoints": {"folders": f"{state}/*", "batch_tokens": 1000},
            "measures": {"generic": {"loss": {"data": "stories.jsonl"}}},
        }
        planned = plan(Study.parse({**form, "changes": [{"quantize": {"bits": 3, "group": 4}}]}))
        assert planned.rungs[0].checkpoint.tokens == 100_000
        assert ["trainer_state.json" in line for line in planned.remarks] == [True]
        assert "groups of 64 do not divide rows of 172" in refused(form, {"quantize": {"bits": 3, "group": 64}})
