"""The plan: content decides what is a cell, and what need not be measured again."""

import shutil

import pytest
from awkward import Norm

from pliant import PliantError
from pliant.study.planning import described, plan
from pliant.study.running import run
from pliant.study.sizing import workers_for
from pliant.study.study import Study


def names(form, ledger=None):
    return {cell.name for cell in plan(Study.parse(form), ledger).cells}


def keys(form):
    return plan(Study.parse(form)).keys


def test_what_no_seed_alters_is_one_cell(form):
    cells = plan(Study.parse(form)).cells
    kinds = [(cell.rung, cell.change.kind, cell.seed) for cell in cells]
    assert len(cells) == 2 * (1 + 2 * 2 + 1)  # checkpoints x (none, two noises with two seeds, quantize)
    assert sorted(seed for rung, kind, seed in kinds if kind == "perturb" and rung == 0) == [0, 0, 1, 1]
    assert [seed for _, kind, seed in kinds if kind != "perturb"] == [0] * 4


def test_what_is_trained_here_depends_on_every_seed(trained):
    cells = plan(Study.parse(trained)).cells
    assert len(cells) == 2 * 2 * 3  # budgets x seeds x (none, finetune, chain)
    assert {cell.seed for cell in cells if cell.change.kind == "none"} == {0, 1}


def test_another_seed_adds_cells_and_keeps_the_others(form):
    assert names(form | {"seeds": [0]}) < names(form)


def test_split_noise_costs_two_readings_whatever_its_draws(form):
    def cost(**fields):
        (cell, *_) = plan(Study.parse(form | {"changes": [{"perturb": {"scale": 0.1, **fields}}], "seeds": 0})).cells[1:]
        assert cell.change.kind == "perturb"
        return cell.cost.flops

    assert cost(draws=16) == 8 * cost(draws=2) > 0
    assert cost(draws=16, split=True) == cost(draws=8, split=True) == cost(draws=2)


def test_order_and_repetition_change_nothing(form):
    again = form | {"changes": [*reversed(form["changes"]), "none", {"quantize": {"bits": [3]}}], "seeds": [1, 0, 1]}
    assert keys(again) == keys(form)


def test_every_part_of_the_meaning_is_in_the_keys(form, text, tmp_path):
    other = tmp_path / "other.jsonl"
    other.write_text(text.read_text().replace("forgets", "keeps"))
    loss = form["measures"]["generic"]["loss"]
    variants = [
        form | {"name": "another"},
        form | {"changes": [{"perturb": {"scale": [0.3, 0.4], "draws": 2}}, {"quantize": {"bits": 4}}]},
        form | {"measures": {"other": {"loss": loss}}},
        form | {"measures": {"generic": {"loss": loss | {"samples": 9}}}},
        form | {"measures": {"generic": {"loss": loss | {"data": str(other)}}}},
        form | {"seeds": [2, 3]},
    ]
    unchanged = {cell.name for cell in plan(Study.parse(form)).cells if cell.change.kind == "none"}
    for variant in variants:
        assert keys(variant) != keys(form)
    assert unchanged < names(variants[-1])  # the seed is part of the meaning only where something is random


def test_text_that_changes_under_its_name_is_other_data(form, text, tmp_path):
    copy = tmp_path / "text.jsonl"
    shutil.copy(text, copy)
    study = Study.parse(form | {"changes": [{"finetune": {"data": str(copy), "lr": 1e-3}}]})
    before = described(study.changes[1])
    copy.write_text(text.read_text() + '\n{"text": "one more document of the text"}')
    assert described(study.changes[1]) != before


def test_equal_weights_under_two_names_are_measured_once(form, folders, tmp_path):
    for name in ("step1-tokens1M", "copy-of-it"):
        shutil.copytree(folders / "step1-tokens1M", tmp_path / name)
    both = form | {"checkpoints": [str(tmp_path / "step1-tokens1M"), str(tmp_path / "copy-of-it")]}
    assert names(both) == names(form | {"checkpoints": [str(tmp_path / "step1-tokens1M")]})
    (line,) = plan(Study.parse(both)).remarks
    assert "same weights" in line


def test_a_damaged_checkpoint_does_not_stop_the_plan(form, folders, tmp_path):
    shutil.copytree(folders, tmp_path / "all")
    (tmp_path / "all" / "step2-tokens2M" / "model.safetensors").write_bytes(b"no weights")
    assert len(plan(Study.parse(form | {"checkpoints": [str(tmp_path / "all" / "step*")]})).cells) == 12


def test_missing_checkpoints_and_data_stop_the_plan(form):
    with pytest.raises(PliantError, match="no such folder"):
        plan(Study.parse(form | {"checkpoints": ["/nonexistent/a"]}))
    missing = {"finetune": {"data": "/nonexistent/text.jsonl", "lr": 1e-3}}
    with pytest.raises(PliantError, match="nonexistent"):
        plan(Study.parse(form | {"changes": [missing]}))


def test_a_measure_added_later_is_all_that_is_left(form, tmp_path):
    form |= {"changes": [{"quantize": {"bits": 3}}], "seeds": 0}
    ledger = run(form, tmp_path / "ledger", workers=0).ledger
    assert plan(Study.parse(form), ledger).cells == []
    form["measures"]["norm"] = Norm()
    waiting = plan(Study.parse(form), ledger)
    assert [list(cell.measures) for cell in waiting.cells] == [["norm"]] * 4
    assert waiting.finished == 0
    before = {row["key"]: row["weights"] for row in ledger.records()}
    run(form, ledger, workers=0)
    rows = ledger.records()
    assert len(rows) == 8
    assert {key: weights for key, weights in before.items() if key not in {row["key"] for row in rows}} == {}


def test_costs_grow_with_what_they_count(trained, tmp_path):
    planned = plan(Study.parse(trained))
    cost = {(cell.rung, cell.change.kind): cell.cost.flops for cell in planned.cells}
    assert cost[0, "finetune"] > cost[0, "none"] > 0
    tokens = [rung.checkpoint.tokens for rung in planned.rungs]
    params = planned.rungs[0].checkpoint.params
    assert [opening.flops for opening in planned.opening] == pytest.approx([6 * params * count for count in tokens])
    assert planned.cost.flops == pytest.approx(sum(cost.flops for cost in planned.opening) + sum(cell.cost.flops for cell in planned.cells))


def test_little_work_needs_no_worker_and_large_models_few(form, folders, monkeypatch, tmp_path):
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: range(8), raising=False)
    planned = plan(Study.parse(form))
    assert workers_for(planned, None) == (0, 1)
    monkeypatch.setattr("pliant.study.sizing.SOON", 0.0)
    assert workers_for(planned, None) == (8, 1)
    assert workers_for(planned, None, one_at_a_time=True) == (1, 1)
    assert workers_for(planned, "cuda") == (1, 8)
    monkeypatch.setattr("pliant.study.sizing._free_memory", lambda: 3 * 10**9)
    assert workers_for(planned, None)[0] == 2
    monkeypatch.setattr("pliant.study.sizing.TINY", 0)
    assert workers_for(planned, None) == (2, 4)
