"""Result files of other programs, compared: what pairs, what is said, and what is refused."""

import json
import zipfile

import numpy as np
import pytest
from results import TIME, inspect_log, lm_eval_folder

from pliant import compare
from pliant.comparison import Outcomes, System, compared
from pliant.comparison.files import read_systems
from pliant.errors import PliantError


def noisy(seed, n=200, shift=0.0):
    common = np.random.default_rng(0).standard_normal(n)
    return dict(enumerate((common + 0.5 * np.random.default_rng(seed).standard_normal(n) + shift > 0).astype(float).tolist()))


def system(name, values, **fields):
    found = Outcomes("task", "acc", [str(item) for item in values], np.array(list(values.values())), unit="fraction", **fields)
    return System(name, name, {("task", "acc"): found})


def test_lm_eval_folders_pair_by_document(tmp_path):
    a = lm_eval_folder(tmp_path / "a", noisy(1), "base")
    b = lm_eval_folder(tmp_path / "b", noisy(2, shift=0.6), "tuned")
    found = compare(a, b)
    row = found.rows[0]
    assert (row.a, row.b, row.task, row.metric, row.unit) == ("base", "tuned", "arith", "acc", "fraction")
    left, right = (np.array(list(noisy(*told).values())) for told in ((1,), (2, 200, 0.6)))
    assert row.effect.value == pytest.approx((right - left).mean())
    assert (row.lost, row.won) == (int((right < left).sum()), int((right > left).sum()))
    assert row.verdict == "better"
    assert found.rows[-1].task == "over all"


def test_filters_are_metrics_of_their_own(tmp_path):
    a, b = (lm_eval_folder(tmp_path / name, noisy(seed), name, filters=("strict", "flexible")) for name, seed in (("a", 1), ("b", 2)))
    assert [row.metric for row in compare(a, b).rows] == ["acc,strict", "acc,flexible", "acc,strict"]


def test_other_examples_and_prompts_are_said(tmp_path):
    a = lm_eval_folder(tmp_path / "a", noisy(1), "base")
    b = lm_eval_folder(tmp_path / "b", noisy(2), "tuned", shots=5, prompt="other")
    notes = compare(a, b).rows[0].notes
    assert any(note.startswith("200 of 200 items were asked with another prompt") for note in notes)
    assert "few-shot examples: 0 in base, 5 in tuned" in notes


def test_items_that_one_side_lacks_are_counted(tmp_path):
    a = lm_eval_folder(tmp_path / "a", noisy(1), "base")
    b = lm_eval_folder(tmp_path / "b", {n: v for n, v in noisy(2).items() if n >= 3}, "tuned")
    row = compare(a, b).rows[0]
    assert row.unpaired == 3
    assert row.effect.n == 197
    assert "3 of 200 items of base are not in tuned and are left out" in row.notes


def test_perplexities_are_compared_as_losses(tmp_path):
    values = {n: [-10.0 - n, 5] for n in range(20)}
    a = lm_eval_folder(tmp_path / "a", values, "base", metric="word_perplexity", higher=False)
    b = lm_eval_folder(tmp_path / "b", {n: [v[0] - 1, 5] for n, v in values.items()}, "tuned", metric="word_perplexity", higher=False)
    row = compare(a, b).rows[0]
    assert row.unit == "nats/word"
    assert row.effect.value == pytest.approx(0.2)
    assert row.verdict == "worse"


def test_totals_without_errors_are_refused(tmp_path):
    folder = lm_eval_folder(tmp_path / "a", noisy(1))
    (folder / f"samples_arith_{TIME}.jsonl").unlink()
    with pytest.raises(PliantError, match="--log_samples"):
        read_systems(str(folder))


def test_a_samples_file_cut_short_names_its_line(tmp_path):
    folder = lm_eval_folder(tmp_path / "a", noisy(1))
    path = folder / f"samples_arith_{TIME}.jsonl"
    path.write_text(path.read_text()[:-40])
    with pytest.raises(PliantError, match="line 200"):
        read_systems(str(folder))


