import pytest

from pliant.errors import PliantError
from pliant.train import Recipe


def test_a_budget_in_tokens_becomes_whole_steps():
    recipe = Recipe(lr=1e-2, tokens="0.5M")
    assert recipe.tokens_a_step(64) == 32 * 64
    assert recipe.step_count(64) == 244  # 500,000 / 2,048 = 244.1
    assert Recipe(lr=1e-2, tokens=1).step_count(64) == 1
    assert Recipe(lr=1e-2, tokens="1M", batch=4, accumulate=3, length=10).step_count(64) == round(1e6 / 120)
    assert Recipe(lr=1e-2, steps=7).step_count(64) == 7


def test_warm_up_is_a_tenth_and_at_most_a_hundred_steps():
    recipe = Recipe(lr=1e-2, steps=1)
    assert [recipe.warmup_steps(steps) for steps in (1, 9, 244, 1000, 7812)] == [0, 0, 24, 100, 100]
    assert Recipe(lr=1e-2, steps=1, warmup=3).warmup_steps(1000) == 3


def test_the_peak_that_is_reached():
    recipe = Recipe(lr=1e-2, steps=10, warmup=4)
    assert recipe.peak_rate(10) == max(recipe.rate(step, 10) for step in range(10)) == 1e-2
    assert recipe.peak_rate(3) == max(recipe.rate(step, 3) for step in range(3)) == pytest.approx(0.75e-2)


@pytest.mark.parametrize("schedule", ["cosine", "wsd", "constant"])
def test_only_a_constant_rate_makes_a_short_run_the_beginning_of_a_long_one(schedule):
    recipe = Recipe(lr=1e-2, tokens="1M", schedule=schedule, warmup=10)
    assert (recipe.trajectory(100) == recipe.trajectory(200)) == (schedule == "constant")
    same = all(recipe.rate(step, 100) == recipe.rate(step, 200) for step in range(100))
    assert same == (schedule == "constant")


def test_default_warm_up_that_depends_on_the_budget_breaks_the_beginning():
    recipe = Recipe(lr=1e-2, tokens="1M", schedule="constant")
    assert recipe.trajectory(100) != recipe.trajectory(200)
    assert recipe.trajectory(1000) == recipe.trajectory(2000)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"lr": 1e-2}, "tokens or as steps"),
        ({"lr": 1e-2, "steps": 5, "tokens": 5}, "tokens or as steps"),
        ({"steps": 5}, "'lr' is missing"),
        ({"lr": 0, "steps": 5}, "above 0"),
        ({"lr": "fast", "steps": 5}, "lr"),
        ({"lr": 1e-2, "steps": 0}, "at least 1"),
        ({"lr": 1e-2, "steps": 5, "schedule": "linear"}, "schedule"),
        ({"lr": 1e-2, "steps": 5, "lenght": 5}, "did you mean 'length'"),
    ],
)
def test_wrong_fields(fields, message):
    with pytest.raises(PliantError, match=message):
        Recipe(**fields)
