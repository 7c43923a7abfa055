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


def test_no_document_is_missing_without_a_word(pliant: Any, study: Path, tmp_path: Path) -> None:
    """Each is scored, or counted and listed; what is empty or cannot be read is left out where that is asked for."""
    text, out = tmp_path / "mixed.jsonl", tmp_path / "s.parquet"
    told = ["a first text", "a second one", "a first text", "", "x", "a third one"]
    text.write_text("\n".join([*(json.dumps({"text": each}) for each in told), '{"text"']))
    wanted = ["score", "perplexity", "--model", tmp_path / "model", "--data", text, "-o", out]
    code, _, err = pliant(*wanted)
    assert (code, "mixed.jsonl line 7: is not valid JSON" in err) == (2, True)
    text.write_text("\n".join(json.dumps({"text": each}) for each in told))
    code, _, err = pliant(*wanted)
    assert (code, "line 4: holds no text (1 such in all); --skip-bad leaves those out" in err) == (2, True)
    assert not list(tmp_path.glob("s.parquet*"))
    text.write_text("\n".join([*(json.dumps({"text": each}) for each in told), '{"text"']))
    code, printed, err = pliant(*wanted, "--part", "all", "--skip-bad", "--json")
    assert code == 0, err
    said = json.loads(printed)
    assert said["left_out"] == {"repeated": 1, "without_score": 1, "empty": 1, "unreadable": 1, "not_asked": 0, "reference": 0}
    assert said["examples"] + sum(said["left_out"].values()) == len(told) + 1
    listed = [line.split(": ")[0] for line in Path(said["listed"]).read_text().splitlines()]
    assert sorted(listed) == ["empty", "repeated", "unreadable", "without_score"]
    code, printed, err = pliant(*wanted[:-1], tmp_path / "train.parquet", "--skip-bad")
    assert code == 0, err
    assert "1 is of the part that was not asked for (--part all)\n" in printed
    code, printed, err = pliant("select", out, "--keep", "100%", "--band", "low", "-o", tmp_path / "kept")
    assert code == 0, err
    assert "not chosen from: 1 without a score, 1 that repeat others" in printed
    assert len((tmp_path / "kept" / "data" / "mixed.jsonl").read_text().splitlines()) == 3


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
