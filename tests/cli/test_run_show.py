"""`pliant run` and `pliant show`: what they print, and how they end."""

import json
import re
import shutil
from importlib import import_module

import yaml

from pliant.cli.output import print_table

PROMISED = {"study", "checkpoint", "weights", "params", "params_non_embedding", "tokens", "final_lr", "change", "measure", "metric"}
PROMISED |= {"value", "stderr", "n", "unit", "seed", "status"}


def test_a_study_is_run_and_shown(study, tmp_path, pliant):
    ledger = tmp_path / "ledger"
    code, out, _ = pliant("run", study, "--ledger", ledger, "--workers", 0)
    assert (code, "2 records" in out, str(ledger) in out) == (0, True, True)
    code, out, _ = pliant("show", ledger, "--json")
    records = json.loads(out)
    assert code == 0
    assert sorted(record["change"]["kind"] for record in records) == ["none", "quantize"]
    assert all(set(record) >= PROMISED and record["study"] == "small" and record["status"] == "ok" for record in records)
    code, out, _ = pliant("show", ledger, "--json", "--sql", "select change, sum(n) as windows from records group by all")
    rows = json.loads(out)
    assert sorted((row["change"]["kind"], row["windows"]) for row in rows) == [("none", 4), ("quantize", 4)]
    code, _, errors = pliant("show", ledger, "--sql", "select date '99999-01-01'")  # Python's years have four digits
    assert (code, "varchar" in errors) == (2, True)
    code, out, _ = pliant("show", ledger)
    value = next(record["value"] for record in records if record["change"]["kind"] == "none")
    assert (code, "Quantization: 3 bits" in out, f"{value:.4f}" in out) == (0, True, True)
    code, out, _ = pliant("show", ledger, "--sql", "select measure, n from records limit 1")
    assert out.split() == ["measure", "n", "generic", "4"]
    code, out, _ = pliant("run", study, "--ledger", ledger, "--workers", 0, "--json")
    assert json.loads(out) | {"seconds": 0} == {
        **{"study": "small", "ledger": str(ledger), "records": 2, "failed": 0, "seconds": 0},
        **{"remarks": [], "answers": []},
    }


def test_changes_are_shown_from_weak_to_strong(study, tmp_path, pliant):
    form = yaml.safe_load(study.read_text())
    study.write_text(yaml.safe_dump(form | {"changes": [{"quantize": {"bits": [3, 8, 5]}}]}))
    assert pliant("run", study, "--ledger", tmp_path / "ledger", "--workers", 0)[0] == 0
    _, out, _ = pliant("show", tmp_path / "ledger")
    assert re.findall(r"(\d) bits", out) == ["8", "5", "3"]


def test_a_plan_says_what_a_table_was_taken_for(study, tmp_path, pliant):
    rows = [json.dumps({"question": f"{n} + {n}?", "answer": f"{2 * n}."}) for n in range(40)]
    (tmp_path / "sums.jsonl").write_text("\n".join(rows))
    form = yaml.safe_load(study.read_text())
    study.write_text(yaml.safe_dump(form | {"changes": [{"finetune": {"data": str(tmp_path / "sums.jsonl"), "lr": [1e-3, 1e-2]}}]}))
    _, _, remarks = pliant("run", study, "--ledger", tmp_path / "ledger", "--dry-run")
    assert remarks.count("sums.jsonl: a table of question and answer; answers are learned, nothing else") == 1


def test_records_say_their_axis_and_their_place_on_it(study, tmp_path, pliant):
    form = yaml.safe_load(study.read_text())
    model = tmp_path / "model"
    for step in (300, 100):
        (tmp_path / "run").mkdir(exist_ok=True)
        shutil.copytree(model, tmp_path / "run" / f"checkpoint-{step}")
        (tmp_path / "run" / f"checkpoint-{step}" / "pliant.json").unlink()
        (tmp_path / "run" / f"checkpoint-{step}" / "added_tokens.json").write_text(json.dumps({"made at": step}))  # other content
    study.write_text(yaml.safe_dump(form | {"checkpoints": str(tmp_path / "run"), "questions": ["checkpoint"]}))
    told = "note: tokens unknown: ordered by steps; give batch_tokens for tokens"
    code, out, err = pliant("run", study, "--ledger", tmp_path / "ledger", "--dry-run")
    assert (code, told in err) == (0, True)
    assert [line.split()[2] for line in out.splitlines()[1:4]] == ["steps", "100", "300"]
    assert told in pliant("run", study, "--ledger", tmp_path / "ledger", "--workers", 0)[2]
    records = json.loads(pliant("show", tmp_path / "ledger", "--json")[1])
    assert sorted((record["axis"], record["position"]) for record in records) == [("steps", 100)] * 2 + [("steps", 300)] * 2
    assert "300 steps" in pliant("show", tmp_path / "ledger")[1]
    code, out, _ = pliant("decide", "checkpoint", "--ledger", tmp_path / "ledger")
    assert (code, "steps" in out, "tokens" in out) == (0, True, False)


