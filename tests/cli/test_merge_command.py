"""`pliant change merge`, and merges in studies."""

import json
import shutil

import pytest
import yaml


@pytest.fixture
def others(study, tmp_path):
    """Two checkpoints of the study's shape."""
    from pliant.data import load_tokenizer
    from pliant.models import build, save

    for seed, name in enumerate(("one", "two"), 1):
        save(build("llama-16x1", load_tokenizer("ascii"), seed, context=32), tmp_path / name)
    return [tmp_path / "one", tmp_path / "two"]


def test_with_is_given_once_for_each(others, pliant, tmp_path):
    one, two = others
    written = []
    for out, options in (("a", ("--with", one, "--with", two)), ("b", ("--with", f"[{one}, {two}]")), ("c", ("--with", two))):
        common = ("--method", "task-arithmetic", "--weight", 0.5, "-o", tmp_path / out, "--json")
        code, output, errors = pliant("change", "merge", "--model", tmp_path / "model", *options, *common)
        assert code == 0, errors
        written.append(json.loads(output))
    assert written[0]["weights"] == written[1]["weights"] != written[2]["weights"]
    assert (written[0]["tensors"], written[0]["changed"]) == (11, 8)  # fresh networks have the same three norms
    assert [checkpoint["address"] for checkpoint in written[0]["change"]["with"]] == [str(one), str(two)]


def test_what_cannot_be_merged_is_one_line(others, pliant, tmp_path):
    common = ("change", "merge", "--model", tmp_path / "model", "--method", "slerp", "-o", tmp_path / "out")
    for options, words in (
        (("--with", others[0], "--with", others[1], "--weight", 0.5), "not of 2"),
        (("--with", tmp_path / "nowhere", "--weight", 0.5), "nowhere: no such folder"),
        (("--with", others[0]), "field 'weight' is missing"),
        (("--weight", 0.5), "field 'with' is missing"),
    ):
        code, out, errors = pliant(*common, *options)
        assert (code, out, words in errors) == (2, "", True), errors
        assert len(errors.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_merges_of_a_study_are_those_of_files_and_follow_their_content(others, study, pliant, tmp_path):
    form = yaml.safe_load(study.read_text())
    form["changes"] = [{"merge": {"with": list(map(str, others)), "method": "ties", "weight": [0.3, 1.0]}}]
    study.write_text(yaml.safe_dump(form))
    ledger = tmp_path / "ledger"

    def losses() -> list[float]:
        code, _, errors = pliant("run", study, "--ledger", ledger)
        assert code == 0, errors
        _, out, errors = pliant("show", ledger, "--json", "--sql", "select value from records where change_kind = 'merge'")
        return sorted(row["value"] for row in json.loads(out))

    found = losses()
    assert len(found) == len(set(found)) == 2
    assert losses() == found
    options = [option for other in others for option in ("--with", other)]
    pliant("change", "merge", "--model", tmp_path / "model", *options, "--method", "ties", "--weight", 0.3, "-o", tmp_path / "out")
    where = ("--data", tmp_path / "text.jsonl", "--samples", 4, "--json")
    _, out, _ = pliant("measure", "loss", "--model", tmp_path / "out", *where)
    assert next(iter(json.loads(out)["results"].values()))["value"] in [pytest.approx(value, rel=1e-6) for value in found]
    shutil.copytree(others[0], others[1], dirs_exist_ok=True)  # the same address, other weights
    assert not set(losses()) & set(found)
