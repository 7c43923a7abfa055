"""A small study, and the command in this process."""

import json
import random
import sys

import pytest
import yaml

from pliant.cli import main


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path_factory.getbasetemp() / "study-cache"))


@pytest.fixture
def study(tmp_path):
    """A study of one untrained checkpoint: as it is, and rounded to 3 bits."""
    from pliant.data import load_tokenizer
    from pliant.models import build, save

    words = ["the", "model", "learns", "a", "little", "more", "each", "day"]
    lines = [json.dumps({"text": " ".join(random.Random(n).choices(words, k=20))}) for n in range(50)]
    (tmp_path / "text.jsonl").write_text("\n".join(lines))
    save(build("llama-16x1", load_tokenizer("ascii"), 0, context=32), tmp_path / "model")
    form = {
        "checkpoints": [str(tmp_path / "model")],
        "changes": [{"quantize": {"bits": 3}}],
        "measures": {"generic": {"loss": {"data": str(tmp_path / "text.jsonl"), "samples": 4}}},
    }
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(form))
    return path


@pytest.fixture
def pliant(monkeypatch, capsys):
    """Runs the command with arguments: exit code, standard output, standard error."""

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["pliant", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        output = capsys.readouterr()
        return ended.value.code or 0, output.out, output.err

    return command
