"""`pliant measure` of what compares a changed model with the unchanged one, and a study of the same."""

import json

import pytest
import yaml


def test_the_command_and_a_study_say_the_same(study, pliant, tmp_path):
    where = ("--model", tmp_path / "model", "--data", tmp_path / "text.jsonl", "--part", "all", "--samples", 4)
    code, out, errors = pliant("measure", "divergence", *where, "--change", "quantize: {bits: 3}", "--json")
    assert code == 0, errors
    told = json.loads(out)
    assert [each["metric"] for each in told] == ["kl", "kl_reverse", "jensen_shannon", "top1_flips"]
    assert {each["results"]["unchanged"]["value"] for each in told} == {0}
    form = yaml.safe_load(study.read_text())
    form["measures"] = {"far": {"divergence": {"data": str(tmp_path / "text.jsonl"), "part": "all", "samples": 4}}}
    study.write_text(yaml.safe_dump(form))
    code, _, errors = pliant("run", study, "--ledger", tmp_path / "ledger", "--workers", 1)
    assert code == 0, errors
    _, out, _ = pliant("show", tmp_path / "ledger", "--json")
    values = {row["metric"]: row["value"] for row in json.loads(out) if row["change_kind"] == "quantize"}
    for each in told:
        assert values[each["metric"]] == pytest.approx(each["results"]["rise"]["value"], rel=1e-6, abs=1e-12)
