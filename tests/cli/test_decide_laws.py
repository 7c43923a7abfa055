"""`pliant decide tokens|size|bits|data`: what they print, and how they end."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from pliant.cli import main
from pliant.laws import LAWS, fit, grid, simulate
from pliant.laws.forms.training_bits import PRINTED

KEYS = {"question", "answer", "low", "high", "probability_best", "verdict", "audit", "levers", "evidence", "next"}
BASE = {name: PRINTED[name] for name in ("E", "A", "B", "alpha", "beta")}
EPOCH = 12.8e6
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fits")
    sizes, tokens = (1e7, 3e7, 1e8), np.geomspace(1e9, 5e11, 8)
    rise = LAWS["ptq"].printed["2411.04330, with its offset"]
    tables = {
        "chinchilla": simulate(LAWS["chinchilla"], grid(N=sizes, D=tokens), BASE, 0.003, 0),
        "ptq": simulate(LAWS["ptq"], grid(N=sizes, D=tokens, Ppost=(3, 4, 5)), rise, 0.05, 1),
    }
    for law, table in tables.items():
        fit(law, table, bootstrap=100).save(folder / f"{law}.json")
    fit("chinchilla", tables["chinchilla"], bootstrap=0).save(folder / "bare.json")
    blocks = [
        simulate(
            LAWS["utility"],
            grid(n=EPOCH * np.array([0.25, 0.5, 1, 2, 4, 8]), S=(EPOCH,)),
            {"a": 0.02, "b": b, "tau": tau, "d": 0.1},
            1e-3,
            2,
        )
        for b, tau in ((-0.2, 2.0), (-0.15, 20.0))
    ]
    pools = {name: np.concatenate([block[name] for block in blocks]) for name in blocks[0]} | {"pool": np.repeat(["fast", "lasting"], 6)}
    fit("utility", pools, by={"b": "pool", "tau": "pool"}, fix={"d": 0.1}, bootstrap=100).save(folder / "utility.json")
    return folder


@pytest.fixture
def pliant(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command with arguments: exit code, standard output, standard error."""

    def command(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["pliant", "decide", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        return int(ended.value.code or 0), output.out, output.err

    return command


def test_tokens(pliant: Command, fits: Path) -> None:
    """D_crit of 30M parameters at 4 bits is 2.9e10."""
    code, out, _ = pliant("tokens", "--fit", fits / "chinchilla.json", "--fit", fits / "ptq.json", "--at", "N=30M,Ppost=4", "--json")
    decision = json.loads(out)
    assert code == 0
    assert set(decision) >= KEYS
    assert decision["verdict"] == "answered"
    assert decision["low"] < 2.88e10 < decision["high"]
    assert decision["next"]["law"] in ("chinchilla", "ptq")
    assert 0 < decision["next"]["variance_removed"] < 1


def test_size(pliant: Command, fits: Path) -> None:
    code, out, _ = pliant("size", "--fit", fits / "chinchilla.json", "--compute", "6e19", "--served", "20B", "--json")
    decision = json.loads(out)
    assert code == 0
    spent = 6 * decision["answer"] * decision["evidence"]["tokens"] + 2 * decision["answer"] * 20e9
    assert spent == pytest.approx(6e19, rel=1e-9)


def test_bits(pliant: Command, fits: Path) -> None:
    code, out, err = pliant("bits", "--fit", fits / "ptq.json", "--tolerance", "0.05", "--at", "N=30M,D=26B", "--json")
    assert (code, err) == (0, "")
    assert json.loads(out)["answer"] == 5
    assert max(json.loads(out)["evidence"]["share_under_floor"]) == 1


def test_the_old_name_of_a_flag_does_the_same_and_says_so(pliant: Command, fits: Path) -> None:
    asked = ("bits", "--fit", fits / "ptq.json", "--at", "N=30M,D=26B", "--json")
    (_, now, _), (code, before, note) = pliant(*asked, "--tolerance", "0.05"), pliant(*asked, "--floor", "0.05")
    assert (code, before) == (0, now)
    assert note == "pliant: --floor is now called --tolerance; the old name goes with the next version\n"


def test_data(pliant: Command, fits: Path) -> None:
    answers = []
    for samples in (EPOCH, 32 * EPOCH):
        code, out, _ = pliant("data", "--fit", fits / "utility.json", "--samples", samples, "--json")
        assert code == 0
        answers.append(json.loads(out)["answer"])
    assert answers == [["fast"], ["fast", "lasting"]]


def test_words_for_people(pliant: Command, fits: Path) -> None:
    code, out, _ = pliant("tokens", "--fit", fits / "chinchilla.json", "--fit", fits / "ptq.json", "--at", "N=30M,Ppost=4")
    assert code == 0
    lines = out.splitlines()
    assert lines[0].startswith("how many tokens to pretrain on: answered: the loss after the change is lowest near")
    assert any(line.startswith("  audit  law ptq holds") for line in lines)
    assert any("audited to" in line and "asked within the runs: expected error" in line for line in lines)
    assert any("one more bit after training: loss " in line and line.endswith(" lower") and "nats/token" in line for line in lines)
    assert any("by     law chinchilla + ptq as fitted" in line for line in lines)
    assert any(line.startswith("  next   measure N ") for line in lines)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tokens", "--fit", "chinchilla.json", "--fit", "ptq.json", "--at", "N=30M"), "needs a value of 'Ppost'"),
        (("tokens", "--fit", "chinchilla.json", "--at", "N=30M,Pposst=4"), "'Pposst' is a column of none of these laws"),
        (("tokens", "--fit", "chinchilla.json", "--at", "30M"), "write NAME=VALUE"),
        (("tokens", "--fit", "nowhere.json"), "no such file"),
        (("bits", "--fit", "ptq.json", "--tolerance", "0.1", "--memory", "1e6"), "exactly one of --compute"),
        (("bits", "--fit", "ptq.json", "--tolerance", "0.1", "--floor", "0.1"), "--floor is the old name of --tolerance"),
        (
            ("bits", "--fit", "chinchilla.json", "--memory", "50M"),
            "law chinchilla knows nothing of Ppost; laws that can answer: ptq, qid, precision",
        ),
        (("data", "--fit", "chinchilla.json", "--samples", "1M"), "law chinchilla knows nothing of n, S; laws that can answer: utility"),
        (("data", "--fit", "utility.json"), "give --samples"),
        (("size", "--fit", "utility.json", "--compute", "1e20"), "law utility knows nothing of N, D; laws that can answer: chinchilla"),
        (("size", "--fit", "ptq.json", "--compute", "many"), "is not a count"),
        (("size", "--fit", "bare.json", "--compute", "1e20"), "has no bootstrap samples"),
    ],
)
def test_what_cannot_be_answered_is_one_line(pliant: Command, fits: Path, arguments: tuple[str, ...], message: str) -> None:
    code, out, err = pliant(*(fits / part if part.endswith(".json") else part for part in arguments))
    assert code == 2
    assert out == ""
    assert message in err
    assert "Traceback" not in err


def test_a_question_far_from_the_runs_is_refused(pliant: Command, fits: Path) -> None:
    code, out, _ = pliant("size", "--fit", fits / "chinchilla.json", "--compute", "1e26", "--json")
    decision = json.loads(out)
    assert code == 0
    assert decision["verdict"] == "refused"
    assert decision["answer"] is None
    assert "beyond the measured range" in decision["reason"]
