"""Ladders beside each other."""

import pytest

from pliant import PliantError, decide
from pliant.study import Study, plan, run
from pliant.study.arms import Arms
from pliant.study.ladders import parse_ladder


@pytest.fixture
def ladder(trained):
    return trained["checkpoints"]["ladder"]


def test_a_list_where_one_value_belongs_stands_for_arms(ladder):
    found = parse_ladder({"ladder": ladder | {"methods": [[], [{"qat": {"weights": 4}}]], "lr": [1e-2, 2e-2]}})
    assert isinstance(found, Arms)
    assert len(found.arms) == 4
    assert parse_ladder(found.form()) == found
    assert [arm.form() for arm in found.arms] == [
        parse_ladder({"ladder": ladder | {"methods": methods, "lr": lr}}).form()
        for lr in (1e-2, 2e-2)
        for methods in ([], [{"qat": {"weights": 4}}])
    ]
    one = parse_ladder({"ladder": ladder | {"lr": [1e-2]}})
    assert one == parse_ladder({"ladder": ladder | {"lr": 1e-2}}), "one is no sweep"


def test_names_tell_arms_apart_where_they_do_not_by_themselves(ladder):
    arms = parse_ladder({"ladder": ladder | {"methods": [[], [{"qat": {"weights": 4}}]], "lr": [1e-2, 2e-2], "tokens": "4k"}})
    names = [rung.checkpoint.name for rung in arms.rungs()]
    assert names == [
        "llama-16x1, lr 0.01",
        "llama-16x1-qat(weights=4), lr 0.01",
        "llama-16x1, lr 0.02",
        "llama-16x1-qat(weights=4), lr 0.02",
    ]
    assert len({rung.identity for rung in arms.rungs()}) == 4
    told = parse_ladder({"ladder": ladder | {"methods": [[], [{"qat": {"weights": 4}}]]}})
    assert {rung.checkpoint.name for rung in told.rungs()} == {"llama-16x1", "llama-16x1-qat(weights=4)"}


def test_each_arm_is_a_ladder_of_its_own_in_decisions(ladder, trained, tmp_path):
    form = trained | {"checkpoints": {"ladder": ladder | {"lr": [1e-2, 2e-2]}}, "changes": [], "seeds": [0]}
    assert plan(Study.parse(form)).remarks == []
    runs = run(form, tmp_path, workers=0, quiet=True)
    found = decide.checkpoint(runs)
    assert sorted(one.evidence.family for one in found) == ["llama-16x1, lr 0.01", "llama-16x1, lr 0.02"]
    assert str(found).count("\n\n") == 1
    assert "llama-16x1, lr 0.01\n" in str(found)
    again = plan(Study.parse(form), runs.ledger)
    assert again.cells == []


def test_arms_may_be_of_different_kinds_and_share_a_rung(ladder, folders, trained, text):
    tuned = {"tuned": {"base": str(folders / "step1-tokens1M"), "finetune": {"data": str(text), "lr": [1e-3, 1e-2]}, "steps": [0, 2]}}
    found = parse_ladder({"arms": [tuned, {"folders": str(folders / "step*"), "axis": "steps"}]})
    assert isinstance(found, Arms)
    assert (len(found.arms), found.seeded) == (3, True)
    rungs = found.rungs()
    assert len({rung.identity for rung in rungs}) == 6, "the base of both runs has its place in each"
    assert parse_ladder(found.form()) == found


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"arms": []}, "checkpoints: arms is a list of ladders"),
        ({"arms": "x", "more": 1}, "checkpoints: arms is a list"),
        ({"arms": [{"laddr": 1}]}, "checkpoints.arms, item 1: unknown form 'laddr'"),
        ({"arms": [None]}, "item 1: nothing is given"),
        ({"amrs": []}, "did you mean 'arms'"),
        ({"ladder": {"lr": []}}, "checkpoints.ladder: field 'lr' is an empty list"),
    ],
)
def test_what_is_wrong_is_one_line(form, message):
    with pytest.raises(PliantError, match=message) as caught:
        parse_ladder(form)
    assert len(str(caught.value).splitlines()) == 1


def test_arms_have_one_axis(ladder, folders, text):
    two = {"arms": [{"ladder": ladder}, {"folders": str(folders / "step*"), "axis": "steps"}]}
    study = {"checkpoints": two, "measures": {"generic": {"loss": {"data": str(text)}}}}
    with pytest.raises(PliantError, match="they run over tokens and steps; a study has one axis"):
        plan(Study.parse(study))


def test_a_ladder_of_another_objective_has_budgets_in_steps_or_examples(ladder, tmp_path):
    table = tmp_path / "sums.jsonl"
    table.write_text("\n".join(f'{{"question": "{n} plus {n}", "answer": "{2 * n}"}}' for n in range(40)))
    objective = {"answers": {"data": str(table), "part": "all"}}
    fields = {name: value for name, value in ladder.items() if name not in ("corpus", "tokens")} | {"objective": objective}
    found = parse_ladder({"ladder": fields | {"examples": [8, 16]}})
    rungs = found.rungs(0, tmp_path / "trained")
    assert [(rung.steps, rung.checkpoint.revision) for rung in rungs] == [(2, "step2-seed0"), (4, "step4-seed0")]
    assert found.along([rung.checkpoint for rung in rungs]) == "steps"
    assert parse_ladder(found.form()) == found
    same = parse_ladder({"ladder": fields | {"steps": [4]}}).rungs(0, tmp_path / "trained")
    assert same[0].identity == rungs[1].identity
    with rungs[1].open() as model:
        assert model.checkpoint.steps == 4
    both = parse_ladder({"ladder": fields | {"objective": [objective, {"next_token": {"data": str(table)}}], "steps": 2}})
    names = [rung.checkpoint.name for rung in both.rungs()]
    assert names == ["llama-16x1, objective answers of sums.jsonl", "llama-16x1, objective next_token of sums.jsonl"]
    for wrong in ({"corpus": str(table), "steps": 2}, {}, {"steps": 2, "tokens": 3}, {"steps": [0]}):
        with pytest.raises(PliantError):
            parse_ladder({"ladder": fields | wrong})
