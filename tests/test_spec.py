"""Specs: one typed description gives YAML, sweeps, schema, hash and errors."""

import contextlib
import importlib
import json
import sys
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field

from pliant.changes import CHANGES
from pliant.errors import PliantError
from pliant.measures import MEASURES
from pliant.methods import METHODS
from pliant.models import Checkpoint
from pliant.numbers import Count, Rate
from pliant.objectives import NextToken
from pliant.spec import Catalog, Spec, sweep
from pliant.train import TrainedLadder


class Round(Spec):
    """Round the weights."""

    bits: int = Field(description="bits")
    group: int | str = "channel"
    tensors: tuple[str, ...] = ()
    tokens: Count = Field(5, ge=1)
    mode: Literal["up", "down"] = "up"
    by_name: dict[str, int] = Field({"a": 1}, min_length=1)


class Nothing(Spec):
    """Leave them."""

    kind = "none"


ROUNDERS = Catalog("rounder", Round, Nothing)


def test_kind_is_the_class_name_in_snake_case_unless_said():
    assert (Round.kind, Nothing.kind) == ("round", "none")


def test_a_name_may_be_typed_with_dashes_as_options_are():
    assert METHODS.parse("wise-ft") == METHODS.parse("wise_ft")
    assert METHODS.parse({"l2-start": {"strength": 0.1}}).canonical()["kind"] == "l2_start"
    with pytest.raises(PliantError, match="unknown method 'no-such'"):
        METHODS.parse("no-such")


def test_a_list_is_a_sweep_and_the_product_is_taken():
    specs = ROUNDERS.expand({"round": {"bits": [3, 4], "group": ["channel", 64]}})
    assert [(spec.bits, spec.group) for spec in specs] == [(3, "channel"), (3, 64), (4, "channel"), (4, 64)]


def test_a_list_typed_field_is_not_swept_unless_it_holds_lists():
    assert [spec.tensors for spec in ROUNDERS.expand({"round": {"bits": 3, "tensors": ["a", "b"]}})] == [("a", "b")]
    assert [spec.tensors for spec in ROUNDERS.expand({"round": {"bits": 3, "tensors": [["a"], ["b"]]}})] == [("a",), ("b",)]


def test_a_range_in_a_sweep():
    assert [spec.bits for spec in ROUNDERS.expand({"round": {"bits": ["2..4", 8]}})] == [2, 3, 4, 8]


@given(
    st.integers(1, 16), st.one_of(st.integers(1, 512), st.sampled_from(["channel", "tensor"])), st.lists(st.text(max_size=3), max_size=3)
)
def test_the_canonical_form_reads_back_to_the_same_hash(bits, group, tensors):
    spec = Round(bits=bits, group=group, tensors=tuple(tensors))
    again = ROUNDERS.parse(json.loads(spec.canonical_json()))
    assert again == spec
    assert again.hash() == spec.hash()


def test_the_hash_tells_meanings_apart_and_not_spellings():
    assert Round(bits=4).hash() != Round(bits=3).hash()
    assert ROUNDERS.parse({"round": {"bits": 4, "tokens": "16M"}}).hash() == Round(bits=4, tokens=16_000_000).hash()


