"""What a user gets for input that cannot work: one line that says what and where, and the right exit code."""

import json
import shutil
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version

import numpy as np
import pytest
import yaml
from safetensors.numpy import load_file, save_file

from pliant.data import load_tokenizer
from synthetic_ledger import synthetic_ledger

WEIGHTS = "model.safetensors"


@pytest.fixture
def altered(study):
    """Writes the study again with other fields; returns its path."""

    def write(**fields):
        study.write_text(yaml.safe_dump(yaml.safe_load(study.read_text()) | fields))
        return study

    return write


@pytest.fixture
def asked(pliant, tmp_path):
    """Runs a study that must end with exit code 2 and one line, which is returned."""

    def line(study, *arguments):
        code, out, errors = pliant("run", study, "--ledger", tmp_path / "ledger", "--workers", 0, *arguments)
        assert (code, out, len(errors.splitlines())) == (2, "", 1), errors
        return errors

    return line


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"quantise": {"bits": 4}}, "did you mean 'quantize'?"),
        ({"quantize": {"bit": 4}}, "did you mean 'bits'?"),
        ({"quantize": {}}, "'bits' is missing"),
        ({"quantize": {"bits": [4, 9]}}, "2 to 8 bits"),
        ({"quantize": {"bits": 4, "group": 0}}, "at least one weight"),
        ({"quantize": {"bits": 4, "method": "gptq"}}, "needs `calibration`"),
        ({"finetune": {"data": "builtin:code", "lr": 1e-3, "steps": 0}}, "steps"),
        ({"finetune": {"data": "builtin:code", "lr": 0}}, "lr"),
        ({"perturb": {"scale": float("nan")}}, "scale"),
        ([], "a chain needs at least one change"),
    ],
)
def test_a_change_that_cannot_be_is_named_before_anything_runs(change, words, altered, asked, tmp_path):
    assert words in asked(altered(changes=[change]))
    assert not (tmp_path / "ledger").exists()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"chnges": []}, "did you mean 'changes'?"),
        ({"measures": {"g": {"los": {"data": "builtin:prose"}}}}, "did you mean 'loss'?"),
        ({"measures": {"g": {"loss": {"data": "builtin:pose"}}}}, "did you mean 'prose'?"),
        ({"measures": {"g": {"loss": {"data": "nowhere.txt"}}}}, "nowhere.txt"),
        ({"questions": ["checkpont"]}, "did you mean 'checkpoint'?"),
        ({"checkpoints": ["./nowhere-*"]}, "nowhere-*"),
        ({"name": "../elsewhere"}, "leave out slashes"),
        ({"seeds": ["one"]}, "seeds, item 1: a whole number is needed (got 'one')"),
        ({"seeds": []}, "seeds: give at least one"),
        ({"measures": {}}, "measures: give at least one"),
        ({"checkpoints": []}, "give at least one"),
        ({"checkpoints": None}, "checkpoints: nothing is given"),
        ({"questions": "checkpoint"}, "questions: a list is needed, such as [checkpoint]"),
        ({"name": 5}, "name: text is needed (got 5)"),
        (
            {"changes": [{"quantize": {"bits": 4, "group": "chanel"}}]},
            "group: 'tensor' or 'channel' or a whole number is needed (got 'chanel')",
        ),
    ],
)
def test_a_study_that_cannot_be_is_one_line(fields, words, altered, asked):
    assert words in asked(altered(**fields))