def test_each_standard_error_stands_beside_what_it_is_of(study, tmp_path, pliant):
    ledger = tmp_path / "ledger"
    pliant("run", study, "--ledger", ledger, "--workers", 0)
    _, out, _ = pliant("show", ledger, "--json", "--sql", "select stderr, n from records where change_kind = 'none'")
    own = json.loads(out)[0]["stderr"]
    _, out, _ = pliant("show", ledger, "--json", "--sql", "select rise, stderr from rises")
    rise = json.loads(out)[0]
    header, unchanged, rounded = pliant("show", ledger)[1].splitlines()[-3:]
    assert re.split(r"  +", header)[-5:] == ["value", "± s.e.", "rise", "± s.e.", "unit"]
    value, first, second = header.index("value"), header.index("± s.e."), header.rindex("± s.e.")
    assert unchanged[value:].split()[1:] == [f"{own:.4f}", "nats/token"]
    assert unchanged[first:].startswith(f"{own:.4f}")
    assert rounded[value:].split()[1:] == [f"{rise['rise']:+.4f}", f"{rise['stderr']:.4f}", "nats/token"]
    assert rounded[second:].startswith(f"{rise['stderr']:.4f}")


def test_nothing_is_cut_or_wrapped_where_no_terminal_is(capsys):
    rows = [["word " * 200, "[bold]"], ["two\nlines", "é" * 300]]
    print_table(["a", "b"], rows, "title")
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines] == ["title", "a", ("word " * 200).strip(), "two lines"]
    assert (lines[2][-6:], lines[3][-300:]) == ("[bold]", "é" * 300)


def test_the_report_is_written_where_it_is_asked_for(study, tmp_path, pliant, monkeypatch):
    monkeypatch.setattr(import_module("pliant.decide.curves.checkpoint"), "decide", lambda ledger: [])  # one checkpoint decides nothing
    ledger, asked = tmp_path / "ledger", tmp_path / "page.html"
    pliant("run", study, "--ledger", ledger, "--workers", 0)
    for arguments in (("--json", "-o", asked), ("--text", "-o", asked), ()):
        code, out, errors = pliant("report", ledger, *arguments)
        assert ("--text" in arguments) == any(line.endswith("rise to the last one (90% interval)") for line in out.splitlines())
        page = asked if arguments else ledger / "report.html"
        assert (code, errors) == (0, f"report: {page}\n")
        assert page.read_text().startswith("<!")
        page.unlink()
    assert pliant("report", ledger, "--json") == (0, "[]\n", "")
    assert not (ledger / "report.html").exists()


def test_a_dry_run_plans_and_leaves_nothing(study, tmp_path, pliant):
    ledger = tmp_path / "ledger"
    code, out, _ = pliant("run", study, "--ledger", ledger, "--dry-run", "--json")
    planned = json.loads(out)
    assert (code, planned["finished"], len(planned["cells"])) == (0, 0, 2)
    assert planned["flops"] == sum(cell["flops"] for cell in planned["cells"]) > 0
    assert not ledger.exists()
    code, out, _ = pliant("run", study, "--ledger", ledger, "--dry-run", "--workers", 3)
    assert "2 to run" in out
    assert "on 3 worker(s)" in out
    pliant("run", study, "--ledger", ledger, "--workers", 0)
    _, out, _ = pliant("run", study, "--ledger", ledger, "--dry-run")
    assert "2 cells are in" in out
    assert "0 to run" in out


def test_a_failed_cell_ends_with_1_and_is_shown(study, tmp_path, pliant):
    form = yaml.safe_load(study.read_text())
    too_much = {"bits": 3, "method": "gptq", "calibration": str(tmp_path / "text.jsonl"), "samples": 10**6}
    study.write_text(yaml.safe_dump(form | {"changes": [{"quantize": too_much}]}))
    code, out, told = pliant("run", study, "--ledger", tmp_path / "ledger", "--workers", 0)
    assert (code, "1 failed" in out) == (1, True)
    code, out, _ = pliant("show", tmp_path / "ledger", "--json")
    failed = [record for record in json.loads(out) if record["status"] == "failed"]
    assert (code, len(failed), failed[0]["value"]) == (0, 1, None)
    change = "Quantization by GPTQ, calibrated on text.jsonl, samples 1M: 3 bits"
    line = f"failed: {failed[0]['checkpoint']}, {change}, generic: {failed[0]['error']}"
    assert line in told
    assert line.replace("generic: ", "generic, ") in pliant("show", tmp_path / "ledger")[2]


