"""How many items and runs: what is said to be enough finds the difference as often as it is said to."""

import numpy as np
import pytest

from pliant.comparison.effect import effect
from pliant.comparison.sample_size import more_items
from pliant.comparison.significance import probability
from pliant.decide.items import Spread, decide, needed
from pliant.errors import PliantError


def real(a, b, step):
    n = a.shape[1]
    found = effect(a, b, np.ones(n), np.arange(n), step)
    return probability(found, (b.mean(0) - a.mean(0)) / n) <= 0.1 and (found.low > 0 or found.high < 0)


def right_or_wrong(rng, n, shift, apart):
    """Two systems that differ on `apart` of the items, and by `shift`."""
    moved = rng.choice([1.0, -1.0, 0.0], n, p=[(apart + shift) / 2, (apart - shift) / 2, 1 - apart])
    return (moved < 0)[None].astype(float), (moved > 0)[None].astype(float)


@pytest.mark.parametrize(("shift", "apart"), [(0.05, 0.2), (0.1, 0.2), (0.2, 0.25)])
def test_items_find_a_difference_four_times_in_five_and_the_threshold_is_crossed_by_chance_in_ten(shift, apart):
    rng = np.random.default_rng(0)
    found = needed(Spread(apart - shift**2, None, "", step=1.0), shift, 0.8, 0.1)
    hits = [real(*right_or_wrong(rng, found.items, shift, apart), 1.0) for _ in range(500)]
    assert 0.76 < np.mean(hits) < 0.9
    chance = [abs(np.mean(b - a)) >= found.threshold for a, b in (right_or_wrong(rng, found.items, 0.0, apart) for _ in range(500))]
    assert np.mean(chance) < 0.135


@pytest.mark.parametrize(("shift", "item", "run", "answer"), [(0.1, 0.3, 0.05, 0.3), (0.2, 0.1, 0.15, 0.5)])
def test_every_number_of_runs_that_is_offered_does_as_well(shift, item, run, answer):
    rng = np.random.default_rng(1)
    found = needed(Spread(item**2, 2 * run**2, "", 2 * answer**2), shift, 0.8, 0.1)
    for runs, items in [option for option in found.alternatives if option[0] > 3][:4]:

        def one(extra, runs=runs, items=items):
            return extra + run * rng.standard_normal((runs, 1)) + answer * rng.standard_normal((runs, items))

        hits = [real(one(0.0), one(shift + item * rng.standard_normal(items)), 0.0) for _ in range(400)]
        assert 0.72 < np.mean(hits) < 0.88, (runs, items)


@pytest.mark.parametrize(("won", "lost", "n"), [(9, 3, 60), (20, 12, 200), (5, 0, 25)])
def test_as_many_more_items_as_are_said_decide_four_times_in_five(won, lost, n):
    rng = np.random.default_rng(2)
    moved = np.repeat([1.0, -1.0, 0.0], [won, lost, n - won - lost])
    more = more_items(effect(np.zeros((1, n)), moved[None], np.ones(n), np.arange(n), 1.0), 0.0)
    draws = (rng.permuted(rng.choice(moved, n + more)) for _ in range(400))
    assert 0.72 < np.mean([real(np.zeros((1, n + more)), one[None], 1.0) for one in draws]) < 0.95


def test_as_many_more_items_as_are_said_show_a_tie_four_times_in_five():
    rng = np.random.default_rng(5)
    moved = np.repeat([1.0, -1.0, 0.0], [15, 15, 370])
    more = more_items(effect(np.zeros((1, 400)), moved[None], np.ones(400), np.arange(400), 1.0), 0.02)
    n = 400 + more
    found = [effect(np.zeros((1, n)), rng.choice(moved, n)[None], np.ones(n), np.arange(n), 1.0) for _ in range(400)]
    assert 0.75 < np.mean([one.low >= -0.02 and one.high <= 0.02 for one in found]) < 0.87


def table(path, lines, head="item,system,value"):
    path.write_text(f"{head}\n" + "\n".join(lines) + "\n")
    return str(path)


def test_results_of_whole_runs_ask_for_runs(tmp_path):
    """Runs with standard deviations of 1 and 2: as many as Welch's test takes to see a difference of 2."""
    rng = np.random.default_rng(3)
    lines = [f"{s},{s}{k},{(1 + (s == 'b')) * x}" for s in "ab" for k, x in enumerate(scaled(rng.standard_normal(20)))]
    found = decide([table(tmp_path / "runs.csv", lines, "system,seed,value")], 2.0)
    assert found.items is None
    assert 0 <= found.runs - (1 + 4) * (1.645 + 0.842) ** 2 / 2**2 < 2  # a little more, for Student's quantiles
    assert "items" not in found.sentence()


def scaled(values):
    return (values - values.mean()) / values.std(ddof=1)


@pytest.mark.parametrize(
    ("lines", "size", "said"),
    [
        (["1,a,0", "1,b,1"], 0.1, "single item"),
        (["1,a,0.5", "2,a,0.5"], 0.1, "does not vary"),
        (["1,a,0", "2,a,1"], 2.0, "cannot differ by 2"),
        (["1,a,0", "2,a,1"], float("nan"), "no difference to look for"),
        (["1,a,0", "2,a,1"], float("inf"), "no difference to look for"),
    ],
)
def test_what_tells_nothing_of_spreads_is_refused(tmp_path, lines, size, said):
    with pytest.raises(PliantError, match=said):
        decide([table(tmp_path / "t.csv", lines)], size)


def test_results_in_several_units_ask_which(tmp_path):
    path = tmp_path / "t.csv"
    lines = [f"{n},{s},{m},{n % 7 / 10 + (m == 'loss') * n}" for n in range(20) for s in "ab" for m in ("loss", "acc")]
    lines = [line.replace(",acc,", ",q,acc,").replace(",loss,", ",r,loss,") for line in lines]
    with pytest.raises(PliantError, match="several units"):
        decide([table(path, lines, "item,system,task,metric,value")], 0.1)


def test_more_items_than_there_can_be_are_none():
    found = needed(Spread(0.2, None, ""), 1e-9, 0.8, 0.1)
    assert found.items is None
    assert "no number of items" in found.sentence()


def test_an_answer_that_one_sample_lacks_leaves_its_item_out(tmp_path):
    rng = np.random.default_rng(4)
    lines = [f"{n},{k},{rng.integers(2)}" for n in range(30) for k in range(2) if (n, k) != (3, 1)]
    found = decide([table(tmp_path / "t.csv", lines, "item,sample,value")], 0.1)
    assert (found.items or 0) > 20
