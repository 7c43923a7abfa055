from __future__ import annotations

import json

import numpy as np
import pytest

from pliant.axes import AXES
from pliant.changes import CHANGES, parse_changes
from pliant.decide.curves.checkpoint import decide
from pliant.decide.curves.series import family, natural
from pliant.errors import PliantError
from pliant.ledger.ledger import Ledger
from pliant.statistics import spearman
from synthetic_ledger import BASE, GENERIC, TASK, TOKENS, finetune, perturb, quantize, synthetic_ledger

SHAPE = ["change", "metric", "verdict", "best", "low", "high", "rise", "rise_low", "rise_high", "evidence"]


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    return synthetic_ledger(tmp_path_factory.mktemp("ledger"))


@pytest.fixture(scope="module")
def decisions(ledger):
    return decide(ledger)


def one(decisions, change, metric="generic", tuned=False):
    wanted = CHANGES.parse(change)
    (found,) = [found for found in decisions if found.change.hash() == wanted.hash() and found.metric == metric and found.tuned == tuned]
    return found


def test_one_decision_for_each_change_and_measure_in_the_promised_shape(decisions):
    assert len(decisions) == len(GENERIC) + len(TASK) + 2  # and two at the tuned rate
    for decision in decisions:
        told = json.loads(json.dumps(decision.json(), allow_nan=False))
        assert list(told) == SHAPE
        assert told["change"]["kind"]
        assert len(told["evidence"]["curve"]) == len(TOKENS)
    assert decisions[0].change.unchanged


def test_decisions_print_as_a_line_each_with_change_metric_and_sentence(decisions):
    lines = str(decisions).splitlines()
    assert len(lines) == len(decisions)
    assert lines[0] == "unchanged, generic: still improves at 16M tokens"
    place = decisions.index(one(decisions, perturb(0.1)))
    assert lines[place].startswith("Gaussian noise, relative to weight RMS: ×0.1, generic: best at 1M tokens")
    assert max(map(len, lines)) < 200
    assert isinstance(decisions, list)


@pytest.mark.parametrize(
    ("change", "verdict", "best"),
    [
        ({"kind": "none"}, "improves", 16),
        (quantize(6), "improves", 16),
        (quantize(3), "degrades", None),
        (perturb(0.1), "degrades", 1),
        (perturb(0.2), "degrades", 0.5),
        (finetune(1e-2), "degrades", 2),
        (finetune(1e-3), "improves", 16),
    ],
)
def test_known_curves_are_judged_as_they_were_made(decisions, change, verdict, best):
    found = one(decisions, change)
    assert found.verdict == verdict
    assert best is None or found.best == best * 1e6
    assert found.low <= found.best <= found.high


def test_sensitivity_is_the_paired_difference_from_the_unchanged_checkpoint(decisions):
    found = one(decisions, perturb(0.1))
    truth = np.array(next(means for change, means in GENERIC if change == perturb(0.1))) - BASE
    points = found.evidence.curve
    assert [point.delta for point in points] == pytest.approx(truth, abs=0.02)
    assert all(point.value - point.base == pytest.approx(point.delta) for point in points)
    assert all(point.delta_stderr < point.stderr / 2 for point in points)  # what the samples share is gone
    assert found.evidence.spearman == pytest.approx(1)
    assert (found.evidence.seeds, found.evidence.runs, found.evidence.draws, found.evidence.samples) == (3, 3, 4, 64)


def test_a_single_seed_carries_its_caveat(tmp_path):
    found = decide(synthetic_ledger(tmp_path, seeds=[7]))
    assert all("one run" in decision.evidence.caveats[0] for decision in found)
    assert one(found, perturb(0.2)).verdict == "degrades"


def test_equal_final_learning_rates_raise_no_warning_and_others_do(tmp_path, decisions):
    assert one(decisions, quantize(3)).evidence.final_lr_differs is False
    decayed = decide(synthetic_ledger(tmp_path / "decayed", final_lr=[1e-2, 8e-3, 6e-3, 4e-3, 2e-3, 1e-3], seeds=[0]))
    assert decayed[0].evidence.final_lr_differs is True
    assert any("0.01 to 0.001" in caveat for caveat in decayed[0].evidence.caveats)
    unknown = decide(synthetic_ledger(tmp_path / "unknown", final_lr=[1e-2, None, None, None, None, None], seeds=[0]))
    assert unknown[0].evidence.final_lr_differs is None
    assert any("not known" in caveat for caveat in unknown[0].evidence.caveats)


