"""Which group is better at a scale: the choice, its words, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pliant.decide import between
from pliant.decide.groups.cells import GroupRuns, cells_of
from pliant.decide.groups.record import own_record
from pliant.errors import PliantError

LEVELS = 1e17 * 4.0 ** np.arange(6)
KEYS = ["question", "answer", "verdict", "probability", "regret", "ranking", "method", "audit", "next"]


def table(gaps: dict[str, object], levels=LEVELS, sizes=(0.3, 1.0, 3.0), seeds=(0.0,)) -> dict[str, list]:
    """Runs of three sizes at each level of compute; the middle size is best, and `gaps` multiply a group's losses."""
    rows: dict[str, list] = {name: [] for name in ("recipe", "N", "D", "loss")}
    for name, gap in gaps.items():
        for compute, off in zip(levels, np.broadcast_to(gap, len(levels)), strict=True):
            for size in sizes:
                for seed in seeds:
                    n = size * np.sqrt(compute / 120)
                    loss = (1.5 + (compute / 1e17) ** -0.15 * 2 + 0.05 * np.log(size) ** 2) * (1 + off) * np.exp(seed)
                    for column, value in zip(rows, (name, n, compute / (6 * n), loss), strict=True):
                        rows[column].append(value)
    return rows


def test_the_better_group_at_the_largest_common_scale_is_the_answer():
    found = between(table({"a": 0.0, "b": 0.02, "c": 0.05}), "recipe", {"compute": LEVELS[-1] * 4})
    told = json.loads(json.dumps(found.json(), allow_nan=False))
    assert list(told)[:7] == KEYS[:7]
    assert set(KEYS) <= set(told)
    assert (found.answer, found.verdict, found.method, found.ties) == ("a", "answered", "both", [])
    assert [one.group for one in found.ranking] == ["a", "b", "c"]
    assert found.probability > 0.95
    assert sum(one.probability for one in found.ranking) == pytest.approx(1)
    values = [one.value for one in found.ranking]
    assert np.array(values) / values[0] == pytest.approx([1, 1.02, 1.05], rel=2e-3)
    truth = 1.5 + 2 * 4.0 ** (-0.15 * 6)
    assert found.ranking[0].low < truth < found.ranking[0].high
    assert "4 times below" in found.sentence()
    assert "b by 2.00% of the loss" in found.sentence()


def test_both_ways_to_ask_agree_where_the_groups_differ_by_a_factor():
    runs = table({"a": 0.0, "b": 0.02})
    same = between(runs, "recipe", {"N": np.sqrt(LEVELS[-1] * 4 / 120), "D": np.sqrt(LEVELS[-1] * 4 / 120) * 20})
    assert same.answer == "a"
    assert same.evidence.scale == "run"
    assert same.evidence.distance == pytest.approx(4, rel=0.01)


def test_groups_that_are_as_good_are_said_to_be_tied_and_what_would_tell():
    generator = np.random.default_rng(0)
    noisy = {name: generator.normal(0, 0.004, 6) for name in ("a", "b")} | {"far": 0.3}
    found = between(table(noisy), "recipe", {"compute": LEVELS[-1] * 30})
    assert found.verdict == "undetermined"
    assert set(found.ties) == {"a", "b"}
    assert "cannot be told apart" in found.sentence()
    assert found.next is not None
    assert set(found.next.groups) == {"a", "b"}
    assert LEVELS[-1] <= found.next.compute * 1.001 < LEVELS[-1] * 30
    assert found.next.probability > found.probability
    assert 0 < found.regret < 0.1


def test_a_scale_that_was_measured_is_answered_from_it():
    crossing = table({"a": 0.0, "b": np.array([0.05, 0.03, 0.01, -0.02, -0.03, -0.04])})
    assert between(crossing, "recipe", {"compute": LEVELS[1]}).answer == "a"
    assert between(crossing, "recipe", {"compute": LEVELS[4]}).answer == "b"


