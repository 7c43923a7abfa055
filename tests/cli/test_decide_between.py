"""`pliant decide between`: what it prints, and how it ends."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """Three recipes at five levels of compute: two are as good, one is worse by a tenth."""
    generator, path = np.random.default_rng(0), tmp_path / "runs.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream)
        writer.writerow(["recipe", "params", "tokens", "nats"])
        for name, gap in (("one", 0.0), ("two", 0.0), ("worse", 0.1)):
            for compute in 1e17 * 4.0 ** np.arange(5):
                size = (compute / 120) ** 0.5
                loss = (1.6 + (compute / 1e17) ** -0.15) * (1 + gap + generator.normal(0, 0.003))
                writer.writerow([name, round(size), round(20 * size), loss])
    return path


def asked(runs: Path, *more: str) -> list[str]:
    return ["decide", "between", str(runs), "--by", "recipe", "--columns", "N=params,D=tokens,loss=nats", *more]


def test_the_answer_as_json(pliant, runs):
    code, out, _ = pliant(*asked(runs, "--at", "compute=1e20", "--where", "recipe <> 'two'", "--json"))
    told = json.loads(out)
    assert code == 0
    assert list(told)[:5] == ["question", "answer", "verdict", "probability", "regret"]
    assert (told["answer"], told["verdict"]) == ("one", "answered")
    assert set(told["ranking"][0]) >= {"group", "value", "low", "high"}
    assert told["method"] in ("law", "ranking", "both")


def test_a_tie_is_said_first_and_then_what_would_settle_it(pliant, runs):
    code, out, err = pliant(*asked(runs, "--at", "compute=1e21"))
    lines = out.splitlines()
    assert (code, err) == (0, "")
    assert "one and two cannot be told apart at compute 1e+21" in lines[0] or "two and one cannot be told apart" in lines[0]
    assert lines[-1].startswith("next: run ")
    assert any(line.startswith("audit: ") for line in lines)


def test_the_same_run_of_each(pliant, runs):
    code, out, _ = pliant(*asked(runs, "--at", "N=1B,D=20B", "--where", "recipe <> 'two'"))
    assert code == 0
    assert out.startswith("one is best at N 1B, D 20B")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--at", "compute=1"], "below the smallest scale"),
        (["--at", "compute=-1e20"], "above zero"),
        (["--at", "compute=nan"], "beyond what a number can be"),
        (["--at", "compute"], "NAME=VALUE"),
        (["--at", "size=1B"], "compute=X"),
        (["--at", "compute=1e20", "--by", "recepie"], "did you mean 'recipe'"),
        (["--at", "compute=1e20", "--where", "recipe = 'one'"], "one group only"),
        (["--at", "compute=1e20", "--where", "recipe = 'none'"], "no row"),
    ],
)
def test_what_cannot_be_answered_ends_with_a_line_and_code_2(pliant, runs, more, message):
    code, out, err = pliant(*asked(runs, *more))
    assert (code, out) == (2, "")
    assert message in err
    assert len(err.strip().splitlines()) <= 2


def test_groups_that_never_differ_are_level(pliant, tmp_path):
    path = tmp_path / "level.csv"
    rows = [f"{name},{size:g},{20 * size:g},{1.6 + (size / 1e7) ** -0.3}" for name in "ab" for size in (1e7, 1e8, 1e9)]
    path.write_text("\n".join(["recipe,N,D,loss", *rows]) + "\n")
    code, out, _ = pliant("decide", "between", path, "--by", "recipe", "--at", "compute=1e21")
    assert code == 0
    assert "it was level with b" in out.splitlines()[0]
    assert "audit: at no larger common scale did groups differ" in out
