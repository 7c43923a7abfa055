"""Anybody's own law: the same fit as the catalog's, saved by its text, and no text does harm."""

from __future__ import annotations

from functools import reduce
from pathlib import Path

import numpy as np
import pytest
import torch
from designs import CHINCHILLA

from pliant.errors import PliantError
from pliant.laws import LAWS, Fit, fit, formula, grid, law_named, simulate
from pliant.laws.forms.expression import degree, evaluated, parsed

RUNS = simulate(LAWS["chinchilla"], grid(N=(1e7, 3e7, 1e8, 3e8, 1e9), D=(3e8, 1e9, 3e9, 1e10, 3e10)), CHINCHILLA, 0.003, 0)
TEXT = "E + A/N**a + B/D**b"


def test_the_chinchilla_law_written_out_is_the_chinchilla_law() -> None:
    ours, written = fit("chinchilla", RUNS, bootstrap=0), fit(formula(TEXT, RUNS), RUNS, bootstrap=0)
    assert written.objective == pytest.approx(ours.objective, rel=1e-6)
    for own, name in (("E", "E"), ("A", "A"), ("B", "B"), ("a", "alpha"), ("b", "beta")):
        assert written.parameters[own] == pytest.approx(ours.parameters[name], rel=1e-3)
    assert written.audit.verdict == ours.audit.verdict == "holds"


def test_saved_by_its_text_and_read_back(tmp_path: Path) -> None:
    found = fit(formula(f"loss = {TEXT}", RUNS), RUNS, bootstrap=20)
    found.save(tmp_path / "fit.json")
    again = Fit.load(tmp_path / "fit.json")
    assert again.law.name == "formula(N, D): loss = E + A / N ** a + B / D ** b"
    np.testing.assert_array_equal(again.predict({"N": 1e9, "D": 1e11}), found.predict({"N": 1e9, "D": 1e11}))


def test_other_targets_signs_and_functions() -> None:
    """A falling line and a sigmoid: linear parameters take either sign, those within a function are found over decades."""
    x = np.linspace(1, 5, 30)
    line = fit(formula("y = a + b*log(x)", ["x"]), {"x": x, "y": 3 - 2 * np.log(x)}, bootstrap=0).parameters
    assert line["a"] == pytest.approx(3)
    assert line["b"] == pytest.approx(-2)
    curve = {"x": x, "accuracy": 0.25 + 0.5 / (1 + np.exp(3 * (x - 2.5)))}
    found = fit(formula("accuracy = c + h*sigmoid(k*(m - x))", ["x"]), curve, bootstrap=0)
    np.testing.assert_allclose(found.predict(), curve["accuracy"], atol=1e-6)
    tokens = np.geomspace(1e6, 1e10, 30)
    offset = fit(formula("E + B*(D + D0)**-b", ["D"]), {"D": tokens, "loss": 2 + 1e3 * (tokens + 3e7) ** -0.4}, bootstrap=0)
    np.testing.assert_allclose(offset.predict(), offset.target, rtol=1e-5)


def test_every_operation_by_hand() -> None:
    values = {name: torch.tensor(value, dtype=torch.float64) for name, value in (("x", 3.0), ("y", 0.5))}
    for text, expected in (
        ("-x + +y*2 - 1/4", -2.25),
        ("x**2**y", 3**2**0.5),
        ("(-x)**2", 9.0),
        ("sqrt(x*12) + exp(0)*log(1)", 6.0),
        ("min(x, y) + max(x, y)", 3.5),
        ("sigmoid(y - 0.5)", 0.5),
    ):
        assert float(evaluated(parsed(text), values)) == pytest.approx(expected), text


def test_what_is_linear() -> None:
    tree = parsed("E + A/N**a - B*log(D)/2 + C*A")
    assert degree(tree, {"E", "A", "B"}) == 1
    assert degree(tree, {"A", "C"}) == degree(tree, {"a"}) == float("inf")
    assert degree(tree, {"Z"}) == 0


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("().__class__", "cannot stand in it"),
        ("N.real + a", "cannot stand in it"),
        ("9**9**9**9 + a*N", "no number that can be reckoned with"),
        ("(" * 300 + "N" + ")" * 300, "cannot be read"),
        ("-" * 1500 + "N", "more than 100 deep"),
        ("not " * 450 + "N", "cannot stand in it"),
        ("N" + ".a" * 900 + "(1)", "there is no function"),
        ("+".join(["a*N"] * 400), "deep"),
        (reduce(lambda text, _: f"({text}+{text})", range(8), "a*N"), "parts"),
        ("a" * 3000, "characters"),
        ("__import__('os').system('true')", "there is no function"),
        ("[a for a in N]", "cannot stand in it"),
        ("a + (lambda: N)()", "there is no function"),
        ("exp + N", "exp is a function"),
        ("exp(N, a)", "takes 1 argument"),
        ("min(*N)", "takes 2 arguments"),
        ("expp(N)*a", "did you mean 'exp'"),
        ("a + 'N'", "no number"),
        ("a + 1e999*N", "no number"),
        ("a + True*N", "no number"),
        ("E + A", "none of its names is a column"),
        ("3*N", "0 names that are no columns"),
        ("loss + a*N", "loss cannot stand in it"),
        ("a +* N", "cannot be read"),
        ("a\0 + N", "cannot be read"),
    ],
)
def test_hostile_text_is_one_line(text: str, message: str) -> None:
    with pytest.raises(PliantError, match=message) as caught:
        formula(text, RUNS)
    assert len(str(caught.value).splitlines()) == 1
    assert len(str(caught.value)) < 300


def test_a_name_that_is_no_formula_is_one_line() -> None:
    for name in ("formula(N, D) loss", "formula(N, D): loss = E + A/N**a", "formula(): a", "formulas(N): a*N", "formula"):
        with pytest.raises(PliantError):
            law_named(name)
