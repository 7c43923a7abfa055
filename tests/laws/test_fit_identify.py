"""What the data do not determine is named, not numbered."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from designs import DESIGNS

from pliant.laws import LAWS, Column, Law, Parameter, fit
from pliant.laws.fitting.identify import left_open, unidentifiable_directions
from pliant.laws.fitting.search import Search
from pliant.laws.tables.simulate import grid, simulate


def test_a_product_is_determined_and_its_factors_are_not() -> None:
    law, design = LAWS["ptq"], DESIGNS["ptq"]
    table = simulate(law, design.columns, design.parameters, 0.02, 0)
    found = fit(law, table, fix={"b": None}, bootstrap=20)
    assert set(found.unidentifiable.parameters) == {"C_T", "b"}
    (sentence,) = found.unidentifiable.sentences
    assert sentence.startswith("only C_T * exp(b) = ")
    product = float(sentence.split("= ")[1].split()[0])
    assert product == pytest.approx(design.parameters["C_T"] * np.exp(design.parameters["b"]), rel=0.2)
    shown = found.summary()["parameters"]
    assert shown["C_T"] == {"value": None, "low": None, "high": None}
    assert shown["gD"]["value"] == pytest.approx(design.parameters["gD"], abs=0.02)
    assert np.isnan(found.interval("C_T")).all()
    # the factors are free, the product and every prediction are not
    fixed = fit(law, table, bootstrap=0)
    np.testing.assert_allclose(found.predict(), fixed.predict(), rtol=1e-5)
    assert fixed.unidentifiable.parameters == ()


def test_one_size_leaves_its_power_law_open() -> None:
    truth = {"E": 1.82, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
    table = simulate(LAWS["chinchilla"], grid(N=(1e8,), D=np.geomspace(1e8, 1e11, 12)), truth, 0.002, 0)
    found = fit("chinchilla", table, bootstrap=20)
    assert set(found.unidentifiable.parameters) == {"E", "A", "alpha"}
    assert any("one value" in remark for remark in found.remarks)
    low, high = found.interval("beta")
    assert low < 0.37 < high
    held = fit("chinchilla", table, fix={"A": 480.0, "alpha": 0.35}, bootstrap=0)
    assert held.unidentifiable.parameters == ()
    assert held.parameters["E"] == pytest.approx(1.82, abs=0.15)


def test_enough_sizes_determine_everything() -> None:
    design = DESIGNS["chinchilla"]
    table = simulate(LAWS["chinchilla"], design.columns, design.parameters, design.noise, 0)
    assert fit("chinchilla", table, bootstrap=0).unidentifiable.parameters == ()


def test_a_parameter_without_effect() -> None:
    jacobian = np.array([[1.0, 0.0], [2.0, 0.0], [0.5, 0.0]])
    found = unidentifiable_directions(jacobian, ("a", "b"), np.array([True, False]), np.array([0.3, 0.2]), 0.01, np.array([False, False]))
    assert found.parameters == ("b",)
    assert found.sentences == ("b is not determined at all",)


def test_powers_and_sums_are_written_out() -> None:
    """A x^2 with exponent p: columns log A + 2 log B, and p + 3 q."""
    generator = np.random.default_rng(0)
    first, second = generator.standard_normal((2, 20))
    jacobian = np.stack([first, 2 * first, second, 3 * second], axis=1)
    found = unidentifiable_directions(
        jacobian, ("A", "B", "p", "q"), np.array([True, True, False, False]), np.array([1.0, 0.5, 1.0, 1.0]), 1e-3, np.zeros(4, dtype=bool)
    )
    assert set(found.parameters) == {"A", "B", "p", "q"}
    assert any(
        text.startswith("only A^0.5 * B = ") and float(text.split("= ")[1].split()[0]) == pytest.approx(np.e, rel=1e-3)
        for text in found.sentences
    )
    assert any("p" in text and "q" in text for text in found.sentences)


def test_a_direction_drowned_in_noise_counts_as_unidentifiable() -> None:
    jacobian = np.stack([np.ones(10), np.ones(10) + 1e-3 * np.arange(10)], axis=1)
    names, logs, theta, held = ("a", "b"), np.array([True, True]), np.zeros(2), np.zeros(2, dtype=bool)
    assert unidentifiable_directions(jacobian, names, logs, theta, 1e-4, held).parameters == ()
    assert set(unidentifiable_directions(jacobian, names, logs, theta, 1.0, held).parameters) == {"a", "b"}


def test_a_law_of_ones_own() -> None:
    """A new law is one function: fitted, identified and audited like the others."""
    line = Law(
        name="line",
        function=lambda x, slope, offset: offset + slope * x,
        columns=(Column("x", "", "where"),),
        parameters=(Parameter("slope", "", (1.0,), "identity"), Parameter("offset", "", (0.0,), "identity")),
        linear=("slope", "offset"),
        target="y",
        unit="",
        residual="difference",
        scale=("x",),
        source="",
        valid="",
    )
    x = np.arange(1.0, 21.0)
    y = 2.0 + 0.5 * x + 0.1 * np.random.default_rng(1).standard_normal(20)
    found = fit(line, {"x": x, "y": y}, loss="squares", bootstrap=0)
    slope, offset = np.polyfit(x, y, 1)
    assert found.parameters == pytest.approx({"slope": slope, "offset": offset}, rel=1e-6)
    assert found.objective == pytest.approx(float(np.mean((y - offset - slope * x) ** 2) / 2), rel=1e-9)
    assert found.audit.verdict == "holds"


@pytest.mark.parametrize(("worse_by", "named"), [(0.0, True), (2.0, True), (4.0, False)])
def test_what_another_equally_good_end_puts_elsewhere_has_no_value(worse_by: float, named: bool) -> None:
    """C_T and b are unidentifiable; an end of the search puts gD ten standard errors off, for so much of twice the log-likelihood."""
    law, design = LAWS["ptq"], DESIGNS["ptq"]
    found = fit(law, simulate(law, design.columns, design.parameters, 0.02, 0), fix={"b": None}, bootstrap=50, loss="squares")
    objective, theta = found.problem(), torch.as_tensor(found.theta)
    index = found.coordinates.names.index("gD")
    elsewhere = theta.clone()
    elsewhere[index] += 10 * found.bootstrap_samples[:, index].std()
    ends = torch.stack([theta, elsewhere])
    value = found.objective
    values = torch.tensor([value, value + worse_by * found.noise**2 / (2 * len(found.target))], dtype=torch.float64)
    rows = torch.zeros(1, dtype=torch.long)
    search = Search(theta, theta, value, True, 2, 2, 0, theta[None], rows, ends, values, theta[None])
    jacobian = objective.jacobian(theta[None])[1][0].numpy().T
    left = left_open(search, objective, jacobian, found.noise)
    assert set(left.parameters) == {"C_T", "b"} | ({"gD"} if named else set())
    assert ("equally good fits differ in gD" in left.sentences) == named
