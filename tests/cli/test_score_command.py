"""`pliant score`, and digits from the command line: trained, measured, scored, and trained again on what is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pliant.models import build, load, save
from pliant.objectives import Label
from pliant.scores import Scores


@pytest.fixture
def early(tmp_path: Path) -> list[Path]:
    """Two networks for digits that know nothing yet."""
    needs = Label(data="builtin:digits").needs()  # pyright: ignore[reportArgumentType]
    folders = [tmp_path / f"early-{seed}" for seed in range(2)]
    for seed, folder in enumerate(folders):
        save(build("mlp-16x1", seed=seed, images=needs.images, labels=needs.labels), folder)
    return folders


def test_digits_are_learned_scored_and_learned_again_on_the_half_that_is_kept(pliant: Any, early: list[Path], tmp_path: Path) -> None:
    tuned, scores = tmp_path / "tuned", tmp_path / "scores.parquet"
    options = ["--steps", 60, "--lr", "3e-3", "--batch", 32, "--json"]
    code, out, err = pliant("finetune", "--model", early[0], "--data", "builtin:digits", *options, "-o", tuned)
    assert code == 0, err
    told = json.loads(out)
    assert (told["objective"], told["steps"]) == ("label", 60)
    assert load(tuned).labels == tuple("0123456789")

    code, out, err = pliant("measure", "accuracy", "--model", tuned, "--data", "builtin:digits", "--json")
    assert code == 0, err
    readings = {reading["metric"]: reading["results"]["unchanged"] for reading in json.loads(out)}
    assert readings["accuracy"]["value"] > 0.6
    assert readings["accuracy"]["n"] == 184

    models = ["--model", early[0], "--model", early[1]]
    code, out, err = pliant("score", "el2n", *models, "--data", "builtin:digits", "-o", scores, "--json")
    assert code == 0, err
    told = json.loads(out)
    assert (told["examples"], told["unit"], len(told["models"])) == (1613, "1", 2)
    table = Scores.read(scores)
    assert told["quantiles"]["1"] == table.values.max()

    select = f"label: {{data: {{source: builtin:digits, select: {{scores: {scores}, keep: 0.5}}}}}}"
    code, out, err = pliant("finetune", "--model", early[0], "--objective", select, "--dry-run", "--json", *options[:-1])
    assert code == 0, err
    assert json.loads(out)["counts"]["examples"] == round(1613 / 2)


def test_documents_are_scored_from_the_command_line(pliant: Any, study: Path, tmp_path: Path) -> None:
    scores, model, text = tmp_path / "scores.parquet", tmp_path / "model", tmp_path / "text.jsonl"
    code, out, err = pliant("score", "perplexity", "--model", model, "--data", text, "--part", "all", "-o", scores)
    assert code == 0, err
    assert out.startswith("50 examples: perplexity ")
    assert f"wrote {scores}" in out
    assert len(Scores.read(scores)) == 50


def test_what_cannot_be_scored_is_one_line(pliant: Any, early: list[Path], tmp_path: Path) -> None:
    out = tmp_path / "scores.parquet"
    whole = ["--model", early[0], "--data", "builtin:digits", "-o", out]
    for arguments, said in (
        ([*whole[:-1], early[0] / "config.json" / "scores.parquet"], "config.json"),
        ([*whole[:-1], tmp_path], "exists already"),
        ([*whole[:3], tmp_path / "missing.npz", *whole[4:]], "no such file or folder"),
        ([*whole[:3], "builtin:digit", *whole[4:]], "builtin:digit"),
        ([*whole, "--part", "some"], "--part"),
        (["--model", tmp_path / "nowhere", *whole[2:]], "no such folder"),
    ):
        code, _, err = pliant("score", "el2n", *arguments)
        assert code == 2, (arguments, err)
        assert said in err
        assert "Traceback" not in err
        assert not out.exists()