def test_a_trend_leads_only_where_it_was_right_before():
    """Group b overtakes a, c overtakes b, d overtakes c, each announced by its trend; then e is about to overtake d."""
    levels = 1e17 * 2.0 ** np.arange(12)
    slopes = {"a": 0.0, "b": 0.02, "c": 0.03, "d": 0.04, "e": 0.05}
    cross = {name: (place - 0.5 - np.arange(12) / 2.5) * slope for place, (name, slope) in enumerate(slopes.items())}
    values = np.array([cross[name] for name in "abcde"]) + 1.0
    record = own_record(values[:, :9], np.log(levels[:9]))
    assert record.differed >= 3
    assert record.earned
    assert record.law_right > record.ranking_right
    constant = own_record(np.arange(4)[:, None] * 0.02 + np.zeros((4, 9)), np.log(levels[:9]))
    assert not constant.earned
    assert constant.ranking_right == 1.0
    assert own_record(values[:, :1], np.log(levels[:1])).pairs == 0


def test_groups_at_different_compute_are_read_off_their_own_runs():
    """Sizes 1% to 40% apart: nobody shares a level, and the answer is the group that is better by a factor."""
    rows = table({"a": 0.0, "b": 0.03}, levels=LEVELS)
    shifted = [value * (1.37 if name == "b" else 1.0) for name, value in zip(rows["recipe"], rows["D"], strict=True)]
    found = between(rows | {"D": shifted}, "recipe", {"compute": LEVELS[-1]})
    assert found.answer == "a"
    assert found.evidence.interpolated
    assert any("different compute" in caveat for caveat in found.caveats)


def test_an_envelope_is_never_read_beyond_a_groups_own_runs():
    compute = np.array([1e17, 1e18, 1e19, 2e17, 2e18, 2e20])
    runs = GroupRuns(["a", "b"], np.array([0, 0, 0, 1, 1, 1]), compute, np.array([3.0, 2.5, 2.2, 3.1, 2.6, 1.9]))
    cells = cells_of(runs, "compute")
    assert np.exp(cells.position[-1]) == pytest.approx(1e19)  # the largest compute that both reach
    assert np.exp(cells.position[0]) >= 2e17 * 0.99
    assert cells.values[0, -1] == pytest.approx(np.log(2.2))
    assert np.log(1.9) < cells.values[1, -1] < np.log(2.6)


def test_repeats_of_a_run_are_averaged_and_say_what_a_seed_does():
    generator = np.random.default_rng(1)
    rows = table({"a": 0.0, "b": 0.001}, seeds=tuple(generator.normal(0, 0.01, 5)))
    found = between(rows, "recipe", {"compute": LEVELS[-1] * 2})
    assert found.evidence.seed_sd == pytest.approx(0.01, rel=0.5)
    plain = between(table({"a": 0.0, "b": 0.001}), "recipe", {"compute": LEVELS[-1] * 2})
    assert found.probability < plain.probability  # the same gap, under errors that are known to be ten times as large
    assert plain.evidence.seed_sd is None


def test_the_order_of_rows_and_names_does_not_matter():
    rows = table({"a": 0.0, "b": 0.01, "c": 0.012})
    order = np.random.default_rng(2).permutation(len(rows["loss"]))
    mixed = {name: [values[place] for place in order] for name, values in rows.items()}
    mixed["recipe"] = [{"a": "z", "b": "y", "c": "x"}[name] for name in mixed["recipe"]]
    one, other = (between(part, "recipe", {"compute": LEVELS[-1] * 8}) for part in (rows, mixed))
    assert (one.answer, other.answer) == ("a", "z")
    assert other.probability == pytest.approx(one.probability)
    assert other.regret == pytest.approx(one.regret)


