import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pliant.errors import PliantError
from pliant.models.revisions import PATTERNS, Revision, known_batch_tokens, parse, tokens_of

EXAMPLES = {
    "step143000": Revision("step143000", step=143000),
    "step1000-tokens4B": Revision("step1000-tokens4B", step=1000, tokens=4 * 10**9),
    "stage1-step150-tokens1B": Revision("stage1-step150-tokens1B", step=150, tokens=10**9, stage=1),
    "stage2-ingredient1-step1000-tokens5B": Revision("stage2-ingredient1-step1000-tokens5B", step=1000, tokens=5 * 10**9, stage=2),
    "step-001000-2BT": Revision("step-001000-2BT", step=1000, tokens=2 * 10**9),
    "step69369-seed-default": Revision("step69369-seed-default", step=69369, seed="default"),
    "global_step5000": Revision("global_step5000", step=5000),
    "128000": Revision("128000", step=128000),
    "step10-tokens0.5B": Revision("step10-tokens0.5B", step=10, tokens=5 * 10**8),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_each_published_pattern_is_read(name):
    assert parse(name) == EXAMPLES[name]
    assert sum(pattern.fullmatch(name) is not None for pattern in PATTERNS) == 1


def test_steps_are_counted_from_the_beginning_of_training():
    steps = {name: found.steps for name, found in EXAMPLES.items()}
    assert steps["stage1-step150-tokens1B"] == 150
    assert steps["stage2-ingredient1-step1000-tokens5B"] is None  # they begin anew
    assert (steps["global_step5000"], steps["step-001000-2BT"], steps["128000"]) == (5000, 1000, 128000)


HOSTILE = ["step" + "9" * 5000, "9" * 16, "step\u0663", "step\xb2", "step1-tokens9999999T", "step1\n"]
HOSTILE += ["stage123-step1-tokens1B", "stage999999999999-step1-tokens1B", "step1-tokens1.2345B", "step1-tokens\u0664B"]


@pytest.mark.parametrize("name", ["main", "v1.0", "step", "step12x", "stage1", "tokens4B", "step-5", "", "step1000-tokens4", *HOSTILE])
def test_other_names_tell_nothing(name):
    assert parse(name) is None


def test_pythia_needs_no_help():
    assert tokens_of(["step143000", "step0", "step1"], hub="EleutherAI/pythia-70m-deduped") == {
        "step0": 0,
        "step1": 2_097_152,
        "step143000": 143_000 * 2_097_152,
    }
    assert known_batch_tokens("somebody/pythia-70m") is None


def test_the_most_explicit_source_wins():
    name = "step1000-tokens4B"
    assert tokens_of([name]) == {name: 4 * 10**9}
    assert tokens_of([name], batch_tokens=4_194_304) == {name: 4_194_304_000}
    assert tokens_of([name], batch_tokens=4_194_304, token_map={name: 7}) == {name: 7}
    assert tokens_of(["step2"], hub="EleutherAI/pythia-70m", batch_tokens=10) == {"step2": 20}


def test_a_second_stage_starts_where_the_first_ended():
    names = ["stage2-ingredient1-step1000-tokens5B", "stage2-ingredient2-step2000-tokens9B"]
    everything = ["stage1-step150-tokens1B", "stage1-step900-tokens6B", *names, "main"]
    assert tokens_of(names, all_names=everything) == {names[0]: 11 * 10**9, names[1]: 15 * 10**9}
    with pytest.raises(PliantError, match="no revision of stage 1"):
        tokens_of(names)
    assert tokens_of(names[:1], token_map={names[0]: 10}) == {names[0]: 10}


@given(st.lists(st.integers(0, 10**7), min_size=1, max_size=20, unique=True), st.integers(1, 10**7))
def test_a_ladder_is_sorted_by_tokens_not_by_name(steps, batch):
    names = [f"step{step}" for step in steps]
    random.Random(0).shuffle(names)
    found = tokens_of(names, batch_tokens=batch)
    assert list(found) == [f"step{step}" for step in sorted(steps)]
    assert list(found.values()) == [step * batch for step in sorted(steps)]


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (["main"], {}, "no known pattern, or a map `tokens: {main: 4B}`|no known pattern"),
        (["step5"], {}, "batch_tokens"),
        (["global_step5", "main"], {"batch_tokens": 10}, "'main'"),
        (["step5"], {"token_map": {"step6": 1}}, "'step6'"),
    ],
)
def test_what_cannot_be_told_asks_for_the_map(names, options, message):
    with pytest.raises(PliantError, match=message):
        tokens_of(names, **options)


def test_more_tokens_than_a_number_holds():
    with pytest.raises(PliantError, match=r"would stand behind 1e\+21 tokens"):
        tokens_of(["step999999999999999"], batch_tokens=10**6)
    stages = ["stage2-step1-tokens999999T", *(f"stage1-ingredient{number}-step1-tokens999999T" for number in range(3))]
    assert tokens_of(["stage2-step1-tokens999999T"], all_names=stages) == {"stage2-step1-tokens999999T": 2 * 999_999 * 10**12}
