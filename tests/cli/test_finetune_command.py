"""`pliant finetune`, as its users type it."""

import json

import pytest

from pliant.changes import Finetune
from pliant.data import load_tokenizer
from pliant.models import build, load, save


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    save(build("llama-16x2", load_tokenizer("ascii"), 0, context=48), tmp_path / "model")
    records = [{"question": f"{n} + {n}?", "answer": f"{2 * n}."} for n in range(40)]
    (tmp_path / "sums.jsonl").write_text("\n".join(map(json.dumps, records)))
    return ["finetune", "--model", tmp_path / "model", "--data", tmp_path / "sums.jsonl", "--part", "all", "--steps", 3, "--lr", "1e-2"]


def test_a_dry_run_says_what_the_data_is(places, pliant):
    code, out, _ = pliant(*places, "--dry-run")
    assert code == 0
    assert "a table of question and answer; answers are learned, nothing else" in out
    assert "40 examples" in out
    told = json.loads(pliant(*places, "--dry-run", "--json")[1])
    assert (told["objective"], told["counts"]["examples"], told["counts"]["left_out"], told["steps"]) == ("answers", 40, 0, 3)


@pytest.mark.parametrize("method", [[], ["--method", "lora", "--rank", 2], ["--method", "lora: {rank: 2}"]])
def test_the_result_is_a_model(places, pliant, tmp_path, method):
    code, out, _ = pliant(*places, *method, "-o", tmp_path / "out", "--json")
    told = json.loads(out)
    assert (code, told["out"]) == (0, str(tmp_path / "out"))
    assert load(tmp_path / "out").weights() == told["weights"] != load(tmp_path / "model").weights()
    assert [form["kind"] for form in told["change"]["methods"]] == (["lora"] if method else [])


def test_an_adapter_is_the_same_update_kept_apart(places, pliant, tmp_path):
    lora = ["--method", "lora", "--rank", 2, "--rank-stabilised"]
    assert pliant(*places, *lora, "-o", tmp_path / "merged")[0] == pliant(*places, *lora, "--adapter", "-o", tmp_path / "adapter")[0] == 0
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == ["adapter_config.json", "adapter_model.safetensors"]
    merged, apart = (dict(load(tmp_path / name).network.named_parameters()) for name in ("merged", "adapter"))
    assert all((merged[name] - apart[name]).abs().max() < 1e-6 for name in merged)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--method", "lora", "--rnk", "2", "-o", "out"], "no such option: --rnk; did you mean 'rank'?"),
        (["--method", "lra", "-o", "out"], "unknown method 'lra'; did you mean 'lora'?"),
        (["--adapter", "-o", "out"], "no method here keeps an update apart"),
        ([], "give a new folder for the result with -o"),
        (["--rank", "2", "-o", "out"], "no such option: --rank"),
        (
            ["--method", "lora", "--method", "bi_drop", "--dropout", "0.1", "-o", "out"],
            "--dropout: lora and bi_drop both have this field; give --lora-dropout or --bi-drop-dropout",
        ),
        (["--method", "sam", "--rho", "1e30", "-o", "out"], "lower the learning rate, or sam's rho (1e+30)"),
        (["--method", "lora", "--modules", "q_prj", "-o", "out"], "lora: no linear layer is called 'q_prj'; did you mean 'q_proj'?"),
    ],
)
def test_what_can_be_put_right_is_one_line(places, pliant, tmp_path, monkeypatch, options, message):
    monkeypatch.chdir(tmp_path)
    code, out, told = pliant(*places, *options)
    assert (code, out) == (2, "")
    assert message in told.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_an_option_of_several_methods_is_given_with_a_name(places, pliant):
    options = ["--method", "lora", "--lora-dropout", "0.1", "--rank", "2", "--method", "bi_drop", "--bi-drop-dropout", "0.2"]
    told = json.loads(pliant(*places, *options, "--dry-run", "--json")[1])
    lora, bi_drop = told["change"]["methods"]
    assert (lora["dropout"], lora["rank"], bi_drop["dropout"]) == (0.1, 2, 0.2)


def test_an_option_of_the_run_that_a_method_has_too_stays_the_runs_and_is_said(places, pliant):
    code, out, told = pliant(*places, "--method", "ema", "--decay", "0.3", "--dry-run", "--json")
    change = json.loads(out)["change"]
    assert (code, change["decay"], change["methods"][0]["decay"]) == (0, 0.3, 0.99)
    assert "--decay is the run's own; that of ema is --ema-decay" in told


def test_a_killed_run_goes_on_where_it_was(places, pliant, tmp_path):
    """A state on the way, as a killed run leaves it: the same command ends with the weights of a run that was never interrupted."""
    whole = json.loads(pliant(*places, "-o", tmp_path / "whole", "--json")[1])
    Finetune(data=str(tmp_path / "sums.jsonl"), part="all", steps=3, lr=1e-2).tune(
        load(tmp_path / "model"), 0, tmp_path / "out.unfinished", until=2, quiet=True
    )
    code, out, told = pliant(*places, "-o", tmp_path / "out", "--json")
    assert (code, json.loads(out)["weights"]) == (0, whole["weights"])
    assert "goes on from step 2" in told
    assert not (tmp_path / "out.unfinished").exists()
    assert not (tmp_path / "whole.unfinished").exists()


def test_a_state_of_other_arguments_is_one_line(places, pliant, tmp_path):
    Finetune(data=str(tmp_path / "sums.jsonl"), part="all", steps=3, lr=1e-3).tune(
        load(tmp_path / "model"), 0, tmp_path / "out.unfinished", until=2, quiet=True
    )
    code, _, told = pliant(*places, "-o", tmp_path / "out")
    assert code == 2
    assert "is of another run" in told.splitlines()[-1]
    assert "remove it to start afresh" in told.splitlines()[-1]


def test_bad_records_are_left_out_where_that_is_said(places, pliant, tmp_path):
    with (tmp_path / "sums.jsonl").open("a") as stream:
        stream.write('\n{"question": "1 + 1?", "answer": ""}')
    code, _, err = pliant(*places, "--dry-run")
    assert (code, len(err.strip().splitlines())) == (2, 1)
    code, out, _ = pliant(*places, "--dry-run", "--skip-bad")
    assert code == 0
    assert "1 skipped" in out
    asked = [f"{{source: {part}, skip_bad: true}}" if part == tmp_path / "sums.jsonl" else part for part in places]
    assert pliant(*asked, "--dry-run")[:2] == (0, out), "the same said in the source"
