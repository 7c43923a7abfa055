"""Plans, arms, and comparisons at equal target loss, where the answer is known."""

import numpy as np
import pytest

from pliant import PliantError
from pliant.decide.methods.arm import parse_arms, usual_rate
from pliant.decide.methods.ground import Half
from pliant.decide.methods.path import TunedPath, level_of, promising, ranked
from pliant.decide.methods.plan import SearchPlan, fitting, parse_budget
from pliant.decide.methods.versus import difference, more_seeds, verdict
from pliant.measures import Reading
from pliant.methods import METHODS


def path_of(losses, rises, steps=None):
    targets, lost = (np.repeat(np.asarray(values, float)[:, None], 3, axis=1) for values in (losses, rises))
    return TunedPath(tuple(steps or range(len(losses))), targets, lost, np.ones(3), np.ones(3))


def test_every_arm_has_the_same_budget_and_half_of_the_settings_go_on():
    plan = SearchPlan(200, 8, 3)
    assert plan.rungs == [(50, 8), (100, 4), (200, 2)]
    assert plan.arm_steps == 8 * 50 + 4 * 50 + 2 * 100 + 3 * 200
    assert plan.along == [12, 25, 38, 50, 75, 100, 150, 200]
    assert plan.early == [25, 50, 100, 200]
    assert plan.arm_readings == 8 + 8 + 4 + 2 + 3 * 8
    assert SearchPlan(200, 4, 3).rungs == [(50, 4), (100, 2), (200, 2)]
    assert SearchPlan(8, 1, 1).rungs == [(2, 1), (4, 1), (8, 1)]


@pytest.mark.parametrize("budget", [1_000, 12_345])
def test_a_budget_of_steps_gives_the_longest_runs_that_fit(budget):
    plan = fitting(3, 8, 2, budget)
    longer = SearchPlan(plan.steps + 1, 8, 2)
    assert 3 * plan.arm_steps <= budget < 3 * longer.arm_steps
    timed = fitting(3, 8, 2, budget, 0.5, 2.0)
    assert 3 * (0.5 * timed.arm_steps + 2.0 * timed.arm_readings) <= budget


def test_budgets_are_steps_or_times():
    assert parse_budget("20k") == (20_000, None)
    assert parse_budget("20m") == parse_budget("20min") == (None, 1200)
    assert parse_budget("1.5h") == (None, 5400)
    for wrong in ("", "soon", "0", "-3", "0h", "1e400", "nan"):
        with pytest.raises(PliantError, match="give optimizer steps, such as 5000"):
            parse_budget(wrong)
    with pytest.raises(PliantError, match="too small for 3 arms"):
        fitting(3, 8, 2, 40)


def test_arms_try_rates_around_the_usual_and_strengths_by_turns():
    full, lora = parse_arms(["full", "lora"])
    rates = [lr for lr, _ in full.settings(5, 1e-3)]
    assert rates == [1e-4, 3.2e-4, 1e-3, 3.2e-3, 1e-2]
    tried = lora.settings(5, 1e-3)
    assert [lr for lr, _ in tried] == pytest.approx([METHODS["lora"].rate_factor * rate for rate in rates], rel=0.02)
    assert [methods[0].rank for _, methods in tried] == [4, 16, 64, 4, 16]
    assert (usual_rate(10**6), usual_rate(10**10)) == (1e-3, 1e-5)
    both = parse_arms([["lora", {"sfa": {"beta": 0.5}}], {"lora": {"rank": [2, 3]}}])
    assert [arm.name for arm in both] == ["lora + sfa beta 0.5", "lora rank [2, 3]"]
    assert (len(both[0].choices), len(both[1].choices)) == (3, 2)
    assert [methods[0].rho for methods in parse_arms("sam")[0].choices] == [0.01, 0.05, 0.2]  # where it is named
    names = [arm.name for arm in parse_arms(None)]
    assert names[0] == "full"
    assert {"lora", "sfa", "l2_start"} <= set(names)
    assert not {"sam", "bi_drop", "activation_penalty"} & set(names), "only where they are named"
    assert "ewc" not in names, "its old data is the user's to give"


@pytest.mark.parametrize(
    ("form", "message"),
    [
        (["lra"], "unknown method 'lra'; did you mean 'lora'"),
        (["full", "full"], "full is given twice"),
        ([], "give at least one"),
        ([{"lora": {"rnk": 3}}], "rnk"),
        ([3], "a method is a name"),
    ],
)
def test_arms_that_are_none(form, message):
    with pytest.raises(PliantError, match=message):
        parse_arms(form, "--methods")


