"""The estimator on published accuracies of fine-tuned OLMo-1B checkpoints: one run, sampling errors only."""

from __future__ import annotations

import csv
import re

import numpy as np
import pytest

from pliant.decide import Curve, inflection
from pliant.errors import PliantError

FINAL = 3.1e12  # the released model; its step is not given
TUNED = [
    ("mnli", "mnli_matched", "2e-6"),
    ("mnli", "rte", "2e-6"),
    ("xsum", "xsum", "2e-7"),
    ("paws", "paws", "2e-6"),
    ("socialiqa",) * 2 + ("2e-6",),
]


@pytest.fixture(scope="module")
def rows(shared_data):
    with (shared_data / "runs" / "amuro-char" / "all_perf_table_parsed.csv").open() as stream:
        return list(csv.DictReader(stream))


def table(rows, train, dataset, lr, shots=("4",), final=True, since=0.0):
    """(tokens, accuracy, standard error) in the order of the file."""
    chosen = [row for row in rows if (row["train"], row["eval dataset"], row["lr"]) == (train, dataset, lr) and row["shots"] in shots]
    points = {
        (FINAL if row["step"] == "final" else float(row["tokens"]), row["shots"]): (float(row["Performance"]), float(row["std"]))
        for row in chosen
        if final or row["step"] != "final"
    }
    return np.array([(tokens, *point) for (tokens, _), point in points.items() if tokens >= since]).T


@pytest.mark.parametrize("final", [True, False])
@pytest.mark.parametrize("since", [0, 1.4e12], ids=["all", "late"])
def test_plateaus_are_told_from_too_few_points_and_only_the_three_large_drops_may_count(rows, final, since):
    verdicts = {
        dataset: inflection(Curve.from_table(*table(rows, train, dataset, lr, final=final, since=since), higher_is_better=True))
        for train, dataset, lr in TUNED
    }
    assert verdicts["rte"].verdict == "undetermined"
    tuned = verdicts["mnli_matched"]  # .354 .557 .787 .784 .792 .799 .798: learnt by 342k steps, or 1.43T tokens
    assert (tuned.verdict, tuned.flat_from) == (("undetermined", None) if since else ("plateau", 342_000 * 2048.0**2))
    assert {name for name, found in verdicts.items() if found.verdict == "degrades"} <= {"xsum", "paws", "socialiqa"}
    assert all("one run" in found.caveats[0] for found in verdicts.values())


def test_two_runs_that_disagree_near_the_end_are_run_to_run_spread(rows):
    """PAWS: .732 at 738k steps and .878 for the released model, nearly the same tokens."""
    without, whole = (
        inflection(Curve.from_table(*table(rows, "paws", "paws", "2e-6", final=final), higher_is_better=True)) for final in (False, True)
    )
    assert without.verdict == "degrades"
    assert whole.verdict == "undetermined"
    assert whole.roughness > 0.05 > 10 * without.roughness


def test_mixed_shots_are_refused_and_their_average_is_not_believed_blindly(rows):
    mixed = table(rows, "mnli", "mnli_matched", "2e-6", shots=("0", "4"))
    with pytest.raises(PliantError, match="shots"):
        Curve.from_table(*mixed, higher_is_better=True)


def test_base_models_degrade_no_more_often_than_a_handful(rows):
    """Base scores near chance are no curves that fall: at most a tenth may be called degrading."""
    names = sorted({row["eval dataset"] for row in rows if row["train"] == "none" and row["shots"] == "4"} - {"qqp", "qqp_instruct"})
    found = {name: inflection(Curve.from_table(*table(rows, "none", name, ""), higher_is_better=True)) for name in names}
    assert len(found) > 25
    degraded = {name for name, one in found.items() if one.verdict == "degrades"}
    assert degraded == {"rte", "tweetqa"}  # .50 to .24, many times its error; .072 to .053, smooth


def test_a_base_benchmark_that_keeps_rising_improves(shared_data):
    """HellaSwag of the base checkpoints, with the binomial error of its 10,042 questions."""
    with (shared_data / "runs" / "amuro-char" / "official_eval_table.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if row["eval dataset"] == "hellaswag" and "tulu" not in row["model_id"]]
    steps = [int(match[1]) for row in rows if (match := re.fullmatch(r"checkpoint-(\d+)", row["model_id"]))]
    tokens = np.array([*steps, 739_000]) * 2048.0**2
    accuracy = np.array([float(row["Performance"]) for row in rows])
    found = inflection(Curve.from_table(tokens, accuracy, np.sqrt(accuracy * (1 - accuracy) / 10_042), higher_is_better=True))
    assert len(steps) == 7
    assert rows[-1]["model_id"] == "olmo1b_original_hf"
    assert found.verdict == "improves"


@pytest.fixture(scope="module")
def pythia(shared_data):
    """(tokens, accuracy, standard error) of a size and task over training."""
    with (shared_data / "runs" / "pythia-checkpoints" / "pythia.csv").open() as stream:
        rows = [row for row in csv.DictReader(stream) if float(row["D"]) > 0]

    def points(size, task, error):
        found = {float(row["D"]): (float(row[task]), float(row[error])) for row in rows if row["size"] == size and row[task]}
        return np.array([(tokens, *found[tokens]) for tokens in sorted(found)]).T

    return points


@pytest.mark.parametrize("shared", [0.0, 0.5, 0.8])
def test_small_pythias_forget_at_the_end_and_large_ones_keep_improving(pythia, shared):
    """LAMBADA: 70M falls from .228 to .193, 160M from .374 to .313; 12B rises to .708 without a halt."""
    verdicts = {
        size: inflection(Curve.from_table(*pythia(size, "lambada_acc", "lambada_se"), shared=shared, higher_is_better=True)).verdict
        for size in ("70m", "160m", "1.4b", "12b")
    }
    assert verdicts == {"70m": "degrades", "160m": "degrades", "1.4b": "improves", "12b": "improves"}


def test_what_is_shared_decides_more_curves_and_undoes_none_that_turned(pythia):
    """Seven sizes and two tasks, one run a point: errors taken for independent against half of them shared."""
    tasks = {"lambada_acc": "lambada_se", "arc_easy": "arc_easy_se"}
    decided = {0.0: 0, 0.5: 0}
    for size in ("70m", "160m", "410m", "1.4b", "2.8b", "6.9b", "12b"):
        for task, error in tasks.items():
            verdicts = {
                shared: inflection(Curve.from_table(*pythia(size, task, error), shared=shared, higher_is_better=True)).verdict
                for shared in decided
            }
            assert verdicts[0.0] != "degrades" or verdicts[0.5] == "degrades"
            for shared, verdict in verdicts.items():
                decided[shared] += verdict != "undetermined"
    assert decided[0.5] > decided[0.0]
