"""The forms a study's `changes` may take, and what a chain is."""

from __future__ import annotations

from typing import Any

import pytest

from pliant.changes import CHANGES, Chain, Perturb, Quantize, parse_changes
from pliant.errors import PliantError
from pliant.models import Model


def test_lists_in_fields_are_sweeps_and_lists_are_chains() -> None:
    changes = parse_changes(
        [
            "none",
            {"perturb": {"scale": [0.05, 0.1], "draws": 2}},
            {"quantize": {"bits": ["3..5"]}},
            [{"perturb": {"scale": [1, 2], "draws": 6}}, {"quantize": {"bits": [3, 4, 5]}}],
        ]
    )
    assert [change.kind for change in changes] == ["none"] + ["perturb"] * 2 + ["quantize"] * 3 + ["chain"] * 6
    chains = [change for change in changes if isinstance(change, Chain)]
    assert [(c.links[0].canonical()["scale"], c.links[1].canonical()["bits"]) for c in chains] == [
        (scale, bits) for scale in (1, 2) for bits in (3, 4, 5)
    ]
    assert {(c.draws, c.stochastic) for c in chains} == {(6, True)}
    assert [c.draws for c in changes[:6]] == [1, 2, 2, 1, 1, 1]


def test_a_chain_of_one_is_that_change_and_repeats_count_once() -> None:
    assert parse_changes([[{"quantize": {"bits": 4}}], {"quantize": {"bits": [4, 4]}}]) == [Quantize(bits=4)]


def test_every_change_survives_its_record() -> None:
    for change in parse_changes(
        ["none", {"perturb": {"scale": 1}}, [{"perturb": {"scale": 1, "unit": "init"}}, {"quantize": {"bits": 4}}]]
    ):
        again = CHANGES.parse(change.canonical())
        assert again == change
        assert again.hash() == change.hash()
        assert again.canonical_json() == change.canonical_json()


def test_links_are_made_in_order(model: Model) -> None:
    noise, rounding = Perturb(scale=0.2), Quantize(bits=3)
    with Chain(links=(noise, rounding)).applied(model, seed=5, draw=3):
        chained = model.weights()
        rows = model.network.get_input_embeddings().weight.detach()
        assert max(len(row.unique()) for row in rows) <= 7
    with noise.applied(model, 5, 3), rounding.applied(model, 5, 3):
        assert model.weights() == chained
    with Chain(links=(rounding, noise)).applied(model, seed=5, draw=3):
        assert model.weights() != chained


def test_a_failing_link_undoes_the_earlier_ones(model: Model) -> None:
    before = model.weights()
    with pytest.raises(PliantError, match="groups of 5"), Chain(links=(Perturb(scale=1), Quantize(bits=3, group=5))).applied(model):
        pass
    assert model.weights() == before


@pytest.mark.parametrize(
    ("form", "message"),
    [
        ({"quantize": {"bits": 4}}, "expected a list of changes"),
        ([], "expected a list of changes"),
        (["non"], "changes, item 1: unknown change 'non'; did you mean 'none'"),
        (["none", {"quantize": {"bit": 4}}], "changes, item 2: quantize: unknown field 'bit'; did you mean 'bits'"),
        (["none", [{"quantize": {"bits": 99}}, "none"]], "changes, item 2: quantize: bits"),
        (
            ["none", [{"perturb": {"scale": 1, "split": True}}, {"quantize": {"bits": 4}}]],
            r"changes, item 2: .*`split` of perturb is not for chains.*\(got \[perturb\(scale=1, split=True\), quantize\(bits=4\)\]\)$",
        ),
        ([[]], "at least one"),
        ([{"quantize": {"bits": []}}], "empty list"),
    ],
)
def test_wrong_forms_name_the_item(form: Any, message: str) -> None:
    with pytest.raises(PliantError, match=message):
        parse_changes(form)


def test_labels_are_short() -> None:
    assert parse_changes(["none"])[0].label() == "none"
    chain = parse_changes([[{"perturb": {"scale": 0.1}}, {"quantize": {"bits": 4}}]])[0]
    assert chain.label() == "perturb(scale=0.1) + quantize(bits=4)"


def test_the_schema_covers_every_kind() -> None:
    schema = CHANGES.json_schema()
    assert {"none", "perturb", "quantize", "chain"} <= set(schema["anyOf"][0]["enum"])