def wrong(study, tmp_path):
    """Commands that the user can put right, and a word of what they are told."""
    form = yaml.safe_load(study.read_text())
    (tmp_path / "unknown.yaml").write_text(yaml.safe_dump(form | {"chnges": []}))
    (tmp_path / "broken.yaml").write_text("checkpoints: [")
    (tmp_path / "empty.jsonl").write_text("")
    empty = {"generic": {"loss": {"data": str(tmp_path / "empty.jsonl")}}}
    (tmp_path / "empty.yaml").write_text(yaml.safe_dump(form | {"measures": empty}))
    (tmp_path / "newer").mkdir()
    (tmp_path / "newer" / "ledger.json").write_text('{"version": 99}')
    ledger = tmp_path / "ledger"
    return [
        (("run", tmp_path / "missing.yaml", "--ledger", ledger), "missing.yaml"),
        (("run", tmp_path / "unknown.yaml", "--ledger", ledger), "did you mean 'changes'"),
        (("run", tmp_path / "broken.yaml", "--ledger", ledger), "is not valid YAML"),
        (("run", tmp_path / "empty.yaml", "--ledger", ledger), "empty.jsonl"),
        (("run", study, "--ledger", tmp_path / "newer"), "newer pliant"),
        (("run", study, "--ledger", study), "cannot write"),
        (("run", study, "--ledger", ledger, "--workers", "-3"), "workers"),
        (("show", tmp_path / "newer"), "newer pliant"),
        (("show", tmp_path / "missing"), "no ledger here"),
    ]


def test_what_the_user_can_put_right_ends_with_2_and_one_line(study, tmp_path, pliant):
    for arguments, word in wrong(study, tmp_path):
        code, out, errors = pliant(*arguments)
        assert (code, out, len(errors.splitlines())) == (2, "", 1), (arguments, errors)
        assert word in errors


def test_a_wrong_query_ends_with_2(study, tmp_path, pliant):
    pliant("run", study, "--ledger", tmp_path / "ledger", "--workers", 0)
    code, _, errors = pliant("show", tmp_path / "ledger", "--sql", "select nothing from records")
    assert (code, len(errors.splitlines())) == (2, 1)
    assert "nothing" in errors


def test_ctrl_c_ends_with_130_and_says_where_the_results_are(study, tmp_path, pliant, monkeypatch):
    from pliant.ledger.ledger import Ledger

    real = Ledger.write

    def interrupted(self, records):
        real(self, records)
        raise KeyboardInterrupt

    monkeypatch.setattr(Ledger, "write", interrupted)
    code, out, errors = pliant("run", study, "--ledger", tmp_path / "ledger", "--workers", 0)
    assert (code, out) == (130, "")
    assert str(tmp_path / "ledger") in errors
    assert len(Ledger(tmp_path / "ledger").records()) == 1


def test_what_is_left_out_is_said_wherever_the_plan_is(study, tmp_path, pliant):
    (tmp_path / "model" / "global_step1").mkdir()  # beside whole weights it is no matter
    (tmp_path / "more" / "zero").mkdir(parents=True)
    (tmp_path / "more" / "zero" / "zero_to_fp32.py").write_text("")
    (tmp_path / "model").rename(tmp_path / "more" / "model")
    form = yaml.safe_load(study.read_text())
    study.write_text(yaml.safe_dump(form | {"checkpoints": [str(tmp_path / "more" / "*")]}))
    code, out, err = pliant("run", study, "--ledger", tmp_path / "ledger", "--dry-run")
    assert (code, "more/zero" in err, "DeepSpeed" in err, "zero_to_fp32" in err) == (0, True, True, True)
    planned = json.loads(pliant("run", study, "--ledger", tmp_path / "ledger", "--dry-run", "--json")[1])
    assert list(planned["skipped"]) == [str(tmp_path / "more" / "zero")]
    code, out, err = pliant("run", study, "--ledger", tmp_path / "ledger", "--workers", 0, "--json")
    assert (code, json.loads(out)["remarks"] == planned["remarks"], "more/zero" in err) == (0, True, True)


def test_a_model_in_a_folder_of_any_name_is_measured(study, tmp_path, pliant):
    place = tmp_path / "run[lr=1e-4,bs=8]" / "checkpoint-*"
    place.parent.mkdir()
    (tmp_path / "model").rename(place)
    (place / "trainer_state.json").write_text('{"global_step": 100, "log_hist')
    (place / "pliant.json").unlink()
    code, out, err = pliant("measure", "loss", "--model", place, "--data", tmp_path / "text.jsonl", "--samples", 2, "--json")
    assert (code, json.loads(out)["metric"]) == (0, "loss")
    assert str(place / "trainer_state.json") in err


def test_seeds_are_such_as_ledgers_hold(study, tmp_path, pliant):
    for seed in (-1, 2**63, 10**30):
        for command in (
            ["change", "perturb", "-o", tmp_path / "out"],
            ["measure", "loss", "--data", "x", "--change", "perturb: {scale: 1}"],
        ):
            code, _, err = pliant(
                *command, "--model", tmp_path / "model", *(["--scale", 1] if command[0] == "change" else []), "--seed", seed
            )
            assert (code, "seed" in err) == (2, True)