def test_a_key_given_twice_or_an_empty_file_is_named(study, asked):
    study.write_text(study.read_text() + "changes: [none]\n")
    assert "the key 'changes' is given twice" in asked(study)
    study.write_text("")
    assert f"{study}: the file is empty" in asked(study)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("measure", "loss", "--change", "quantize: {bits: [4"), "--change 'quantize: {bits: [4': is not valid YAML"),
        (("measure", "loss", "--change", "quantise: {bits: 4}"), "did you mean 'quantize'?"),
        (("decide", "bits", "--quantize", "{group: ["), "--quantize '{group: [': is not valid YAML"),
        (("decide", "bits", "--quantize", "{grup: 8}"), "did you mean 'group'?"),
        (("decide", "bits", "--quantize", "5"), "--quantize: a mapping of fields is needed (got 5)"),
        (("measure", "loss", "--change", "quantize: {bits: 3, bits: 4}"), "the key 'bits' is given twice"),
        (("measure", "loss", "--samples", "three"), "samples: 'three' is not a count"),
    ],
)
def test_yaml_on_the_command_line_is_checked_as_in_a_file(command, words, pliant, study, tmp_path):
    code, out, errors = pliant(*command, "--model", tmp_path / "model", "--data", tmp_path / "text.jsonl")
    assert (code, out, len(errors.splitlines())) == (2, "", 1), errors
    assert words in errors


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("measure", "loss", "--data", "nowhere.txt"), "nowhere.txt"),
        (("measure", "loss", "--data", ""), "loss: data: nothing is given"),
        (("measure", "loss", "--data", "{folder}/text.jsonl", "--change", "finetune: {data: nowhere.txt, lr: 1e-3}"), "nowhere.txt"),
        (("decide", "bits", "--data", "nowhere.txt"), "nowhere.txt"),
        (("change", "finetune", "--data", "nowhere.txt", "--lr", "1e-3", "-o", "out"), "nowhere.txt"),
        (("quantize", "--bits", "4", "--method", "gptq", "--calibration", "nowhere.txt", "-o", "out"), "nowhere.txt"),
        (("change", "chain", "--links", "[{quantize: {bits: 4}}", "-o", "out"), "--links '[{quantize: {bits: 4}}': is not valid YAML"),
    ],
)
def test_what_is_wrong_with_the_text_is_said_before_the_model_loads(command, words, study, pliant, monkeypatch):
    def load(*_, **__):
        raise AssertionError("loaded")

    monkeypatch.setattr(import_module("pliant.models"), "load", load)
    code, out, errors = pliant(*(word.replace("{folder}", str(study.parent)) for word in command), "--model", "m")
    assert (code, out, len(errors.splitlines())) == (2, "", 1), errors
    assert words in errors


def damaged(folder, how):
    """Spoils the model in `folder`."""
    weights = folder / WEIGHTS
    tensors = load_file(weights)
    name = next(name for name in tensors if name.endswith("up_proj.weight"))
    if how == "truncated":
        weights.write_bytes(weights.read_bytes()[:-100])
    elif how == "pickled":
        weights.rename(folder / "pytorch_model.bin")
    elif how == "other vocabulary":
        load_tokenizer("bytes").save(folder)
    else:
        tensors[name][0, 0] = np.float32(how)
        save_file(tensors, weights, metadata={"format": "pt"})


DAMAGES = {
    "truncated": "truncated",
    "pickled": "pickled (pytorch_model.bin)",
    "other vocabulary": "do not belong together",
    "nan": "not a finite number",
    "inf": "not a finite number",
}


@pytest.mark.parametrize("how", DAMAGES)
def test_a_damaged_model_is_a_row_with_its_error_and_the_others_go_on(how, altered, pliant, tmp_path):
    good = tmp_path / "model"
    bad = shutil.copytree(good, tmp_path / "bad")
    damaged(bad, how)
    code, _, errors = pliant("measure", "loss", "--model", bad, "--data", tmp_path / "text.jsonl")
    assert (code, len(errors.splitlines())) == (2, 1)
    assert DAMAGES[how] in errors
    run = ("run", altered(checkpoints=[str(bad)], changes=["none"]), "--ledger", tmp_path / "alone", "--workers", 0)
    code, _, errors = pliant(*run)
    assert (code, DAMAGES[how] in errors) == (2, True)  # nothing could be measured
    run = ("run", altered(checkpoints=[str(bad), str(good)]), "--ledger", tmp_path / "both", "--workers", 0)
    code, _, errors = pliant(*run)
    assert (code, DAMAGES[how] in errors) == (1, True)
    rows = json.loads(pliant("show", tmp_path / "both", "--json")[1])
    assert {(row["checkpoint"], row["status"]) for row in rows} == {(str(bad), "failed"), (str(good), "ok")}


