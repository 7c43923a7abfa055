import json

import pytest

from pliant.errors import PliantError
from pliant.models import Checkpoint
from pliant.models.checkpoint import read_facts, write_facts


def test_address_holds_the_revision_when_there_is_one():
    assert Checkpoint(name="lab/tiny", revision="step1000").address == "lab/tiny@step1000"
    assert Checkpoint(name="./run").address == "./run"


def test_facts_survive_the_disk(tmp_path):
    facts = Checkpoint(name="x", tokens="2.3T", peak_lr=1e-2, final_lr=0, schedule="cosine", training_bits=4, seed=3)
    assert facts.tokens == 2_300_000_000_000
    write_facts(facts, tmp_path)
    assert read_facts(tmp_path) == facts


def test_no_file_means_no_facts(tmp_path):
    assert read_facts(tmp_path) is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "not valid JSON"),
        ("[" * 100_000, "nested too deeply"),
        ("[]", "not a file that pliant wrote"),
        (json.dumps({"format": 99, "checkpoint": {"name": "x"}}), "newer version"),
        (json.dumps({"format": 1, "checkpoint": {"name": "x", "tokenz": 1}}), "did you mean 'tokens'"),
        (json.dumps({"format": 1, "checkpoint": {"name": "x", "final_lr": -1}}), "final_lr"),
    ],
)
def test_damaged_facts_are_one_line(tmp_path, content, message):
    (tmp_path / "pliant.json").write_text(content)
    with pytest.raises(PliantError, match=message) as caught:
        read_facts(tmp_path)
    assert "\n" not in str(caught.value)
