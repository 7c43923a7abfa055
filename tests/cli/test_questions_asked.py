"""A study's questions: `pliant run` answers them, the report shows them, and `pliant decide` gives the same answers."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import pytest
import yaml
from pydantic import Field

from pliant.ledger import Ledger
from pliant.study import QUESTIONS, Question


@dataclass(frozen=True)
class Count:
    change: str
    records: int
    enough: bool

    @property
    def name(self):
        return self.change

    @property
    def verdict(self):
        return "enough" if self.enough else "undetermined"

    def sentence(self):
        return f"{self.records} records were kept"

    def json(self):
        return asdict(self)


class Counted(Question):
    """How many records there are of each change.

    A kind of another package: it is in no file of pliant.
    """

    least: int = Field(1, ge=1, description="How many are enough")

    def answer(self, ledger):
        rows = ledger.sql("select change_kind as change, count(*) as n from records group by 1 order by 1").to_pylist()
        return [Count(row["change"], row["n"], row["n"] >= self.least) for row in rows]


@pytest.fixture
def _installed(monkeypatch):
    monkeypatch.setitem(QUESTIONS.specs(), "counted", Counted)


EXPECTED = [{"change": "none", "records": 1, "enough": False}, {"change": "quantize", "records": 1, "enough": False}]


@pytest.mark.usefixtures("_installed")
def test_a_new_kind_is_answered_by_run_report_and_decide(study, tmp_path, pliant):
    form = yaml.safe_load(study.read_text())
    study.write_text(yaml.safe_dump(form | {"questions": [{"counted": {"least": 2}}, "checkpoint"]}))
    ledger = tmp_path / "ledger"
    code, out, _ = pliant("run", study, "--ledger", ledger, "--workers", 0)
    lines = out.splitlines()
    assert code == 0
    assert "How many records there are of each change:" in lines
    assert ["quantize", "undetermined", "1", "records", "were", "kept"] in [line.split() for line in lines]
    (undecided,) = [line for line in lines if line.startswith("Which checkpoint of a ladder is best after each change: ")]
    assert "no change was measured at two checkpoints" in undecided
    code, out, _ = pliant("run", study, "--ledger", ledger, "--workers", 0, "--json")
    counted, checkpoint = json.loads(out)["answers"]
    assert (code, counted) == (0, {"question": {"kind": "counted", "least": 2}, "answers": EXPECTED, "undecided": None})
    assert (checkpoint["question"], checkpoint["answers"]) == ("checkpoint", [])
    assert json.loads(pliant("decide", "counted", "--ledger", ledger, "--least", 2, "--json")[1]) == EXPECTED
    assert "quantize  enough" in pliant("decide", "counted", "--ledger", ledger)[1]
    assert "counted" in pliant("decide", "--help")[1]
    assert "How many are enough" in " ".join(pliant("decide", "counted", "--help")[1].split())
    assert "1 records were kept" in pliant("report", ledger, "--text")[1]
    pliant("report", ledger, "-o", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "How many records there are of each change." in page
    assert page.count("1 records were kept") == 2
    schema = json.loads(pliant("schema")[1])
    assert ["counted"] in [form.get("required") for form in schema["$defs"]["question"]["anyOf"]]


def test_a_report_says_which_question_it_does_not_know(study, tmp_path, pliant):
    ledger = tmp_path / "ledger"
    pliant("run", study, "--ledger", ledger, "--workers", 0)
    opened = Ledger(ledger)
    (form,) = opened.studies()
    opened.remember("small", form | {"questions": [{"counted": {"least": 2}}]}, {row["key"] for row in opened.records()})
    code, out, _ = pliant("report", ledger, "--text")
    assert code == 0
    assert "unknown question 'counted'" in out


def test_a_question_to_a_ledger_needs_one(pliant):
    code, _, errors = pliant("decide", "bits", "--fit", "fit.json", "--measure", "generic")
    assert code == 2
    assert "--measure is a question to a ledger" in errors