@pytest.mark.parametrize(
    ("form", "words"),
    [
        ({"round": {"bit": 4}}, ["'bit'", "'bits'"]),
        ({"rounds": {}}, ["'rounds'", "'round'"]),
        ({"round": {"bits": "x"}}, ["bits: a whole number is needed (got 'x')"]),
        ({"round": {}}, ["'bits'", "missing"]),
        ({"round": {"bits": 4, "tokens": "16Q"}}, ["tokens", "16Q"]),
        ({"round": {"bits": []}}, ["'bits'", "empty"]),
        ({"round": {"bits": None}}, ["bits: nothing is given"]),
        ({"round": {"bits": 4, "group": 1.5}}, ["group: a whole number or text is needed (got 1.5)"]),
        ({"round": {"bits": 4, "mode": "dwon"}}, ["mode: 'up' or 'down' is needed (got 'dwon'); did you mean 'down'?"]),
        ({"round": {"bits": 4, "tensors": "a"}}, ["tensors: a list is needed, such as [a] (got 'a')"]),
        ({"round": {"bits": 4, "tensors": ["a", 5]}}, ["tensors, item 2: text is needed (got 5); put it in quotes"]),
        ({"round": {"bits": 4, "tokens": 0}}, ["tokens: a number of at least 1 is needed (got 0)"]),
        ({"round": {"bits": 4, "by_name": {}}}, ["by_name: give at least one"]),
        ({"round": {"bits": 4, "by_name": {"a": "x"}}}, ["by_name.a: a whole number is needed (got 'x')"]),
        ({"round": {"bits": 4, "by_name": 5}}, ["by_name: a mapping such as {name: value} is needed (got 5)"]),
        ({"round": 5}, ["a mapping of fields is needed (got 5)"]),
        (3, ["name"]),
        ({"a": 1, "b": 2}, ["name"]),
    ],
)
def test_an_error_is_one_line_that_says_what_and_where(form, words):
    with pytest.raises(PliantError) as caught:
        ROUNDERS.expand(form, "changes[1]")
    message = str(caught.value)
    assert message.startswith("changes[1]")
    assert "\n" not in message
    assert all(word in message for word in words)


def test_python_construction_raises_the_same_error():
    with pytest.raises(PliantError, match="unknown field 'bit'"):
        Round(bit=4)


def test_parse_refuses_a_sweep():
    with pytest.raises(PliantError, match="2 rounders"):
        ROUNDERS.parse({"round": {"bits": [3, 4]}})


def test_the_schema_accepts_what_expand_accepts():
    from jsonschema import validate

    schema = ROUNDERS.json_schema()
    for form in ("none", {"round": {"bits": 4}}, {"round": {"bits": [3, 4], "tokens": "16M"}}):
        validate(form, schema)
        assert ROUNDERS.expand(form)


def test_the_schema_refuses_an_unknown_field():
    from jsonschema import ValidationError, validate

    with pytest.raises(ValidationError):
        validate({"round": {"bit": 4}}, ROUNDERS.json_schema())


def test_labels_show_what_differs_and_specs_inside_by_their_own_labels():
    class Inner(Spec):
        width: int = 1

    class Outer(Spec):
        inner: Inner
        rates: tuple[float, ...] = ()
        bits: int = 4

    assert Outer(inner=Inner(width=2), rates=(0.001, 1e-6)).label() == "outer(inner=inner(width=2), rates=[0.001, 1e-06])"


def test_a_long_list_of_names_is_cut_where_it_stops_helping():
    from pliant.spec import nearest

    assert nearest("zzz", ["b", "a"]) == "known: a, b"
    told = nearest("zzz", [f"model.layers.{number}.weight" for number in range(100)])
    assert len(told) < 400
    assert told.endswith(f" and {100 - told.count('weight')} more")


@pytest.mark.parametrize(
    ("form", "number"),
    [
        ({"size": ["2..1000000000"]}, "999,999,999"),
        ({"size": ["1..300"], "name": ["a"] * 300}, "90,000"),
    ],
)
def test_sweeps_are_counted_before_they_are_made(form, number):
    with pytest.raises(PliantError, match=number):
        next(iter(sweep(form, Swept)))


@pytest.mark.parametrize("text", ["2..1" + "0" * 30, "2.." + "9" * 5000])
def test_a_range_beyond_numbers_is_one_short_line(text):
    with pytest.raises(PliantError, match="beyond") as caught:
        next(iter(sweep({"size": [text]}, Swept)))
    assert len(str(caught.value)) < 120


