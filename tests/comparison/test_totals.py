"""Totals without items: their interval is that of the worst pairing there can be, and no pairing's is wider."""

import json
from itertools import product

import numpy as np
import pytest
from results import TIME, lm_eval_folder

from pliant import compare
from pliant.comparison import Outcomes, System, compared
from pliant.comparison.paired import paired
from pliant.comparison.totals import of_mean, of_total
from pliant.errors import PliantError

NAMES = "a", "b"


def system(name, values, **fields):
    found = Outcomes("items", "accuracy", [str(n) for n in range(len(values))], np.asarray(values, float), unit="fraction", **fields)
    return System(name, name, {("items", "accuracy"): found})


def totals(name, share, count):
    return System(name, name, {("items", "accuracy"): of_total("items", "accuracy", share, count)})


@pytest.mark.parametrize(("right_a", "right_b"), [(5, 3), (2, 6), (0, 8), (4, 4), (7, 8)])
def test_no_pairing_is_wider_than_the_totals_or_narrower_than_their_best(right_a, right_b):
    """All 2^8 ways in which b's right answers may lie, a's being the first."""
    n = 8
    row = compared([totals("a", right_a / n, n), totals("b", right_b / n, n)]).rows[0]
    best = compared([system("a", np.arange(n) < right_a), system("b", np.arange(n) < right_b)]).rows[0]
    reaches = [
        compared([system("a", np.arange(n) < right_a), system("b", where)]).rows[0].effect.reach
        for where in product((0, 1), repeat=n)
        if sum(where) == right_b
    ]
    assert row.effect.reach == pytest.approx(max(reaches))
    assert best.effect.reach == pytest.approx(min(reaches))
    assert row.effect.value == pytest.approx((right_b - right_a) / n)


def test_what_no_pairing_could_hide_is_real_and_what_one_could_is_not():
    assert compared([totals("a", 0.60, 1000), totals("b", 0.70, 1000)]).rows[0].verdict == "better"
    row = compared([totals("a", 0.70, 1000), totals("b", 0.72, 1000)]).rows[0]
    assert row.verdict == "undetermined"
    assert (row.lost, row.won, list(row.flips)) == (None, None, [])
    assert any("had they erred on the same items" in note for note in row.notes)


def test_a_mean_with_its_error_keeps_both():
    for count in (9, 10):
        values = of_mean("t", "f1", 0.4, 0.02, count, "higher").values
        assert values.mean() == pytest.approx(0.4)
        assert values.std(ddof=1) / np.sqrt(count) == pytest.approx(0.02)


def test_means_that_pair_as_badly_as_can_be_have_both_errors_in_one():
    a, b = (of_mean("t", "f1", mean, error, 1000, "higher") for mean, error in ((0.4, 0.02), (0.45, 0.03)))
    worst, best = (np.std(paired(a, b, NAMES, alike).differences, ddof=1) / np.sqrt(1000) for alike in (False, True))
    assert worst == pytest.approx(0.05)
    assert best == pytest.approx(0.01)


def test_totals_of_other_numbers_of_items_do_not_compare():
    with pytest.raises(PliantError, match="20 in a and 30 in b"):
        compared([totals("a", 0.5, 20), totals("b", 0.5, 30)])


def test_totals_have_no_ranks():
    found = compared([totals(name, 0.5, 20) for name in "abc"])
    assert all(row.ranks is None for row in found.rows)


def folder_of_totals(folder, right, count, name):
    made = lm_eval_folder(folder, {n: float(n < right) for n in range(count)}, name)
    (made / f"samples_arith_{TIME}.jsonl").unlink()
    path = made / f"results_{TIME}.json"
    told = json.loads(path.read_text())
    share = right / count
    told["results"] = {
        "arith": {"alias": "arith", "acc,none": share, "acc_stderr,none": float(np.sqrt(share * (1 - share) / (count - 1)))},
        "group": {"acc,none": 0.5, "acc_stderr,none": 0.1},
    }
    told["results"]["arith"] |= {"bleu,none": 12.0, "bleu_stderr,none": 0.3}
    told |= {"group_subtasks": {"group": ["arith"]}, "n-samples": {"arith": {"original": count, "effective": count}}}
    path.write_text(json.dumps(told))
    return made


def test_lm_eval_totals_are_read_and_what_is_no_mean_is_left_out(tmp_path):
    a, b = folder_of_totals(tmp_path / "a", 30, 50, "base"), folder_of_totals(tmp_path / "b", 45, 50, "tuned")
    found = compare(a, b / f"results_{TIME}.json")
    assert [(row.task, row.metric) for row in found.rows] == [("arith", "acc"), ("over all", "acc")]
    assert found.rows[0].effect.value == pytest.approx(0.3)
    assert any("bleu cannot be compared without samples" in note for note in found.notes)


def test_totals_and_samples_compare_by_the_worst_pairing(tmp_path):
    a = folder_of_totals(tmp_path / "a", 30, 50, "base")
    b = lm_eval_folder(tmp_path / "b", {n: float(n < 45) for n in range(50)}, "tuned")
    both = compare(a, folder_of_totals(tmp_path / "c", 45, 50, "tuned"))
    assert compare(a, b).rows[0].effect.reach == pytest.approx(both.rows[0].effect.reach)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a,75.8,1319", "fractions, from 0 to 1"),
        ("a,0.758,1319.5", "whole"),
        ("a,0.758,0", "from 1"),
        ("a,0.7,10\na,0.8,10", "2 rows for one system"),
    ],
)
def test_tables_of_totals_that_make_no_sense_say_why(tmp_path, rows, said):
    path = tmp_path / "totals.csv"
    path.write_text(f"system,accuracy,n\n{rows}\nb,0.5,1319\n")
    with pytest.raises(PliantError, match=said):
        compare(path)


def test_runs_known_by_their_mean_and_spread_are_welchs_test(tmp_path):
    from scipy import stats

    path = tmp_path / "runs.csv"
    path.write_text("system,val_bpb,sd,n\na,1.0608,0.0009,6\nb,1.0581,0.0010,4\n")
    row = compare(path, margin=1e-4).rows[0]
    known = stats.ttest_ind_from_stats(1.0581, 0.0010, 4, 1.0608, 0.0009, 6, equal_var=False)
    assert row.p == pytest.approx(known.pvalue)
    assert (row.better, row.verdict, row.effect.value) == ("lower", "better", pytest.approx(-0.0027))


def test_whole_runs_have_ranks_by_what_all_runs_differ_by(tmp_path):
    rng = np.random.default_rng(0)
    lines = [f"{s},{k},{m + 0.01 * rng.standard_normal()}" for s, m in (("a", 0.0), ("b", 0.0), ("c", 1.0)) for k in range(3)]
    path = tmp_path / "runs.csv"
    path.write_text("system,seed,score\n" + "\n".join(lines))
    assert [row.ranks for row in compare(path).rows if row.task == "over all"] == [((2, 3), (2, 3)), ((2, 3), (1, 1))]