def test_thousands_of_groups_are_ranked():
    generator = np.random.default_rng(3)
    gaps = {f"g{number}": float(gap) for number, gap in enumerate(generator.normal(0.1, 0.02, 1000))} | {"best": 0.0}
    found = between(table(gaps, levels=LEVELS[:2], sizes=(1.0,)), "recipe", {"compute": LEVELS[1]})
    assert found.answer == "best"
    assert len(found.ranking) == 1001


@pytest.mark.parametrize(
    ("change", "at", "message"),
    [
        ({}, {"compute": 1e10}, "below the smallest scale"),
        ({}, {"compute": -1.0}, "above zero"),
        ({}, {"compute": float("nan")}, "beyond what can be reckoned"),
        ({}, {"compute": 1e300}, "beyond what can be reckoned"),
        ({}, {"flops": 1e19}, "compute=X"),
        ({}, {"N": 1e9}, "at which scale"),
        ({}, {}, "at which scale"),
        ({"recipe": ["a"] * 36}, {"compute": 1e19}, "one group only"),
        ({"loss": [-1.0] * 36}, {"compute": 1e19}, "not above zero"),
        ({"loss": [float("nan")] * 36}, {"compute": 1e19}, "no finite number"),
        ({"N": [1e9 * 3**place for place in range(36)]}, {"N": 1e9, "D": 1e9}, "cannot be compared"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_a_line(change, at, message):
    with pytest.raises(PliantError, match=message) as caught:
        between(table({"a": 0.0, "b": 0.01}) | change, "recipe", at)
    assert len(str(caught.value)) < 300


def test_a_column_that_is_not_there_is_named_with_the_nearest():
    with pytest.raises(PliantError, match="did you mean 'recipe'"):
        between(table({"a": 0.0, "b": 0.01}), "recpie", {"compute": 1e19})
    with pytest.raises(PliantError, match="did you mean 'loss'"):
        between(table({"a": 0.0, "b": 0.01}), "recipe", {"compute": 1e19}, {"lss": "loss"})


def test_groups_without_a_common_range_are_refused():
    apart = table({"a": 0.0}, levels=LEVELS[:2]), table({"b": 0.0}, levels=LEVELS[4:])
    with pytest.raises(PliantError, match="cannot be compared"):
        between({name: apart[0][name] + apart[1][name] for name in apart[0]}, "recipe", {"compute": 1e20})


def test_a_few_runs_without_a_loss_are_left_out_and_said_to_be():
    rows = table({"a": 0.0, "b": 0.02})
    rows["loss"][3] = float("nan")
    found = between(rows, "recipe", {"compute": LEVELS[-1] * 2})
    assert found.answer == "a"
    assert "rows without a value were left out: 1" in found.caveats


def test_duplicated_rows_are_counted_once():
    rows = table({"a": 0.0, "b": 0.02})
    twice = {name: values * 2 for name, values in rows.items()}
    one, other = (between(part, "recipe", {"compute": LEVELS[-1] * 2}) for part in (rows, twice))
    assert other.probability == pytest.approx(one.probability)
    assert any("exact copies" in caveat for caveat in other.caveats)


def test_published_recipes(shared_data):
    """Five recipes, from 16 times below: the order is there by then, and two of them are as good."""
    path = shared_data / "runs" / "extrapolation" / "recipes_openwebtext2.csv"
    found = between(path, "exp", {"compute": 1.28e19}, {"compute": "flops"}, where="flops <= 8e17")
    assert found.answer == "base-short-chinchilla-standard-val"  # best of the five at 1.28e19, by 3%
    measured = {
        "base-short-chinchilla-standard-val": 2.7637,
        "base-long-kaplan-standard-val": 2.8706,
        "base-long-kaplan-kaplan-train": 2.8514,
    }
    for one in found.ranking:
        if one.group in measured:
            assert one.low <= measured[one.group] <= one.high
    assert between(path, "exp", {"compute": 2.56e19}, {"compute": "flops"}).answer == found.answer
