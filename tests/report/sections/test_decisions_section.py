"""The headline says what the table says, whatever the unchanged checkpoints do."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from pliant.changes import CHANGES
from pliant.decide.curves.checkpoint import CheckpointDecision
from pliant.report.results import LadderDecisions
from pliant.report.sections.decisions import answer, signed

BUDGETS = (100_000_000, 200_000_000, 400_000_000)


def found(verdict, best, change=None, low=None, high=None):
    low, high = (best if edge is None else edge for edge in (low, high))
    evidence = SimpleNamespace(metric="loss", axis="tokens", phase=None, curve=[SimpleNamespace(position=tokens) for tokens in BUDGETS])
    change = CHANGES.parse(change or "none")
    places = {"best": best * 10**6, "low": low * 10**6, "high": high * 10**6}
    rises = {"rise": 0.0, "rise_low": 0.0, "rise_high": 0.0}
    return CheckpointDecision(change=change, tuned=False, metric="loss", verdict=verdict, **places, **rises, evidence=evidence)


def headline(base, *changed):
    noise = [found(verdict, best, {"kind": "perturb", "scale": number + 1}) for number, (verdict, best) in enumerate(changed)]
    return answer(LadderDecisions("m", [*([base] if base else []), *noise]))


@pytest.mark.parametrize(
    ("base", "changed", "expected"),
    [
        (
            found("degrades", 100),
            [("degrades", 100), ("undetermined", 200), ("undetermined", 200)],
            "Left unchanged, loss is best at 100M tokens already; after 1 of 3 changes the best comes at the same checkpoint.",
        ),
        (
            found("degrades", 200),
            [("degrades", 100), ("degrades", 200), ("degrades", 300)],
            "Left unchanged, loss is best at 200M tokens already; after 1 of 3 changes the best comes earlier, at 100M tokens, "
            "after 1 of 3 changes the best comes at the same checkpoint, after 1 of 3 changes the best comes later, at 300M tokens.",
        ),
        (
            found("improves", 400),
            [("degrades", 100), ("degrades", 200), ("improves", 400)],
            "Left unchanged, loss improves up to 400M tokens; after 2 of 3 changes the best comes earlier, at 100M to 200M tokens.",
        ),
        (
            found("undetermined", 200, low=100, high=400),
            [("degrades", 200)],
            "Left unchanged, it is undetermined where loss is best: 100M to 400M tokens; "
            "after the one change an earlier checkpoint is better than the last: the best lies at 200M tokens.",
        ),
        (
            found("degrades", 200),
            [("improves", 400), ("undetermined", 400)],
            "Left unchanged, loss is best at 200M tokens already; "
            "after 1 of 2 changes it improves up to the last checkpoint, and none is shown to turn.",
        ),
        (
            found("improves", 400),
            [("improves", 400), ("improves", 400)],
            "Left unchanged, loss improves up to 400M tokens; "
            "after all 2 changes it improves up to the last checkpoint too, and none is shown to turn.",
        ),
        (
            found("improves", 400),
            [("undetermined", 400)],
            "Left unchanged, loss improves up to 400M tokens; after no change is it shown to improve or to turn.",
        ),
        (None, [("degrades", 100)], "After the one change an earlier checkpoint is better than the last: the best lies at 100M tokens."),
        (found("improves", 400), [], "Left unchanged, loss improves up to 400M tokens."),
    ],
)
def test_changed_bests_are_compared_with_the_unchanged_one(base, changed, expected):
    assert headline(base, *changed) == expected


def test_what_rounds_to_zero_has_no_minus():
    assert [signed(value) for value in (-0.0001, 0.0, -0.001)] == ["+0.000", "+0.000", "\u22120.001"]
