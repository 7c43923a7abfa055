"""Tuning methods against each other: nothing twice, failures told, equal arms equal, and no worse than trying everything."""

import sys

import numpy as np
import pytest

from method_search import base_of, ground_of, write_domains
from pliant.decide.methods.arm import parse_arms
from pliant.decide.methods.decide import decide
from pliant.decide.methods.ground import Half
from pliant.decide.methods.path import level_of
from pliant.decide.methods.plan import SearchPlan
from pliant.decide.methods.together import one_by_one
from pliant.decide.methods.trial import TuningTrial
from pliant.methods import METHODS, Method
from pliant.train import loop
from pliant.train.factor_stack import FactorStack

RATE = 3e-3
PLAN = SearchPlan(steps=12, trials=4, seeds=2)
SHORT = SearchPlan(steps=8, trials=2, seeds=2)


@pytest.fixture(scope="module")
def domains(tmp_path_factory):
    folder = tmp_path_factory.mktemp("domains")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLIANT_CACHE", str(folder / "cache"))
        write_domains(folder)
        yield folder, base_of(folder)


@pytest.fixture
def ground(domains, tmp_path):
    folder, model = domains
    return ground_of(model, folder, tmp_path / "runs", PLAN.steps)


@pytest.fixture
def steps(monkeypatch):
    """Counts optimizer steps."""
    made = []

    def step(*arguments):
        made.append(1)
        return original(*arguments)

    def together(stack, rates):
        made.extend(1 for _ in rates)
        return several(stack, rates)

    original, several = loop._step, FactorStack.step
    monkeypatch.setattr(loop, "_step", step)
    monkeypatch.setattr(FactorStack, "step", together)
    return made


class Wild(Method):
    """Throws weights about from its second step on, when told so."""

    strength_field = "wild"
    strengths = (False, True)
    wild: bool

    def after_step(self, run, state):
        if self.wild and run.step:
            for p in run.parameters().values():
                p.data.mul_(1e20)


def test_a_killed_search_goes_on_and_nothing_is_trained_twice(ground, steps, monkeypatch):
    arms = parse_arms(["full", {"lora": {"rank": [2, 4]}}])
    weights = ground.model.weights()
    read, reads = Half.read, []

    def killed(half, model):
        reads.append(1)
        if len(reads) in (3, 20):
            raise KeyboardInterrupt
        return read(half, model)

    monkeypatch.setattr(Half, "read", killed)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            decide(ground, arms, PLAN, RATE, keep="prose")
    found = decide(ground, arms, PLAN, RATE, keep="prose").json()
    assert len(steps) == 2 * PLAN.arm_steps == found["trained_steps"]
    assert decide(ground, arms, PLAN, RATE, keep="prose").json() == found
    assert len(steps) == 2 * PLAN.arm_steps
    assert ground.model.weights() == weights
    assert not list(ground.folder.glob("*/unfinished"))
    more = decide(ground, arms, SearchPlan(12, 4, 3), RATE, keep="prose")
    assert len(steps) <= 2 * PLAN.arm_steps + 2 * 12, "a further seed is all that is trained"
    assert more.seeds == 3


def test_what_diverges_or_cannot_be_applied_is_told_and_the_others_go_on(ground, monkeypatch):
    monkeypatch.setitem(METHODS.entries(), "wild", Wild)
    weights = ground.model.weights()
    tokenised, pack = list[str](), sys.modules["pliant.data.packed"]._pack
    monkeypatch.setattr(sys.modules["pliant.data.packed"], "_pack", lambda *told: tokenised.append(f"{told[0]} {told[2]}") or pack(*told))
    monkeypatch.setattr(sys.modules["pliant.models.load"], "load", lambda *_, **__: pytest.fail("the base is loaded once, before"))
    arms = parse_arms({"full": "full", "wild": "wild", "all wild": {"wild": {"wild": True}}, "nowhere": {"lora": {"modules": "nope"}}})
    found = decide(ground, arms, PLAN, RATE, keep="prose")
    verdicts = {arm.name: arm for arm in found.arms}
    assert verdicts["nowhere"].verdict == verdicts["all wild"].verdict == "failed"
    assert "no linear layer is called 'nope'" in verdicts["nowhere"].told
    assert len([one for one in verdicts["wild"].tried if "dropped" in one]) == 2
    assert verdicts["wild"].methods == (Wild(wild=False),)
    assert any(caveat.startswith("wild: 2 of 4 settings dropped") for caveat in found.caveats)
    assert found.best is not None
    assert ground.model.weights() == weights, "also after runs that broke off"
    assert len(tokenised) == len(set(tokenised))


