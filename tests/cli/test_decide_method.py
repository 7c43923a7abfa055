"""`pliant decide method`, as its users type it."""

import json
import shlex

import pytest

from method_search import write_domains
from pliant.data import load_tokenizer
from pliant.models import build, save


@pytest.fixture
def places(tmp_path, monkeypatch):
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    write_domains(tmp_path)
    save(build("llama-16x1", load_tokenizer("ascii"), 0, context=32), tmp_path / "model")
    told = ["--model", tmp_path / "model", "--data", tmp_path / "sums.jsonl", "--keep", tmp_path / "prose.jsonl", "--samples", 6]
    return ["decide", "method", *told, "--folder", tmp_path / "runs", "--finetune", "{batch: 2, length: 16}"]


def test_an_answer_for_people_and_for_programs_and_the_command_it_names(places, pliant, tmp_path):
    asked = [*places, "--methods", "full, lora: {rank: 2}", "--budget", "200", "--trials", 3, "--seeds", 2, "--lr", "1e-2"]
    code, out, err = pliant(*asked, "--json")
    told = json.loads(out)
    assert code == 0
    # 3 settings for 6 steps, 2 for 6 and 11 more, 2 seeds for 23: 98 an arm; with 24 steps it were 102
    assert "2 arms (full, lora rank 2), 3 settings each, 2 seeds, runs of 23 steps: " in err
    assert {"question", "answer", "learned", "forgotten", "low", "high", "verdict", "arms", "next"} <= set(told)
    assert told["low"] <= told["forgotten"] <= told["high"]
    assert told["trained_steps"] <= 200
    assert {arm["method"] for arm in told["arms"]} == {"full", "lora rank 2"}
    assert told["answer"]["settings"]["steps"] == 23
    for point in told["arms"][0]["path"]:
        assert point["forgotten"]["low"] <= point["forgotten"]["value"] <= point["forgotten"]["high"]
    assert told["arms"][0]["path"][-1]["learned"]["value"] == told["learned"]
    code, out, _ = pliant(*asked, "-o", tmp_path / "page.html")
    assert code == 0
    page = (tmp_path / "page.html").read_text()
    assert "Learning and forgetting" in page
    assert "<svg" in page
    assert "lower is better" in out
    assert out.startswith(f"{told['answer']['method']}, lr ")
    assert f"run: {told['answer']['command']}" in out
    words = shlex.split(told["answer"]["command"].replace("OUT", str(tmp_path / "out")))
    assert pliant(*words[1:])[0] == 0
    assert (tmp_path / "out" / "config.json").is_file()


def test_a_time_is_planned_once(places, pliant):
    asked = [*places, "--methods", "full", "--budget", "10m", "--trials", 1, "--seeds", 1, "--dry-run"]
    code, out, first = pliant(*asked)
    assert (code, out) == (0, "")
    assert "about 10 min at " in first
    again = pliant(*asked)[2]
    assert "as planned for 10 min when the search began" in again
    steps = [text.split("runs of ")[1].split(" steps")[0] for text in (first, again)]
    assert steps[0] == steps[1]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--methods", "lra"], "unknown method 'lra'; did you mean 'lora'"),
        (["--methods", "[full"], "--methods"),
        (["--methods", "full,full"], "full is given twice"),
        (["--budget", "soon"], "give optimizer steps, such as 5000, or a time"),
        (["--budget", "10"], "too small for"),
        (["--budget", "200", "--steps", "20"], "not both"),
        (["--share", "0"], "--share 0"),
        (["--margin", "-1"], "--margin -1"),
        (["--lr", "nan"], "nan"),
        (["--finetune", "{lr: 3}"], "lr has an option of its own, --lr"),
        (["--finetune", "[3]"], "give fields"),
        (["--finetune", "{bach: 3}"], "batch"),
        (["--keep", "nowhere.txt"], "--keep"),
        (["--objective", "label"], "one of the two"),
        (["--data", "nowhere.jsonl"], "nowhere.jsonl: no such file"),
    ],
)
def test_what_can_be_put_right_is_one_line(places, pliant, options, message):
    code, out, told = pliant(*places, *options)
    assert (code, out) == (2, "")
    assert message in told
    assert "Traceback" not in told
