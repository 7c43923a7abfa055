"""Saved fits: read back as they were, and refused with the field at fault when they are not whole."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pliant.decide import epochs
from pliant.errors import PliantError
from pliant.laws import LAWS, Fit, fit, grid, simulate

LAW = LAWS["repetition_tokens"]
CONSTANTS = {name: value for name, value in LAWS["repetition"].printed["2305.16264"].items() if name in LAW.parameter_names}


@pytest.fixture(scope="module")
def made() -> Fit:
    runs = simulate(LAW, grid(N=(1e7, 1e8, 1e9), D=np.geomspace(1e9, 1e11, 4), U=(1e9, 4e9)), CONSTANTS, 0.003, 0)
    return fit(LAW, runs, bootstrap=20, bounds={"alpha": (0, np.inf)}, priors={"E": (1.8, 0.1)}, clusters="U")


@pytest.fixture(scope="module")
def form(made: Fit, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    path = tmp_path_factory.mktemp("fit") / "fit.json"
    made.save(path)
    return json.loads(path.read_text())


def loaded(form: Any, folder: Path) -> Fit:
    (folder / "fit.json").write_text(form if isinstance(form, str) else json.dumps(form))
    return Fit.load(folder / "fit.json")


def altered(form: dict[str, Any], place: tuple[str | int, ...], value: object) -> dict[str, Any]:
    changed = copy.deepcopy(form)
    inside: Any = changed
    for part in place[:-1]:
        inside = inside[part]
    if value is ...:
        del inside[place[-1]]
    else:
        inside[place[-1]] = value
    return changed


def test_a_fit_comes_back_as_it_was(made: Fit, form: dict[str, Any], tmp_path: Path) -> None:
    again = loaded(form, tmp_path)
    assert again.summary() == made.summary()
    assert again.options == made.options
    assert again.options.bounds == {"alpha": (0.0, None)}
    np.testing.assert_array_equal(again.bootstrap_samples, made.bootstrap_samples)
    np.testing.assert_array_equal(again.predict(), made.predict())


@pytest.mark.parametrize(
    ("place", "value", "says"),
    [
        (("draws", 3, 1), float("nan"), "NaN is not a number"),
        (("draws", 3, 1), 1e999, "Infinity is not a number"),
        (("draws", 3, 1), "0.3", "draws, item 4, item 2: a number is needed"),
        (("draws", 3), [1.0], "draws, item 4 has 1, and there are 5 free parameters"),
        (("draws", 3), ..., "draws has 19, and there are 20 bootstrap samples"),
        (("draws",), [], "draws has 0, and there are 20 bootstrap samples"),
        (("theta",), [1.0], "theta has 1, and there are 5 free parameters"),
        (("theta", 0), 800.0, "theta lies beyond the bounds"),
        (("target",), [3.0] * 23, "summary.n has 24, and there are 23 rows"),
        (("target", 0), -3.0, "loss holds -3, and must be above zero"),
        (("target", 0), None, "target, item 1: nothing is given"),
        (("columns", "N"), [1e7] * 23, "columns.N has 23, and there are 24 rows"),
        (("columns", "D", 5), 0, "D holds 0, and must be above zero"),
        (("columns", "N", 0), 1e308, "columns.N, item 1: a number of at most 1e\\+100 is needed"),
        (("columns", "N"), ..., "reads N, D, U"),
        (("columns", "extra"), [1.0] * 24, "reads N, D, U"),
        (("texts",), {}, "texts.U is missing"),
        (("summary", "law"), "chinchila", "unknown law 'chinchila'; did you mean 'chinchilla'"),
        (("summary", "n"), -24, "summary.n: a number above 0 is needed"),
        (("summary", "n"), 10**30, "beyond what a whole number can be"),
        (("summary", "starts", "tried"), -1, "summary.starts.tried: a number of at least 0 is needed"),
        (("summary", "audit", "verdict"), "sure", "summary.audit.verdict: 'holds', 'fails' or 'undetermined' is needed"),
        (("summary", "audit"), ..., "field 'summary.audit' is missing"),
        (("summary", "noise"), -0.1, "summary.noise: a number of at least 0"),
        (("summary", "residual"), "ratio", "summary.residual"),
        (("summary", "loss"), "hubris", "loss 'hubris'"),
        (("summary", "bootstrap"), "wild", "draws has 20, and there are 400 bootstrap samples"),
        (("settings", "by"), {"E": "U"}, "free parameters"),
        (("settings", "by"), {"E": "pool"}, "texts.pool is missing"),
        (("settings", "fix"), {"alpha": 0.3}, "theta has 5, and there are 4 free parameters|tied"),
        (("settings", "bounds"), {"alpha": [0]}, "settings.bounds"),
        (("flat",), [["gamma"], []], "flat names 'gamma'"),
        (("penalty",), [[0.0], [0.0]], "penalty has 1"),
        (("penalty", 1, 0), -1.0, "penalty holds a negative strength"),
        (("version",), 2, "fit version 2 is not one"),
        (("format",), "other", "not a fit that pliant saved"),
    ],
    ids=lambda value: ".".join(map(str, value)) if isinstance(value, tuple) else None,
)
def test_a_damaged_fit_names_the_field(form: dict[str, Any], place: Any, value: object, says: str, tmp_path: Path) -> None:
    with pytest.raises(PliantError, match=says) as caught:
        loaded(altered(form, place, value), tmp_path)
    assert "fit.json" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"x"', "[" * 100_000, '{"format":"pliant fit","version":1}', "\0", "9" * 5000])
def test_what_is_no_fit_at_all_is_one_line(text: str, tmp_path: Path) -> None:
    with pytest.raises(PliantError, match=r"fit\.json"):
        loaded(text, tmp_path)


def places(form: Any, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """Every place of a form, of lists the first only."""
    if place:
        yield place
    keys = form if isinstance(form, dict) else range(min(1, len(form))) if isinstance(form, list) else ()
    for key in keys:
        yield from places(form[key], (*place, key))


@pytest.mark.filterwarnings("error")
def test_whatever_stands_anywhere_is_refused_or_does_no_harm(form: dict[str, Any], tmp_path: Path) -> None:
    """A fit that is taken answers in plain numbers; anything else is a line."""
    refused = 0
    for place in places(form):
        for value in (None, "x", -1, 1e308, [], {}, [[]], True, ...):
            try:
                found = loaded(altered(form, place, value), tmp_path)
            except PliantError:
                refused += 1
                continue
            assert np.isfinite(found.predict()).all()
            json.dumps(found.summary(), allow_nan=False)
    assert refused > 400


def test_a_question_is_refused_by_a_law_that_knows_nothing_of_it(made: Fit) -> None:
    assert epochs(made, 4e9, 1e20, {}).question == "how far to repeat the data"