@pytest.mark.parametrize("zstandard", [False, True])
def test_inspect_logs_count_grades_and_epochs(tmp_path, zstandard):
    grades = "CIPN" * 5
    samples = [(f"q{n}", epoch, grade) for n, grade in enumerate(grades) for epoch in (1, 2)]
    a = inspect_log(tmp_path / "a.eval", samples, zstandard=zstandard)
    b = inspect_log(tmp_path / "b.eval", [(item, epoch, "C") for item, epoch, _ in samples], "m/b", zstandard=zstandard)
    row = compare(a, b).rows[0]
    assert row.a_value == pytest.approx(np.mean([{"C": 1, "P": 0.5}.get(grade, 0) for grade in grades]))
    assert (row.b_value, row.effect.n, row.effect.runs) == (pytest.approx(1), 20, 1)


def test_an_unfinished_inspect_log_is_said(tmp_path):
    a = inspect_log(tmp_path / "a.eval", [(f"q{n}", 1, "C") for n in range(9)], status="cancelled")
    b = inspect_log(tmp_path / "b.eval", [(f"q{n}", 1, "I") for n in range(10)], "m/b")
    assert any("cancelled" in note for note in compare(a, b).notes)


def test_a_damaged_inspect_log_is_one_line(tmp_path):
    path = inspect_log(tmp_path / "a.eval", [("q", 1, "C")])
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(PliantError, match="damaged, cut short"):
        read_systems(str(path))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("other.json", "{}")
    with pytest.raises(PliantError, match=r"has no header\.json"):
        read_systems(str(path))


def test_tables_hold_several_systems_tasks_and_seeds(tmp_path):
    path = tmp_path / "runs.csv"
    lines = ["id,model,seed,benchmark,correct"]
    lines += [
        f"{item},{model},{seed},math,{int((item + seed) % 3 < size)}"
        for item in range(30)
        for model, size in (("s", 1), ("m", 2))
        for seed in (0, 1)
    ]
    path.write_text("\n".join(lines))
    assert [found.name for found in read_systems(str(path))] == ["s", "m"]
    row = compare(path).rows[0]
    assert (row.a, row.b, row.task, row.effect.runs) == ("s", "m", "math", 2)
    assert row.effect.value == pytest.approx(1 / 3)
    assert [found.name for found in read_systems(f"{path}#m")] == ["m"]


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ("a,value\n1,0", "no column 'item'"),
        ("item,value\n1,", "not a number"),
        ("item,value\n1,nan", "not a number"),
        ("item,value\n1,0\n1,1", "is there 2 times"),
        ("item,value,better\n1,0,up", "write higher, or lower"),
    ],
)
def test_tables_that_cannot_be_read_say_why(tmp_path, rows, said):
    path, other = tmp_path / "a.csv", tmp_path / "b.csv"
    path.write_text(rows)
    other.write_text("item,value\n1,0\n2,1")
    with pytest.raises(PliantError, match=said):
        compare(path, other)


def written(path, text):
    path.write_text(text)
    return path


def test_columns_are_found_in_any_case_and_by_being_the_only_one_left(tmp_path):
    a = written(tmp_path / "a.csv", "Item, WER\n1,0.5\n2,0.25\n3,0.125")
    b = written(tmp_path / "b.csv", "ID,wer\n1,0.25\n2,0.25\n3,0.125")
    row = compare(a, b).rows[0]
    assert (row.metric, row.better, row.effect.n) == ("wer", "lower", 3)
    assert row.effect.value == pytest.approx(-0.25 / 3)
    with pytest.raises(PliantError, match="one name but for capitals"):
        compare(written(tmp_path / "c.csv", "item,value,Value\n1,1,1"), a)


def test_each_metric_of_a_table_has_its_own_direction(tmp_path):
    lines = [f"{n},{s},{m},{n % 3 + (s == 'b')}" for n in range(9) for s in "ab" for m in ("acc", "perplexity", "character_score")]
    rows = compare(written(tmp_path / "t.csv", "item,system,metric,value\n" + "\n".join(lines))).rows
    assert {row.metric: (row.better, row.verdict) for row in rows if row.task == "items"} == {
        "acc": ("higher", "better"),
        "perplexity": ("lower", "worse"),
        "character_score": ("higher", "better"),
    }
    lines = [f"{n},{s},{m},{n % 3 + (s == 'b')},{d}" for n in range(9) for s in "ab" for m, d in (("x", "higher"), ("y", "lower"))]
    rows = compare(written(tmp_path / "u.csv", "item,system,metric,value,better\n" + "\n".join(lines))).rows
    assert [row.verdict for row in rows[:2]] == ["better", "worse"]