def test_a_path_passes_a_loss_between_two_points_on_a_straight_line():
    path = path_of([4.0, 3.0, 2.0, 2.5], [0.0, 0.1, 0.5, 0.9], [0, 10, 20, 30])
    found = path.passing(2.25)
    assert (found.steps, found.slope) == (pytest.approx(17.5), pytest.approx(-0.4))
    assert found.rises == pytest.approx(0.4)
    assert found.targets == pytest.approx(2.25)
    assert path.passing(1.9) is None
    assert path.passing(4.5).rises == pytest.approx(0)
    assert path.least == 2.0


def test_settings_that_learn_enough_are_ordered_by_what_they_forget_there():
    slow, gentle, rough = path_of([4, 3.5], [0, 0.0]), path_of([4, 2.1], [0, 0.2]), path_of([4, 2.0], [0, 0.8])
    assert level_of(4.0, 2.0, 0.9) == pytest.approx(2.2)
    assert ranked([slow, rough, gentle], 0.9) == [2, 1, 0]
    assert ranked([slow, rough, gentle], 0.99) == [1, 2, 0]
    assert ranked([path_of([4, 5], [0, 0]), path_of([4, 4.5], [0, 1])], 0.9) == [1, 0], "where none learns, the least harm to the loss"


def test_gentle_settings_that_will_learn_enough_go_on_beside_the_fastest():
    fast = path_of([4, 2.2, 2.0], [0, 0.9, 1.0], [0, 1, 2])
    gentle = path_of([4, 3.6, 3.0], [0, 0.0, 0.1], [0, 1, 2])
    still = path_of([4, 4.0, 3.9], [0, 0.0, 0.0], [0, 1, 2])
    middle = path_of([4, 3.2, 2.6], [0, 0.05, 0.25], [0, 1, 2])
    assert gentle.foreseen(8) == pytest.approx(3.0 - 2 * 0.6)
    assert fast.foreseen(2) == 2.0
    # at 3.0, which all that will get there have passed: 0.1 of gentle, 0.05 + 0.2 / 3 of middle, 0.5 of fast
    assert promising([gentle, middle, still], 0.5, 8) == [0, 1, 2]
    assert promising([fast, gentle, still, middle], 0.9, 8) == [1, 0, 3, 2]
    assert promising([still, fast], 0.9, 8) == [1, 0]


def half_of(samples):
    reading = Reading("loss", "nats/token", [f"{n}:0" for n in range(samples)], np.zeros(samples), np.ones(samples))
    return Half((lambda _: [], lambda _: []), reading, reading)


def drawn(generator, seeds, samples, truth):
    """Runs of two arms that differ by `truth` at equal target loss; seeds and samples vary, as does what target samples say."""
    from pliant.decide.methods.path import Passing

    target = generator.normal(0, 0.4, samples)
    arms = []
    for mean, slope in ((0.3, -0.2), (0.3 + truth, -0.5)):
        own = generator.normal(0, 0.1, samples)
        seed_means = generator.normal(mean, 0.03, seeds)
        error = float(target.mean())  # these samples say so much too high a target loss
        arms.append(
            [Passing(1.0, target - error, seed + own - slope * -error + generator.normal(0, 0.02, samples), slope) for seed in seed_means]
        )
    return arms


def test_the_interval_of_a_difference_covers_it():
    generator, half = np.random.default_rng(0), half_of(60)
    covered = []
    for _ in range(400):
        ours, theirs = drawn(generator, 4, 60, 0.05)
        found = difference(ours, theirs, half, 0.9)
        covered.append(found.low <= 0.05 <= found.high)
    assert 0.86 <= np.mean(covered) <= 0.97


def test_verdicts_and_how_many_seeds_decide():
    generator, half = np.random.default_rng(1), half_of(400)
    ours, theirs = drawn(generator, 3, 400, 0.0)
    found = difference(ours, theirs, half, 0.9)
    assert verdict(found, 1.0) == "equivalent"
    assert verdict(found, 1e-4) == "undetermined"
    assert more_seeds(found, 0.08) is None or more_seeds(found, 0.08) >= 0
    far = difference(*drawn(generator, 3, 400, 2.0), half, 0.9)
    assert (verdict(far, 0.1), more_seeds(far, 0.1)) == ("worse", 0)
    one = difference(ours[:1], theirs[:1], half, 0.9)
    assert more_seeds(one, 1e-4) is None, "one seed tells nothing of others"