def test_a_damaged_ledger_is_one_line_for_every_reader(study, pliant, tmp_path):
    ledger = tmp_path / "ledger"
    run = ("run", study, "--ledger", ledger, "--workers", 0)
    pliant(*run)
    shard = next((ledger / "records").glob("*.parquet"))
    shard.write_bytes(b"PAR1 and then nothing of a Parquet file")
    readers = [
        ("show", ledger),
        ("show", ledger, "--json"),
        ("show", ledger, "--sql", "select 1"),
        ("decide", "checkpoint", "--ledger", ledger),
    ]
    readers += [("report", ledger, "-o", tmp_path / "r.html"), run, (*run, "--dry-run"), ("fit", "chinchilla", ledger)]
    for name in (shard.name, "merged-0000.parquet", "0123456789abcdef.parquet"):
        shard = shard.rename(shard.with_name(name))
        for arguments in readers:
            code, out, errors = pliant(*arguments)
            assert (code, out, len(errors.splitlines())) == (2, "", 1), (arguments, errors)
            assert f"{shard}: is damaged" in errors
            assert "move it away and run the study again" in errors
        code, out, _ = pliant("check", ledger)
        assert (code, f"records/{name}" in out, "1 damaged" in out) == (1, True, True)
    shard.rename(tmp_path / "away")
    assert pliant(*run)[0] == 0  # what was in it is measured again
    assert len(json.loads(pliant("show", ledger, "--json")[1])) == 2
    assert pliant("check", ledger)[0] == 0


def test_a_place_that_cannot_be_written_is_one_line(study, pliant, tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "below"):
        code, _, errors = pliant("run", study, "--ledger", place)
        assert (code, len(errors.splitlines())) == (2, 1)
        assert f"cannot write {place}" in errors


def test_the_answer_names_changes_and_ladders_as_people_do(tmp_path, pliant):
    synthetic_ledger(tmp_path, seeds=[0])
    _, out, _ = pliant("decide", "checkpoint", "--ledger", tmp_path)
    assert "Quantization: 3 bits" in out
    assert "parameters" not in out
    synthetic_ledger(tmp_path, seeds=[0], params=30_880, name="llama-32x2")
    _, out, _ = pliant("decide", "checkpoint", "--ledger", tmp_path)
    assert out.count("30.9k parameters") == 1


def commands(group, words=()):
    """Every command and group of commands, by the words that call it."""
    yield words
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*words, name))


def test_the_help_of_every_command_has_an_example(pliant):
    from typer.main import get_command

    from pliant import cli

    pliant("--help")  # registers the commands
    calls = list(commands(get_command(cli.app)))
    assert ("decide", "checkpoint") in calls
    for words in calls:
        code, out, _ = pliant(*words, "--help")
        assert (code, f"pliant {' '.join(words)}".strip() in out, "Example" in out) == (0, True, True), words


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["run", "--bogus"], ["No such option: --bogus. See pliant run --help."]),
        (["runn"], ["Did you mean 'run'"]),
        (["run"], ["'STUDY'", "See pliant run --help."]),
        (["change", "perturb", "--model", "x"], ["--out", "See pliant change perturb --help."]),
        (["report", "x", "-o"], ["-o"]),
    ],
)
def test_a_command_that_is_written_wrongly_gets_one_line(pliant, arguments, words):
    code, out, errors = pliant(*arguments)
    assert (code, out, len(errors.splitlines())) == (2, "", 1)
    assert all(word in errors for word in words), errors


@pytest.mark.parametrize("arguments", [[], ["decide"], ["change"]])
def test_a_command_alone_shows_its_help(pliant, arguments):
    code, out, errors = pliant(*arguments)
    assert (code, errors) == (2, "")
    assert "Usage:" in out


def test_the_version_is_that_of_the_package(pliant):
    assert pliant("--version") == (0, f"pliant {version('pliant')}\n", "")


@pytest.mark.parametrize("where", ["pliant.ledger.ledger.Ledger.__init__", "pliant.cli._register"])
def test_ctrl_c_is_one_line_in_every_command(where, pliant, monkeypatch, tmp_path):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(where, interrupted)
    assert pliant("show", tmp_path) == (130, "", "pliant: interrupted\n")


@pytest.mark.parametrize("arguments", [("schema",), ("--version",), ("--help",)], ids=" ".join)
def test_output_that_nobody_reads_to_its_end_is_no_failure(arguments):
    command = [sys.executable, "-c", "from pliant.cli import main; main()", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert (process.stderr.read(), process.wait()) == (b"", 0)
