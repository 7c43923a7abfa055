"""Every row of examples/threads/README.md, recomputed from the numbers in its table."""

import re
from pathlib import Path

import numpy as np
import pytest

from pliant import compare
from pliant.comparison.effect import detectable
from pliant.comparison.significance import mcnemar
from pliant.decide.items import decide

THREADS = Path(__file__).parents[2] / "examples" / "threads"
CLAIMS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in (THREADS / "README.md").read_text().splitlines()
    if line.startswith("| ") and not line.startswith("| thread")
]


def found(name, margin=0.005):
    return compare(THREADS / f"{name}.csv", margin=margin)


def over_all(name, margin=0.005):
    return found(name, margin).rows[-1]


def ranks(name):
    last = [row for row in found(name).rows if row.task == "over all"]
    return {last[0].a: last[0].ranks[0]} | {row.b: row.ranks[1] for row in last}


def test_every_table_is_claimed_and_every_claim_has_its_table():
    named = {name for _, _, table, _, _ in CLAIMS for name in re.findall(r"\((\S+)\.csv\)", table)}
    assert named == {path.stem for path in THREADS.glob("*.csv")}
    assert {verdict for _, _, _, verdict, _ in CLAIMS} == {"confirmed", "overturned", "undetermined"}
    assert len({thread for thread, *_ in CLAIMS}) > 20


def said(name):
    """The verdict in the table, and its words."""
    rows = [(verdict, words) for _, _, table, verdict, words in CLAIMS if f"({name}.csv)" in table]
    assert len(rows) == 1
    return rows[0]


@pytest.mark.parametrize(
    ("name", "margin", "verdict", "claimed"),
    [
        ("nanochat-638", 0.005, "undetermined", "undetermined"),
        ("nanochat-655", 0.005, "undetermined", "undetermined"),
        ("nanochat-516", 0.005, "undetermined", "undetermined"),
        ("nanochat-733", 0.005, "better", "confirmed"),
        ("vllm-6612", 0.005, "undetermined", "undetermined"),
        ("vllm-54920", 0.005, "undetermined", "confirmed"),
        ("llm-compressor-2606", 0.005, "undetermined", "undetermined"),
        ("llm-compressor-2936", 0.005, "undetermined", "confirmed"),
        ("parameter-golf-1906", 0.0, "better", "confirmed"),
        ("parameter-golf-2117", 0.002, "tied", "confirmed"),
        ("parameter-golf-1967", 0.0, "better", "confirmed"),
        ("senpai-1136", 0.005, "undetermined", "undetermined"),
        ("sglang-31702-engine", 0.005, "tied", "confirmed"),
        ("sglang-31702-hardware", 0.005, "worse", "confirmed"),
        ("bergson-395", 0.005, "better", "confirmed"),
        ("inspect-3511", 0.005, "undetermined", "confirmed"),
        ("marin-8955", 0.005, "better", "confirmed"),
        ("peft-3552", 0.005, "worse", "overturned"),
        ("hrpo-5", 0.005, "undetermined", "undetermined"),
        ("open-instruct-1880", 0.005, "undetermined", "undetermined"),
    ],
)
def test_two_systems_are_settled(name, margin, verdict, claimed):
    row = over_all(name, margin)
    assert row.verdict == verdict
    claim, words = said(name)
    assert claim == claimed
    for digits, end in ((r"\[([+-][\d.]+), ", row.effect.low), (r", ([+-][\d.]+)\]", row.effect.high)):
        for told in re.findall(digits, words)[:1]:
            assert float(told) == pytest.approx(end, abs=10.0 ** -len(told.partition(".")[2]) * 0.51)
    for told in re.findall(r"([\d,]+) more", words):
        assert int(told.replace(",", "")) == (row.more_items or row.more_seeds)


def test_of_recipes_that_share_all_ranks_none_leads():
    leads = {"llm-compressor-2922-ifeval": (11, "NVFP4-GPTQ-damp05-perf-blend"), "llm-compressor-3001": (8, "NVFP4-GPTQ-AWQ-ultrachat")}
    for name, (count, one) in leads.items():
        assert set(ranks(name).values()) == {(1, count)}
        assert all(signal.signal == 0 for signal in found(name).signals)
        claim, words = said(name)
        row = next(row for row in found(name).rows if row.b == one)
        assert claim == "undetermined"
        assert f"{row.more_seeds} more" in words


def test_gptq_is_above_plain_rounding_and_its_variants_are_not_told_apart():
    told = ranks("llm-compressor-2922-mmlu")
    above = [name for name, (_, worst) in told.items() if worst < told["NVFP4"][0]]
    assert len(above) == 6
    assert {name for name in told if "GPTQ" in name} == {*above, "NVFP4-GPTQ-AWQ"}
    assert sorted(span for span in told.values() if span[0] == 1) == [(1, 7)] * 6 + [(1, 8)]
    assert said("llm-compressor-2922-mmlu")[0] == "confirmed"


def test_core_is_noisier_than_bits_per_byte():
    path = str(THREADS / "nanochat-807.csv")
    core, bits = (decide([path], size, metric=metric).runs for metric, size in (("core", 0.0022), ("val_bpb", 0.0052)))
    claim, words = said("nanochat-807")
    assert claim == "confirmed"
    assert bits == 2
    assert f"takes {core} runs" in words


def test_the_baseline_is_known_less_well_than_was_said():
    reach = over_all("senpai-1007").effect.reach
    assert reach > 3 * 0.007
    assert said("senpai-1007") == ("overturned", f"of the six runs listed it is known to ±{reach:.3f}")


def test_totals_that_exclude_each_other_are_mcnemars():
    assert over_all("bergson-395").p == pytest.approx(mcnemar(308, 173))
    assert over_all("inspect-3511").p == pytest.approx(mcnemar(0, 2))


def test_what_164_problems_detect():
    """Unpaired at 50%, both systems' variances add; paired, the share of problems on which two systems differ does."""
    assert detectable(np.sqrt(2 * 0.25 / 164), 1e9, confidence=0.95) == pytest.approx(0.155, abs=0.0005)
    assert detectable(np.sqrt(0.1 / 164), 163, confidence=0.95) == pytest.approx(0.07, abs=0.0005)


def test_the_exact_test_is_shy_and_mid_p_is_not():
    """Half of 200 items hard (45% right), half easy (85%); two alike systems that err apart. Their levels, without simulation."""
    from scipy import stats

    apart = [stats.binom(100, 2 * right * (1 - right)).pmf(np.arange(101)) for right in (0.45, 0.85)]
    levels = np.zeros(2)
    for count, chance in enumerate(np.convolve(*apart)):
        won = np.arange(count + 1)
        each = stats.binom(count, 0.5).pmf(won)
        exact = np.minimum(1, 2 * stats.binom(count, 0.5).cdf(np.minimum(won, count - won)))
        middle = np.array([mcnemar(int(one), count - int(one)) for one in won])
        levels += chance * np.array([each[exact < 0.05].sum(), each[middle < 0.05].sum()])
    assert levels[0] == pytest.approx(0.036, abs=0.004)  # as published
    assert levels[1] == pytest.approx(0.049, abs=0.004)
