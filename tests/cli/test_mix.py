"""`pliant mix`: a mixture alone and in a study."""

import json

import pytest
import yaml


@pytest.fixture
def mixture(tmp_path):
    for letter in "ab":
        (tmp_path / f"{letter}.jsonl").write_text("\n".join(json.dumps({"text": letter * (30 + number)}) for number in range(60)))
    pools = {"web": str(tmp_path / "a.jsonl"), "code": {"source": str(tmp_path / "b.jsonl"), "epochs": 4}}
    return {"mixture": pools, "phases": [{"until": "75%", "weights": {"web": "80%", "code": 0.2}}, {"weights": {"code": 1}}]}


def test_alone_and_in_a_study_it_comes_to_the_same(pliant, mixture, tmp_path):
    (tmp_path / "mix.yaml").write_text(yaml.safe_dump({"corpus": mixture}))
    code, printed, err = pliant("mix", tmp_path / "mix.yaml", "--tokens", "12.8k", "--tokenizer", "ascii", "--length", 16, "--json")
    assert code == 0, err
    (alone,) = json.loads(printed)
    assert alone["sources"]["web"]["planned"] == pytest.approx(0.6 * 12_800)
    assert alone["sources"]["code"]["share"] == pytest.approx(0.4)
    ladder = {"model": {"preset": "llama-16x1", "tokenizer": "ascii", "context": 16}, "tokens": "12.8k", "batch": 4, "corpus": mixture}
    measures = {"generic": {"loss": {"data": mixture["mixture"]["web"]}}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"checkpoints": {"ladder": ladder}, "measures": measures}))
    code, printed, err = pliant("mix", tmp_path / "study.yaml", "--json")
    assert code == 0, err
    (run,) = json.loads(printed)
    assert run | {"run": ""} == alone
    code, printed, err = pliant("mix", tmp_path / "study.yaml")
    assert [line.split()[0] for line in printed.splitlines()[1:]] == ["source", "code", "web"]


def test_what_cannot_be_is_one_line(pliant, study, mixture, tmp_path):
    path = tmp_path / "mix.yaml"
    path.write_text(yaml.safe_dump(mixture))
    for arguments, said in (
        ([path], "give --tokens 16M"),
        ([path, "--tokens", "many"], "'many' is not a count"),
        ([path, "--tokens", "1M", "--tokenizer", "ascii"], "code: 4 epochs of its"),
        ([study], "trains on no mixture"),
        ([study, "--tokens", "1M"], "says its budgets itself"),
        ([tmp_path / "none.yaml"], "none.yaml: no such file"),
    ):
        code, _, err = pliant("mix", *arguments)
        assert code == 2
        assert said in err
        assert "Traceback" not in err
