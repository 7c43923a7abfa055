"""What every law keeps: it broadcasts, row by row, with derivatives, and states what it is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from designs import DESIGNS

from pliant.errors import PliantError
from pliant.laws import LAWS, Law, law_named
from pliant.laws.tables.simulate import simulate
from pliant.spec import Registry


@pytest.fixture(params=sorted(LAWS))
def law(request: pytest.FixtureRequest) -> Law:
    return LAWS[request.param]


def test_states_what_it_is(law: Law) -> None:
    assert law.source
    assert law.valid
    assert law.identifiability
    assert all(parameter.starts and parameter.description for parameter in law.parameters)
    for constants in law.printed.values():
        assert set(constants) <= set(law.parameter_names)


def test_starts_are_within_bounds(law: Law) -> None:
    for parameter in law.parameters:
        assert all(parameter.low <= start <= parameter.high for start in parameter.starts)
        assert parameter.transform == "identity" or min(parameter.starts) > 0


def test_has_a_design_to_simulate(law: Law) -> None:
    design = DESIGNS[law.name]
    table = simulate(law, design.columns, design.parameters, noise=0.0, seed=0)
    assert np.isfinite(table[law.target]).all()
    assert len(table[law.target]) > len(design.free)


def test_broadcasts_over_problems_and_rows(law: Law) -> None:
    design = DESIGNS[law.name]
    generator = np.random.default_rng(0)
    problems = {name: value * np.exp(0.01 * generator.standard_normal((3, 1))) for name, value in design.parameters.items()}
    together = law(design.columns, problems)
    rows = len(next(iter(design.columns.values())))
    assert together.shape == (3, rows)
    for problem in range(3):
        alone = law(design.columns, {name: value[problem, 0] for name, value in problems.items()})
        np.testing.assert_allclose(together[problem], alone, rtol=1e-12)


def test_each_row_depends_on_itself_alone(law: Law) -> None:
    design = DESIGNS[law.name]
    whole = law(design.columns, design.parameters)
    for row in (0, len(whole) // 2, len(whole) - 1):
        mine = slice(row, row + 1) if not law.along else design.columns[law.along] == design.columns[law.along][row]
        single = law({name: values[mine] for name, values in design.columns.items()}, design.parameters)
        np.testing.assert_allclose(single, whole[mine], rtol=1e-12)


def test_forward_derivatives_equal_finite_differences(law: Law) -> None:
    design = DESIGNS[law.name]
    columns = {name: torch.as_tensor(values) for name, values in design.columns.items()}
    full = {column.name: torch.tensor(column.default, dtype=torch.float64) for column in law.columns if column.default is not None}
    names = list(design.parameters)
    point = torch.tensor([design.parameters[name] for name in names], dtype=torch.float64)

    def predict(vector: torch.Tensor) -> torch.Tensor:
        return law.function(**full | columns, **dict(zip(names, vector, strict=True)))

    exact = torch.func.jacfwd(predict)(point)
    for index in range(len(names)):
        step = torch.zeros_like(point)
        step[index] = 1e-6 * (abs(float(point[index])) or 1e-3)
        difference = (predict(point + step) - predict(point - step)) / (2 * step[index])
        rounding = 1e-14 * float(predict(point).abs().max() / step[index])
        torch.testing.assert_close(exact[:, index], difference, rtol=1e-4, atol=rounding)


def test_a_law_of_another_package_is_one_of_the_catalog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package that names it as an entry point in `pliant.laws`: it is listed, fitted, saved and loaded by its name."""
    (tmp_path / "plateau.py").write_text(
        "from pliant.laws import Column, Law, Parameter\n"
        "LAW = Law('plateau', lambda x, height: height + 0 * x, (Column('x', '', ''),), (Parameter('height', '', (1.0,)),), '', '', 'y',\n"
        "          scale=('x',))\n"
    )
    (tmp_path / "plateau-1.dist-info").mkdir()
    (tmp_path / "plateau-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: plateau\nVersion: 1\n")
    (tmp_path / "plateau-1.dist-info" / "entry_points.txt").write_text("[pliant.laws]\nplateau = plateau:LAW\n")
    code = (
        "from pliant.laws import LAWS, Fit, fit\n"
        "fit('plateau', {'x': [1.0, 2.0, 3.0], 'y': [2.0, 2.0, 2.0]}, bootstrap=0).save('fit.json')\n"
        "print(list(LAWS)[-1], 'plateau' in LAWS, round(Fit.load('fit.json').parameters['height'], 9))\n"
    )
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("plateau True 2.0\n", "")


def test_a_law_of_a_broken_package_is_one_line_and_costs_no_other_law(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken-1.dist-info").mkdir()
    (tmp_path / "broken-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: broken\nVersion: 1\n")
    (tmp_path / "broken-1.dist-info" / "entry_points.txt").write_text("[pliant.laws]\nbroken = no_such_module:LAW\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    laws = Registry("law", {"chinchilla": LAWS["chinchilla"]})
    assert laws["chinchilla"] is LAWS["chinchilla"]
    for ask in (lambda: laws["broken"], lambda: laws["other"], lambda: list(laws)):
        with pytest.raises(PliantError, match=r"law 'broken', no_such_module:LAW, .*: cannot be loaded \(ModuleNotFoundError") as caught:
            ask()
        assert len(str(caught.value).splitlines()) == 1


def test_a_law_stands_for_itself() -> None:
    assert law_named(LAWS["ptq"]) is LAWS["ptq"] is law_named("ptq")


def test_a_file_holds_one_law_of_its_own_name() -> None:
    for name, law in LAWS.items():
        assert sys.modules[f"pliant.laws.forms.{name}"].LAW is law


def test_an_unknown_law_is_one_line() -> None:
    with pytest.raises(PliantError, match="did you mean 'chinchilla'"):
        law_named("chinchila")


def test_a_missing_column_is_one_line() -> None:
    with pytest.raises(PliantError, match="needs the column 'D'"):
        LAWS["chinchilla"]({"N": 1e8}, LAWS["chinchilla"].printed["2404.10102"])
