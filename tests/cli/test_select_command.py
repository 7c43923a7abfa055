"""`pliant select` from the command line: text is scored, and the documents of a band come out."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def test_scored_text_is_selected_and_is_a_corpus_again(pliant: Any, study: Path, tmp_path: Path) -> None:
    scores, text, out = tmp_path / "scores.parquet", tmp_path / "text.jsonl", tmp_path / "kept"
    code, _, err = pliant("score", "perplexity", "--model", tmp_path / "model", "--data", text, "--part", "all", "-o", scores)
    assert code == 0, err
    code, printed, err = pliant("select", scores, "--keep", "40%", "--band", "medium", "-o", out, "--json")
    assert code == 0, err
    told = json.loads(printed)
    assert set(told) == {"kept", "of", "tokens_kept", "tokens_of", "by_source"}
    assert (told["kept"], told["of"], told["by_source"]["text.jsonl"]["kept"]) == (20, 50, 20)
    lines = text.read_bytes().splitlines()
    assert set((out / "data" / "text.jsonl").read_bytes().splitlines()) < set(lines)
    assert "20 of 50 scored documents (40.0%)" in (out / "README.md").read_text()
    code, printed, err = pliant("measure", "loss", "--model", tmp_path / "model", "--data", out, "--json")
    assert code == 0, err


def test_wrong_arguments_are_one_line(pliant: Any, tmp_path: Path) -> None:
    for arguments, said in (
        ([tmp_path / "none.parquet", "--keep", "50%", "--band", "low"], "none.parquet: cannot be read"),
        ([tmp_path / "none.parquet", "--keep", "0%", "--band", "low"], "a share is above 0"),
        ([tmp_path / "none.parquet", "--keep", "50%", "--band", "off"], "there are high, medium, low"),
    ):
        code, _, err = pliant("select", *arguments, "-o", tmp_path / "kept")
        assert code == 2
        assert said in err
        assert "Traceback" not in err