def test_several_columns_of_values_are_a_metric_each(tmp_path):
    lines = [f"{n},{s},{n % 2},{n / 10}" for n in range(20) for s in "ab"]
    rows = compare(written(tmp_path / "t.csv", "item,system,acc,loss\n" + "\n".join(lines))).rows
    assert [(row.metric, row.better) for row in rows if row.task == "items"] == [("acc", "higher"), ("loss", "lower")]


def test_a_score_that_is_a_fraction_in_one_system_only_still_compares(tmp_path):
    lines = [f"{n},a,{n / 10}" for n in range(10)] + [f"{n},b,{n / 10 + 0.5}" for n in range(10)]
    row = compare(written(tmp_path / "t.csv", "item,system,score\n" + "\n".join(lines))).rows[0]
    assert (row.unit, row.effect.value) == ("score", pytest.approx(0.5))


def test_samples_within_seeds_count_as_their_mean(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.integers(0, 2, (2, 12, 3, 4))
    lines = [f"{i},{s},{k},{m},{values[s, i, k, m]}" for s, i, k, m in np.ndindex(values.shape)]
    full = compare(written(tmp_path / "full.csv", "item,system,seed,sample,value\n" + "\n".join(lines))).rows[0]
    lines = [f"{i},{s},{k},{values[s, i, k].mean()}" for s, i, k in np.ndindex(values.shape[:3])]
    mean = compare(written(tmp_path / "mean.csv", "item,system,seed,value\n" + "\n".join(lines))).rows[0]
    assert (full.effect.value, full.effect.reach, full.effect.runs) == (
        pytest.approx(mean.effect.value),
        pytest.approx(mean.effect.reach),
        3,
    )


def test_what_is_too_large_for_a_mean_and_margins_that_are_none_are_refused(tmp_path):
    with pytest.raises(PliantError, match="beyond"):
        system("a", {0: 1e308, 1: -1e308})
    for margin in (-1, float("nan"), float("inf")):
        with pytest.raises(PliantError, match="margin"):
            compared([system("a", {0: 1.0}), system("b", {0: 1.0})], margin=margin)


def test_other_families_in_the_two_are_said():
    values = noisy(1, 30)
    first, second = (system(name, values, families=[str(n // size) for n in values]) for name, size in (("a", 5), ("b", 3)))
    assert any("grouped otherwise" in note for note in compared([first, second]).rows[0].notes)


def test_unknown_intervals_are_words_and_not_nan(tmp_path):
    found = compared([system("a", {0: 1.0}), system("b", {0: 0.0})])
    assert "nan" not in repr(found) + found._repr_html_()
    assert "unknown" in repr(found)


def test_examples_of_what_went_the_other_way_are_shown():
    values = noisy(1, 40)
    found = compared([system("a", values, texts={str(n): f"question {n}" for n in values}), system("b", values | {3: 1 - values[3]})])
    assert f"{'lost' if values[3] else 'won'}: 3 ({values[3]:g} to {1 - values[3]:g}): question 3" in repr(found)


def test_a_folder_of_json_logs_is_read(tmp_path):
    samples = [{"id": n, "epoch": 1, "input": "q", "scores": {"m": {"value": "C" if n % 3 else "I"}}} for n in range(9)]
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        log = {"version": 2, "status": "success", "eval": {"task": "t", "model": f"m/{name}"}, "samples": samples}
        written(tmp_path / name / "log.json", json.dumps(log))
        written(tmp_path / name / "other.json", "{}")
    assert compare(tmp_path / "a", tmp_path / "b").rows[0].effect.n == 9


@pytest.mark.parametrize("samples", ["{}", "[1, null]", '"x"'])
def test_samples_that_inspect_does_not_write_are_refused(tmp_path, samples):
    path, good = tmp_path / "a.eval", inspect_log(tmp_path / "b.eval", [("q", 1, "C"), ("r", 1, "I")], "m/b")
    header = {"version": 2, "status": "success", "eval": {"task": "sums", "model": "m/a"}}
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.json", json.dumps(header))
        archive.writestr("summaries.json", samples)
    with pytest.raises(PliantError, match=r"a\.eval"):
        compare(path, good)


def test_unlike_things_are_refused():
    values = dict.fromkeys(range(10), 0.5)
    with pytest.raises(PliantError, match="no item is in both"):
        compared([system("a", values), system("b", {n + 100: v for n, v in values.items()})])
    with pytest.raises(PliantError, match="better"):
        compared([system("a", values), system("b", values, better="lower")])
    with pytest.raises(PliantError, match="given twice"):
        compared([system("a", values), system("a", values)])
    with pytest.raises(PliantError, match="two systems"):
        compared([system("a", values)])


def test_one_item_and_equal_values_say_so():
    one = compared([system("a", {0: 1.0}), system("b", {0: 0.0})]).rows[0]
    assert one.verdict == "undetermined"
    assert any("single item" in note for note in one.notes)
    same = compared([system("a", dict.fromkeys(range(20), 3.5)), system("b", dict.fromkeys(range(20), 3.5))]).rows[0]
    assert any("every value is the same" in note for note in same.notes)


def test_equal_systems_are_tied_within_a_margin_that_the_items_can_show():
    values = noisy(1, 4000)
    assert compared([system("a", values), system("b", values)], margin=0.005).rows[0].verdict == "tied"
    assert compared([system("a", noisy(1, 30)), system("b", noisy(1, 30))], margin=0.005).rows[0].verdict == "undetermined"


def test_ids_that_differ_pair_by_their_prompts():
    values = noisy(1, 40)
    first = system("a", values, prompts={str(n): f"h{n}" for n in values})
    second = system("b", {f"x{n}": v for n, v in values.items()}, prompts={f"x{n}": f"h{n}" for n in values})
    row = compared([first, second]).rows[0]
    assert row.effect.n == 40
    assert any("hash of what was asked" in note for note in row.notes)


def test_several_systems_have_ranks():
    found = compared([system(name, noisy(seed, 500, shift)) for name, seed, shift in (("a", 1, 0.0), ("b", 2, 0.0), ("c", 3, 1.5))])
    last = [row for row in found.rows if row.task == "over all"]
    assert [row.ranks for row in last] == [((2, 3), (2, 3)), ((2, 3), (1, 1))]


def test_json_has_the_shape_that_scripts_rely_on(tmp_path):
    a, b = (lm_eval_folder(tmp_path / name, noisy(seed), name) for name, seed in (("a", 1), ("b", 2)))
    told = json.loads(json.dumps(compare(a, b).json()))
    wanted = {
        "task",
        "metric",
        "a",
        "b",
        "difference",
        "low",
        "high",
        "p",
        "q",
        "verdict",
        "mde",
        "n",
        "unpaired",
        "flips",
        "more_items",
        "more_seeds",
    }
    assert all(wanted <= set(row) for row in told)
    assert set(told[-1]["flips"]) == {"lost", "won"}
    assert told[-1]["task"] == "over all"


def test_results_of_whole_runs_are_compared_by_runs(tmp_path):
    """Two systems of five runs each with unlike seeds: Welch's t-test."""
    from scipy import stats

    rng = np.random.default_rng(0)
    a, b = rng.normal(0.25, 0.01, 5), rng.normal(0.27, 0.02, 6)
    path = tmp_path / "runs.csv"
    lines = [f"a,{n},{value}" for n, value in enumerate(a)] + [f"b,{n + 100},{value}" for n, value in enumerate(b)]
    path.write_text("system,seed,score\n" + "\n".join(lines))
    row = compare(path).rows[0]
    interval = stats.ttest_ind(b, a, equal_var=False).confidence_interval(0.9)
    assert (row.effect.low, row.effect.high) == pytest.approx((interval.low, interval.high))
    assert row.p == pytest.approx(stats.ttest_ind(b, a, equal_var=False).pvalue)
    assert any("nothing of other items" in note for note in row.notes)
