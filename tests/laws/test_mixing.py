"""Data mixtures: truths come back, and released mixtures are ranked as published."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from pliant.errors import PliantError
from pliant.laws import Fit, fit, law_named, simulate

NAMES = ("web", "code", "books")
SHARES = dict(zip(NAMES, np.random.default_rng(0).dirichlet(np.ones(3), 40).T, strict=True))
SCALES = {"N": np.tile([1e7, 1e8, 1e9, 1e8], 10), "D": np.repeat([1e9, 1e10, 1e11, 3e9, 3e10], 8)}


@pytest.mark.parametrize(
    ("family", "truth"),
    [
        ("mixing", {"c": 1.1, "k": 0.8, "t_web": 0.0, "t_code": -1.6, "t_books": 0.4}),
        ("mixing_linear", {"w_web": 3.0, "w_code": 2.0, "w_books": 4.0}),
        (
            "mixing_additive",
            {"E": 1.2, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
            | {f"{part}_{name}": value for name, c, g in (("web", 2.0, 0.3), ("code", 1.0, 0.6), ("books", 0.5, 0.4))
               for part, value in (("C", c), ("g", g))},
        ),
    ],
)  # fmt: skip
def test_a_table_without_noise_gives_the_truth_back(family: str, truth: dict[str, float], tmp_path: Path) -> None:
    law = law_named(f"{family}({', '.join(NAMES)})")
    columns = {**SHARES, **(SCALES if family == "mixing_additive" else {})}
    found = fit(law, simulate(law, columns, truth, 1e-7, 0), bootstrap=0)
    for name, value in truth.items():
        assert found.parameters[name] == pytest.approx(value, rel=0.01, abs=1e-3), name
    found.save(tmp_path / "fit.json")
    np.testing.assert_array_equal(Fit.load(tmp_path / "fit.json").predict(), found.predict())


def test_one_domain_by_hand() -> None:
    law = law_named("mixing(web, code)")
    constants = {"c": 1.0, "k": 2.0, "t_web": 0.0, "t_code": -1.5}
    np.testing.assert_allclose(law({"web": [1.0, 0.0], "code": [0.0, 1.0]}, constants), [3.0, 1 + 2 * np.exp(-1.5)])


@pytest.mark.parametrize("name", ["mixing", "mixing(", "mixing(web, web)", "mixing(a b)", "mixing(web) x", "mixin(web)"])
def test_a_wrong_list_is_one_line(name: str) -> None:
    with pytest.raises(PliantError):
        law_named(name)


def read(folder: Path, split: str, size: str) -> tuple[dict[str, np.ndarray], list[str]]:
    with (folder / f"regmix_{split}_mixture_{size}.csv").open() as stream:
        mixtures = list(csv.DictReader(stream))
    with (folder / f"regmix_{split}_pile_loss_{size}.csv").open() as stream:
        losses = list(csv.DictReader(stream))
    domains = [name for name in mixtures[0] if name.startswith("train")]
    table = {name: np.array([float(row[name]) for row in mixtures]) for name in domains}
    return {**table, "loss": np.array([float(row["metric/the_pile_pile_cc_val_loss"]) for row in losses])}, domains


@pytest.mark.parametrize(("family", "small", "large"), [("mixing_linear", 0.902, 0.893), ("mixing", 0.965, 0.959)])
def test_released_mixtures_are_ranked(shared_data: Path, family: str, small: float, large: float) -> None:
    """17 domains, 512 runs at 1M: Spearman's correlation on 256 others at 1M and at 60M, as refitted elsewhere."""
    from scipy.stats import spearmanr

    folder = shared_data / "runs/practice"
    train, domains = read(folder, "train", "1m")
    law = fit(f"{family}({', '.join(domains)})", train, restarts=4, bootstrap=0)
    for size, expected in (("1m", small), ("60m", large)):
        test, _ = read(folder, "test", size)
        rank = spearmanr(law.predict({name: test[name] for name in domains}), test["loss"])[0]
        assert rank == pytest.approx(expected, abs=0.006)
