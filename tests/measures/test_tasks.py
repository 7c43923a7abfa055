"""Tasks of lm-eval: a local one against pliant's own measure, and what goes wrong."""

import json

import pytest

from pliant.errors import PliantError
from pliant.measures.tasks import Tasks
from pliant.models import load

TASK = """
task: birds_of_my_own
dataset_path: json
dataset_kwargs: {data_files: {validation: DATA}}
validation_split: validation
output_type: multiple_choice
doc_to_text: "{{context}}"
doc_to_choice: "{{choices}}"
doc_to_target: answer
metric_list:
  - {metric: acc, aggregation: mean, higher_is_better: true}
  - {metric: acc_norm, aggregation: mean, higher_is_better: true}
"""


def test_a_local_task_gives_what_choice_gives(shared_data, tmp_path, monkeypatch):
    pytest.importorskip("lm_eval", reason="extra tasks")
    from pliant.changes import Quantize
    from pliant.measures import Choice

    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "birds.jsonl"
    records = [
        {"context": f"Lily saw {n} birds. She was", "choices": ["happy", "very sad today", "a dog"], "answer": n % 3} for n in range(12)
    ]
    data.write_text("\n".join(map(json.dumps, records)))
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "birds.yaml").write_text(TASK.replace("DATA", str(data)))
    model = load(shared_data / "models" / "stories260K-hf")
    task, choice = Tasks(task="birds_of_my_own", include=str(tmp_path / "tasks")), Choice(data=str(data))
    with Quantize(bits=3).applied(model) as changed:
        after = task.readings(changed)[0]
    found, ours = {reading.metric: reading for reading in task.readings(model)}, {r.metric: r for r in choice.readings(model)}
    assert found["acc"].values.tolist() == ours["accuracy"].values.tolist()
    assert found["acc_norm"].values.tolist() == ours["accuracy_per_character"].values.tolist()
    assert found["acc"].better == "higher"
    assert (after - found["acc"]).estimate().n == 12
    with pytest.raises(PliantError, match="lm-eval knows no task 'birds_of_my_owm'; did you mean 'birds_of_my_own'"):
        Tasks(task="birds_of_my_owm", include=str(tmp_path / "tasks")).readings(model)


def test_without_lm_eval_the_extra_is_named(monkeypatch):
    from pliant.data import load_tokenizer
    from pliant.models import build

    monkeypatch.setattr("pliant.measures.tasks.find_spec", lambda name: None)
    with pytest.raises(PliantError, match=r"pip install 'pliant\[tasks\]'"):
        Tasks(task="gsm8k").readings(build("llama-16x1", load_tokenizer("ascii"), 0))


def test_the_better_way_is_told_by_the_task_or_the_harness_and_never_guessed(capsys):
    pytest.importorskip("lm_eval", reason="extra tasks")
    told = {"mine": {"acc": None, "error_of_mine": False, "odd": None}}
    found = Tasks(task="mine")._better(told, ["acc,none", "error_of_mine", "odd"])
    assert found == {"acc,none": "higher", "error_of_mine": "lower"}
    assert "whether more of odd is better is said neither" in capsys.readouterr().err


def test_only_errors_of_a_network_blame_the_hub():
    from pliant.measures.tasks import _of_the_hub

    inner = ConnectionError("no route")
    outer = ValueError("cannot read")
    outer.__cause__ = inner
    assert _of_the_hub(outer)
    assert not _of_the_hub(KeyError("answer"))


def test_the_data_are_what_was_asked_not_the_tasks_name(monkeypatch):
    pytest.importorskip("lm_eval", reason="extra tasks")
    from pliant.data import load_tokenizer
    from pliant.models import build

    sample = {"doc_hash": "a" * 64, "doc_id": 0, "prompt_hash": "b", "target_hash": "c", "metrics": ["acc"], "acc": 1.0, "filter": "none"}
    model, found = build("llama-16x1", load_tokenizer("ascii"), 0), []
    for other in ({}, {}, {"prompt_hash": "d"}, {"target_hash": "d"}):
        told = {"samples": {"mine": [sample | other]}, "higher_is_better": {"mine": {"acc": True}}}
        monkeypatch.setattr(Tasks, "_told", lambda self, model, told=told: told)
        found.append(Tasks(task="mine").readings(model)[0].data)
    assert found[0] == found[1]
    assert len(set(found)) == 3
