"""`pliant fit` with a law of the user's own, and with laws that take columns."""

from __future__ import annotations

import json

import numpy as np
import pytest

CONSTANTS = {"E": 1.8, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}


@pytest.fixture
def table(tmp_path):
    sizes, tokens = (values.ravel() for values in np.meshgrid(np.geomspace(1e7, 1e9, 5), np.geomspace(3e8, 3e10, 5)))
    loss = 1.8 + 480 * sizes**-0.35 + 2100 * tokens**-0.37
    shares = np.random.default_rng(0).dirichlet(np.ones(2), 25)
    path = tmp_path / "runs.csv"
    columns = np.column_stack([sizes, tokens, loss * np.exp(0.002 * np.random.default_rng(1).standard_normal(25)), shares])
    np.savetxt(path, columns, delimiter=",", header="params,D,loss,share_web,share_code", comments="")
    return str(path)


def test_a_formula_is_fitted_compared_and_used(pliant, table, tmp_path):
    saved = str(tmp_path / "fit.json")
    asked = ["fit", table, "--formula", "E + A/N**a + B/D**b", "--columns", "N=params", "--start", "a=0.3", "--bounds", "a=0:1"]
    code, out, _ = pliant(*asked, "--bootstrap", "100", "--compare", "chinchilla", "--save", saved, "--json")
    assert code == 0
    told = json.loads(out)
    assert told["law"] == "formula(N, D): loss = E + A / N ** a + B / D ** b"
    assert told["parameters"]["a"]["value"] == pytest.approx(0.35, abs=0.1)
    assert {entry["law"] for entry in told["comparison"]["ranked"]} == {"chinchilla", told["law"]}
    code, out, _ = pliant("decide", "size", "--fit", saved, "--compute", "1e20", "--json")
    assert code == 0
    assert json.loads(out)["answer"] > 0


def test_columns_of_a_family_may_be_a_pattern(pliant, table):
    code, out, _ = pliant("fit", "mixing_linear(share_*)", table, "--bootstrap", "0", "--json")
    assert code == 0
    assert json.loads(out)["law"] == "mixing_linear(share_web, share_code)"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--formula", "E + Q"],
        ["--formula", "a + b*D", "--start", "q=1"],
        ["--formula", "a + b*D", "--start", "a=x"],
        ["--formula", "().__class__"],
    ],
)
def test_bad_formulas_are_one_line(pliant, table, arguments):
    code, out, err = pliant("fit", table, *arguments)
    assert code == 2
    assert out == ""
    assert len(err.splitlines()) == 1


def test_a_law_and_a_formula_are_one_too_many(pliant, table):
    assert pliant("fit", "chinchilla", table, "--formula", "a + b*D")[0] == 2
    assert pliant("fit", "mixing(nothing_*)", table)[0] == 2


def test_help_lists_the_laws(pliant):
    code, out, _ = pliant("fit", "--help")
    assert code == 0
    assert "multi_power: Loss along a run" in out
    assert "mixing: Loss on one domain" in out


def test_sizes_and_tokens_may_be_written_as_people_do(pliant, tmp_path):
    path = tmp_path / "text.csv"
    rows = [f"{n}M,{d}B,{1.8 + 480 * (n * 1e6) ** -0.35 + 2100 * (d * 1e9) ** -0.37}" for n in (10, 40, 160, 640) for d in (1, 4, 16)]
    path.write_text("\n".join(["N,D,loss", *rows]) + "\n")
    code, out, _ = pliant("fit", path, "--formula", "E + A/N**0.35 + B/D**0.37", "--bootstrap", "0", "--json")
    assert code == 0
    assert json.loads(out)["parameters"]["E"]["value"] == pytest.approx(1.8, rel=1e-3)