def test_where_nothing_runs_or_nothing_learns_there_is_no_answer(ground):
    nothing = decide(ground, parse_arms([{"lora": {"modules": "nope"}}]), SHORT, RATE, keep="prose")
    assert (nothing.best, nothing.verdict) == (None, "undetermined")
    assert nothing.sentence() == "undetermined: no arm could be trained"
    still = decide(ground, parse_arms({"still": {"wise_ft": {"alpha": 0.0}}}), SHORT, RATE, keep="prose")
    assert still.json()["answer"] is None
    assert "no arm lowers the held-out target loss" in still.sentence()


def test_the_same_under_another_name_is_equivalent_and_the_first_stands_for_both(ground):
    """All weights, and all of them with a part of the start that is none: the same weights by another way."""
    arms = parse_arms({"plain": "full", "whole": {"wise_ft": {"alpha": 1.0}}, "half": {"wise_ft": {"alpha": 0.02}}})
    found = decide(ground, arms, PLAN, RATE, keep="prose")
    told = {arm.name: arm for arm in found.arms}
    assert told["whole"].difference.value == pytest.approx(0, abs=1e-6)
    assert (told["plain"].verdict, told["whole"].verdict, told["half"].verdict) == ("recommended", "equivalent", "learns less")
    assert (found.verdict, found.of) == ("equivalent", ["whole"])
    assert found.sentence().endswith("; the others forget more or learn less.")


def test_what_is_chosen_is_as_good_as_the_best_of_everything_tried(ground):
    """Every setting trained to the end with the final seeds: what the choice gives away is small against what is learned."""
    arms = parse_arms(["full", {"sfa": {"beta": [0.1, 0.5]}}])
    found = decide(ground, arms, PLAN, RATE, keep="prose")
    rises = {}
    for arm in arms:
        for lr, methods in arm.settings(PLAN.trials, RATE):
            seeds = [TuningTrial(ground, lr, methods, 1 + seed, ground.judging) for seed in range(2)]
            passed = [trial.path(PLAN.along, lambda _: None) for trial in seeds]
            there = [path.passing(found.level) for path in passed]
            if all(there):
                weights = passed[0].keep_weights / passed[0].keep_weights.sum()
                rises[arm.name, lr] = float(np.mean([one.rises @ weights for one in there]))
    best = found.best
    assert rises[best.name, best.lr] == pytest.approx(best.matched, abs=1e-9)
    assert best.matched - min(rises.values()) <= 0.1 * (found.base - found.level)
    assert found.level >= level_of(found.base, best.least, 0.9) - 1e-9 or len(found.arms) > 1
    assert found.command.startswith(f"pliant finetune --model {ground.address} --data ")
    assert f"--steps {PLAN.steps} --lr {best.lr:g} --batch 4 --length 32" in found.command


def test_two_searches_do_not_share_a_folder_at_once(ground):
    from filelock import FileLock

    from pliant import PliantError

    ground.folder.mkdir(parents=True)
    with FileLock(ground.folder / "lock"), pytest.raises(PliantError, match="another search is at work there"):
        decide(ground, parse_arms(["full"]), PLAN, RATE, keep="prose")


def test_lora_arms_that_share_passes_come_to_what_they_come_to_one_by_one(domains, tmp_path, monkeypatch):
    folder, model = domains
    arms = parse_arms([{"lora": {"rank": [2, 4]}}])
    passes, several = [], FactorStack.step
    monkeypatch.setattr(FactorStack, "step", lambda stack, rates: (passes.append(len(rates)), several(stack, rates)))
    shared = decide(ground_of(model, folder, tmp_path / "shared", 8), arms, SHORT, RATE, keep="prose")
    assert sum(passes) == SHORT.arm_steps, "every step of the arm"
    assert len(passes) == SHORT.steps * 2
    monkeypatch.setattr("pliant.decide.methods.decide.side_by_side", one_by_one)
    alone = decide(ground_of(model, folder, tmp_path / "alone", 8), arms, SHORT, RATE, keep="prose")
    assert len(passes) == SHORT.steps * 2
    for one, other in zip(shared.arms, alone.arms, strict=True):
        assert (one.lr, one.methods, one.verdict) == (other.lr, other.methods, other.verdict)
        assert (one.learned.value, one.forgotten.value) == pytest.approx((other.learned.value, other.forgotten.value), abs=1e-5)
        assert [point["loss"] for point in one.path] == pytest.approx([point["loss"] for point in other.path], abs=1e-5)
