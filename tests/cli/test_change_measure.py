"""`pliant change`, `pliant measure` and `pliant quantize` on a tiny model."""

import json

import pytest


def test_one_changed_model_has_no_draws_to_average(study, pliant, tmp_path):
    _, out, _ = pliant("change", "perturb", "--help")
    assert "--scale" in out
    assert "--draws" not in out
    assert "--split" not in out


def risen(pliant, folder, change):
    """The rise that `pliant measure loss` finds, and what it notes."""
    where = ("--model", folder / "model", "--data", folder / "text.jsonl", "--part", "all")
    code, out, errors = pliant("measure", "loss", *where, "--change", change, "--json")
    assert code == 0, errors
    return json.loads(out)["results"]["rise"]["value"], errors


def test_split_noise_is_measured_under_all_its_draws(study, pliant, tmp_path):
    from pliant.changes import Perturb
    from pliant.measures import Loss
    from pliant.models import load

    split, notes = risen(pliant, tmp_path, "perturb: {scale: 0.1, draws: 8, split: true}")
    assert "note" not in notes
    model, loss = load(str(tmp_path / "model")), Loss(data=str(tmp_path / "text.jsonl"), part="all")
    noise = Perturb(scale=0.1, draws=8, split=True)
    assert split == pytest.approx((noise.measured(model, loss) - loss(model)).estimate().value, abs=1e-9)
    first, notes = risen(pliant, tmp_path, "perturb: {scale: 0.1, draws: 8}")
    assert first != pytest.approx(split, rel=1e-3)
    assert "1 of 8 draws" in notes


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--kv", 4), "at evaluation only"),
        (("--format", "packed", "--scheme", "asymmetric"), "cannot be packed"),
        (("--exceptions", "{'*.nowhere': 4}"), "no tensor is called '*.nowhere'"),
        (("--format", "simulated", "--tensors", "nowhere"), "no weight matrix is called 'nowhere'"),
    ],
)
def test_what_cannot_be_quantized_so_is_one_line_and_leaves_nothing(options, words, study, pliant, tmp_path):
    code, out, errors = pliant("quantize", "--model", tmp_path / "model", "--bits", 4, "-o", tmp_path / "out", *options)
    assert (code, out, words in errors) == (2, "", True), errors
    assert len(errors.splitlines()[-1]) < 400
    assert not (tmp_path / "out").exists()


def test_options_that_a_method_does_not_look_at_are_named(study, pliant, tmp_path):
    folder, given = tmp_path / "model", ("--bits", 4, "--calibration", tmp_path / "text.jsonl", "--act-order")
    code, _, errors = pliant("quantize", "--model", folder, "-o", tmp_path / "out", *given)
    assert (code, errors.splitlines()[0]) == (0, "note: --calibration, --act-order: not looked at with these settings of quantize")
    code, _, errors = pliant("quantize", "--model", folder, "-o", tmp_path / "gptq", *given, "--method", "gptq", "--samples", 4)
    assert (code, "not looked at" in errors) == (0, False)