def test_sizes_schedules_and_studies_are_judged_apart(tmp_path):
    synthetic_ledger(tmp_path, seeds=[0])
    synthetic_ledger(tmp_path, seeds=[0], params=30_880, name="llama-32x2")
    synthetic_ledger(tmp_path, seeds=[0], schedule="constant", name="llama-16x2-constant")
    ledger = synthetic_ledger(tmp_path, seeds=[0], study="again")
    decisions = decide(ledger)
    printed = str(decisions).splitlines()
    assert sum("8.78k parameters, constant schedule" in line for line in printed) == 1
    assert len(printed) == len(decisions) + 4 + 3  # a name above each of four ladders, a gap between them
    found = [decision for decision in decisions if decision.change == CHANGES.parse(quantize(3))]
    assert {(one.evidence.params, one.evidence.schedule, one.evidence.study) for one in found} == {
        (8784, "cosine", "demo"),
        (30_880, "cosine", "demo"),
        (8784, "constant", "demo"),
        (8784, "cosine", "again"),
    }
    assert all(len(one.evidence.curve) == len(TOKENS) for one in found)


def test_a_missing_checkpoint_is_named(tmp_path):
    ledger = synthetic_ledger(tmp_path, failed={16_000_000: "the loss is NaN"}, seeds=[0])
    found = one(decide(ledger), finetune(1e-2))
    assert [point.position for point in found.evidence.curve] == TOKENS[:-1]
    assert "no value at 16M tokens" in found.evidence.caveats


def test_two_checkpoints_are_a_direction(tmp_path):
    found = one(decide(synthetic_ledger(tmp_path, tokens=[1_000_000, 2_000_000])), quantize(6))
    assert found.verdict == "improves"
    assert any("two checkpoints only" in caveat for caveat in found.evidence.caveats)


def test_a_ledger_without_a_ladder_says_so(tmp_path):
    with pytest.raises(PliantError, match="at least two"):
        decide(synthetic_ledger(tmp_path / "one", tokens=[1_000_000], seeds=[0]))
    with pytest.raises(PliantError, match="at least two"):
        decide(Ledger(tmp_path / "empty", create=True))
    with pytest.raises(PliantError, match="no ledger"):
        decide(tmp_path / "nowhere")


# --- the tuned learning rate


def test_the_tuned_curve_follows_the_best_rate_of_the_task(decisions):
    tuned = [decision for decision in decisions if decision.tuned]
    (task,), (generic,) = ([found for found in tuned if found.metric == metric] for metric in ("task", "generic"))
    assert task.json()["change"]["lr"] == "tuned"
    assert task.member == "lr tuned"
    assert [point.lr for point in task.evidence.curve] == [1e-2] * 5 + [3e-3]  # 2.443, 2.379, 2.348, 2.323, 2.360; 2.370 < 2.389
    assert [point.value for point in task.evidence.curve] == pytest.approx([2.443, 2.379, 2.348, 2.323, 2.360, 2.370], abs=0.1)
    rise = one(decisions, finetune(3e-3)).evidence.curve[-1].value
    assert generic.evidence.curve[-1].value == pytest.approx(rise)
    assert any("the largest that was tried, 0.01" in caveat for caveat in task.evidence.caveats)


def test_choosing_and_judging_on_different_documents_is_free_of_the_winners_curse(tmp_path):
    """Twenty equal learning rates: the best of them on the judged samples looks better than it is, cross-fitted it does not."""
    from synthetic_ledger import CODE, Record  # the same builder's parts

    generator = np.random.default_rng(0)
    ledger, records, truth = Ledger(tmp_path, create=True), [], 2.5
    names = [f"doc{number}:0" for number in range(200)]
    measure = json.dumps({"kind": "loss", "data": CODE}, sort_keys=True)
    for tokens in (1_000_000, 2_000_000):
        for change in [{"kind": "none"}, *(finetune(lr) for lr in np.geomspace(1e-4, 1e-1, 20).tolist())]:
            values = generator.normal(truth, 1.0, 200)
            records.append(
                Record(
                    study="s", checkpoint=f"m@{tokens}", base_weights=f"b{tokens}", tokens=tokens, change_kind=change["kind"],
                    change_json=json.dumps(change, sort_keys=True), measure="task", measure_json=measure, metric="loss", unit="nats/token",
                    seed=0, data="d", cell=f"{tokens}{change}", key=f"{tokens}{change}", value=float(values.mean()), stderr=0.07, n=200,
                    sample_ids=names, sample_values=values.tolist(), sample_weights=[1.0] * 200,
                )
            )  # fmt: skip
    ledger.write(records)
    found = decide(ledger)
    (tuned,) = [decision for decision in found if decision.tuned]
    best = [min(one.evidence.curve[place].value for one in found if one.change.trains and one is not tuned) for place in (0, 1)]
    assert max(best) < truth - 0.09  # the control: the smallest of twenty means is about two standard errors (0.07) low
    assert [point.value for point in tuned.evidence.curve] == pytest.approx([truth, truth], abs=0.2)
    assert np.mean([point.value for point in tuned.evidence.curve]) > truth - 0.07


