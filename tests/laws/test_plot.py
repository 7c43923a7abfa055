"""The page of a fit: whatever the table names comes out as text, and charts stay drawable."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from pliant.laws import LAWS, Fit, fit, grid, simulate
from pliant.laws.tables.plot import MOST_POINTS, plot, specification
from test_webpage import HOSTILE, assert_inert

POOL = 12.8e6
UTILITY = {"a": 0.02, "b": -0.2, "tau": 4.0, "d": 0.1}


@pytest.fixture(scope="module")
def hostile() -> Fit:
    """Parameters by a column whose name and values are as bad as can be (a table cannot hold half characters)."""
    names = [name for name in HOSTILE if name.isprintable() or "\ud800" not in name]
    block = simulate(LAWS["utility"], grid(n=POOL * np.array([0.25, 0.5, 1, 2, 4, 8]), S=(POOL,)), UTILITY, 1e-3, 2)
    table = {name: np.tile(values, len(names)) for name, values in block.items()}
    table["error"] = table["error"] * (1 + 1e-3 * np.sin(np.arange(len(table["error"]))))
    table[HOSTILE[0]] = np.repeat(names, 6)
    return fit("utility", table, by={"b": HOSTILE[0]}, fix={"d": 0.1, "tau": 4.0}, bootstrap=20)


def test_what_a_table_holds_is_only_ever_text(hostile: Fit, tmp_path: Path) -> None:
    page = assert_inert(plot(hostile, tmp_path / "fit.html").read_text(encoding="utf-8"))
    (spec,) = json.loads(page.inside("script")[0])
    bars = spec["hconcat"][2]["data"]["values"]
    assert sum(bar["parameter"].startswith("b[") for bar in bars) == len(set(hostile.texts[HOSTILE[0]].tolist()))
    assert any("alert(1)" in bar["parameter"] for bar in bars)
    assert len([div for div in page.named("div") if div.get("id") == "chart-0"]) == 1


def test_the_page_says_what_the_fit_has_to_say(hostile: Fit, tmp_path: Path) -> None:
    page = assert_inert(plot(hostile, tmp_path / "fit.html").read_text(encoding="utf-8"))
    assert page.inside("h1") == [f"utility, {len(hostile.target)} runs"]
    assert any(text.startswith(f"audit on the {hostile.audit.held_out} largest runs") for text in page.inside("p"))


def test_of_many_runs_an_even_choice_is_drawn() -> None:
    generator = np.random.default_rng(0)
    rows = MOST_POINTS + 500
    columns = {"N": 10 ** generator.uniform(7, 9, rows), "D": 10 ** generator.uniform(9, 11, rows)}
    table = simulate(LAWS["chinchilla"], columns, LAWS["chinchilla"].printed["2404.10102"], 0.01, 0)
    drawn = specification(fit("chinchilla", table, bootstrap=0, restarts=4))["data"]["values"]
    scales = [row["scale"] for row in drawn]
    assert len(drawn) == MOST_POINTS
    assert min(scales) == pytest.approx((columns["N"] * columns["D"]).min())
    assert max(scales) == pytest.approx((columns["N"] * columns["D"]).max())