class Swept(Spec):
    size: int = 0
    name: str = ""
    parts: tuple[int, ...] = ()
    inner: dict[str, int] = Field({})


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1, 10**400, 1e30])
def test_whole_numbers_fit_64_bits(number):
    for form in ({"size": number}, {"parts": [1, number]}):
        with pytest.raises(PliantError, match=r"beyond what a whole number can be|maximum size"):
            Swept.parse(form)
    assert Swept.parse({"size": 2**63 - 1, "parts": [-(2**63)]}).size == 2**63 - 1


@pytest.mark.parametrize("key", [1, True, None, 1.5, ("a",)])
def test_names_are_text_however_deep(key):
    for form in ({key: 1}, {"inner": {key: 1}}, {"inner": {"a": [{"b": {key: 1}}]}}):
        with pytest.raises(PliantError, match="names are text") as caught:
            Swept.parse(form)
        assert len(str(caught.value)) < 120


def test_a_form_that_holds_itself_is_one_line():
    form = {"size": 1}
    form["inner"] = form
    with pytest.raises(PliantError, match="nested too deeply"):
        Swept.parse(form)


class Numbers(Spec):
    """One field of every numeric type."""

    plain: int = 0
    real: float = 0.0
    count: Count = 0
    rate: Rate = 1.0
    maybe: int | None = None
    either: float | str = 0.0
    several: tuple[Count, ...] = ()
    named: dict[str, int] = Field({})


BEYOND = [10**400, -(10**400), 10**5000, 2**63, "9" * 400, 1e999, float("nan"), "1e999", "nan", "-inf"]


@pytest.mark.parametrize("number", BEYOND, ids=range(len(BEYOND)))
@pytest.mark.parametrize("field", Numbers.model_fields)
def test_no_field_takes_a_number_beyond_64_bits(field, number):
    form = {"several": [number], "named": {"a": number}}.get(field, number)
    if field in ("real", "rate", "either") and isinstance(number, int) and abs(number) < 1e300:
        assert getattr(Numbers(**{field: form}), field) == number
    elif field == "either" and isinstance(number, str):
        assert Numbers(either=form).either == number
    else:
        with pytest.raises(PliantError, match=f"^{field}"):
            Numbers(**{field: form})


KINDS = [*(kind for catalog in (CHANGES, MEASURES, METHODS) for kind in catalog.specs().values()), TrainedLadder, Checkpoint]


@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_field_is_given_is_taken_or_named(kind):
    for field in kind.model_fields:
        for value in (10**400, 10**5000, 1e999, float("nan"), "9" * 5000, "\udcff", "\0", -1, None, [], {}, [[]], {"a": {}}, object()):
            with contextlib.suppress(PliantError):
                assert isinstance(kind.parse({field: value}), kind)


def test_a_catalog_finds_kinds_that_stand_on_a_floor_above(tmp_path, monkeypatch):
    """Imported when a kind is first asked for, and not before."""
    (tmp_path / "floor_above.py").write_text("import floor_below\nfloor_below.NOUNS.add(type('Late', (floor_below.Noun,), {}))\n")
    (tmp_path / "floor_below.py").write_text(
        "from pliant.spec import Catalog, Spec\nclass Noun(Spec): pass\nNOUNS = Catalog('noun', home='floor_above')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    nouns = importlib.import_module("floor_below").NOUNS
    assert "floor_above" not in sys.modules
    assert nouns.parse("late").kind == "late"
    assert sorted(nouns.specs()) == ["late"]


def test_a_mistake_within_a_spec_is_named_by_its_whole_place():
    mixture = {"mixture": {"web": {"source": "x", "epochs": "many"}}}
    for form, place in (
        ({"data": mixture}, "data.mixture.web.epochs: a number is needed"),
        ({"data": mixture | {"phase": []}}, "unknown field 'data.phase'; did you mean 'phases'"),
        ({"data": {"mixture": {"web": "x"}, "phases": [{"until": "80%", "weight": {"web": 1}}]}}, "'data.phases, item 1.weight'"),
    ):
        with pytest.raises(PliantError, match=place):
            NextToken(**form)