def test_a_rate_inside_a_chain_is_found_and_replaced():
    (chain,) = parse_changes([[{"quantize": {"bits": 4}}, {"finetune": {"data": "builtin:code", "lr": 1e-3}}]])
    assert chain.learning_rate == 1e-3
    assert [link.get("lr") for link in chain.told(tuned=True)["links"]] == [None, "tuned"]
    assert chain.told(tuned=False) == chain.canonical()
    assert chain.member(tuned=True) == "4 bits + lr tuned"
    assert CHANGES.parse(quantize(4)).learning_rate is None


# --- small things


def test_changes_are_in_a_natural_order():
    chain = [{"finetune": {"data": "builtin:code", "lr": 1e-3}}, {"quantize": {"bits": 4}}]
    forms = [quantize(3), finetune(1e-2), chain, quantize(8), {"kind": "none"}, finetune(1e-3)]
    changes = [change for form in forms for change in parse_changes([form])]
    assert sorted(changes, key=natural) == [changes[4], changes[5], changes[1], changes[3], changes[0], changes[2]]  # weak before strong


def test_chains_are_in_order_by_their_first_link_and_then_by_the_next():
    noise = [{"kind": "perturb", "scale": scale, "unit": "rms", "tensors": "matrices", "draws": 2} for scale in (0.2, 0.05)]
    forms = [[first, quantize(bits)] for first in noise for bits in (3, 8)]
    chains = [change for form in forms for change in parse_changes([form])]
    assert sorted(chains, key=natural) == [chains[3], chains[2], chains[1], chains[0]]


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("org/model@step1000", "org/model"),
        ("./run/checkpoint-100", "./run"),
        ("./run/checkpoint-100/", "./run"),
        ("llama-16x2@8M-seed0", "llama-16x2"),
        ("model", "model"),
    ],
)
def test_families_of_addresses(address, name):
    assert family({"axis": "tokens", "checkpoint": address, "study": "s"}) == name
    assert family({"axis": "params", "checkpoint": address, "study": "s"}) == "s"


@pytest.mark.parametrize(
    ("tokens", "text"), [(999_424, "1M"), (499_712, "500k"), (1_430_000, "1.43M"), (2_380_000_000_000, "2.38T"), (0, "0")]
)
def test_budgets_are_shown_by_the_number_that_was_asked_for(tokens, text):
    assert AXES["tokens"].number(tokens) == text


def test_spearman():
    assert spearman([1, 2, 4, 8], [0.1, 0.2, 5, 6]) == pytest.approx(1)
    assert spearman([1, 2, 3], [3, 2, 1]) == pytest.approx(-1)
    assert spearman([1, 2, 3, 4], [1, 1, 2, 2]) == pytest.approx(2 / 5**0.5)  # ranks 1.5 1.5 3.5 3.5
    assert spearman([1, 2], [3, 3]) is None


def test_a_ladder_of_densities_is_judged_and_worded_from_dense_to_sparse(tmp_path):
    """The tokens of the made-up ledger called densities: what gets worse behind the best is the sparse end."""
    densities = [1.0, 0.5, 0.25, 0.125, 0.0625, 0.03125]
    made, sparse = synthetic_ledger(tmp_path / "tokens"), synthetic_ledger(tmp_path / "sparse", densities=densities)
    found, before = one(decide(sparse), perturb(0.1)), one(decide(made), perturb(0.1))
    assert found.sentence() == before.sentence().replace("1M tokens", "density 0.5").replace("1M to 2M", "0.25 to 0.5").replace(
        "16M", "0.03125"
    )
    assert (found.best, found.rise, found.verdict) == (0.5, before.rise, "degrades")
    assert found.evidence.spearman == before.evidence.spearman == 1
    assert [point.position for point in found.evidence.curve] == densities
    assert one(decide(sparse), {"kind": "none"}).sentence() == "still improves at density 0.03125"
    assert all("may lie before" not in caveat for one in decide(sparse) for caveat in one.evidence.caveats)
