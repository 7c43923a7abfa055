"""Fits of released runs against what their authors published or what independent solvers find."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from pliant.laws import LAWS, Fit, fit

Row = dict[str, str]
COLUMNS = {"N": "params", "D": "tokens", "loss": "loss_c4_val"}
TINY = "d=96_l=8_h=4"
SMALL = (TINY, "d=512_l=8_h=4", "d=576_l=24_h=8", "d=1024_l=24_h=8")
FIVE = f"(chinchilla_multiplier = 1 and arch in {SMALL}) or (chinchilla_multiplier = 16 and arch = '{TINY}')"


@pytest.fixture(scope="module")
def folder(shared_data: Path) -> Path:
    return shared_data / "runs/gadre-overtraining"


@pytest.fixture(scope="module")
def rows(folder: Path) -> list[Row]:
    with (folder / "runs_flat.csv").open() as stream:
        return list(csv.DictReader(stream))


def run(rows: list[Row], dataset: str, arch: str, multiple: float) -> Row:
    (found,) = [r for r in rows if (r["dataset"], r["arch"], float(r["chinchilla_multiplier"])) == (dataset, arch, multiple)]
    return found


def five_point_fit(folder: Path, dataset: str) -> Fit:
    """Unweighted least squares on the five runs of the paper: 20 tokens per parameter at four sizes, 320 at the smallest."""
    where = f"dataset = '{dataset}' and ({FIVE})"
    return fit("overtrained", folder / "runs_flat.csv", COLUMNS, where, loss="squares", residual="difference", bootstrap=0)


def predicted_loss(found: Fit, row: Row) -> float:
    return float(found.predict({"N": float(row["params"]), "D": float(row["tokens"])})[0])


@pytest.mark.parametrize(
    ("dataset", "alpha", "beta", "s", "irreducible"),
    [
        ("rpj", 166.21, 366.69, -0.27285, 1.83665),
        ("c4_original", 113.69, 189.52, -0.24247, 1.5083),
        ("rw_original", 125.10, 246.21, -0.25439, 1.73446),
    ],
)
def test_overtraining_constants(folder: Path, dataset: str, alpha: float, beta: float, s: float, irreducible: float) -> None:
    p = five_point_fit(folder, dataset).parameters
    assert -2 * p["eta"] == pytest.approx(s, abs=6e-6)
    assert p["a"] * 6 ** -p["eta"] == pytest.approx(alpha, abs=0.006)
    assert p["b"] == pytest.approx(beta, abs=0.006)
    assert p["E"] == pytest.approx(irreducible, abs=6e-5)


@pytest.mark.parametrize(
    ("dataset", "arch", "multiple", "percent"),
    [
        ("rpj", "open_lm_1b", 32, 0.7103),
        ("rpj", "open_lm_7b", 1, 0.7320),
        ("c4_original", "open_lm_1b", 4, 1.498),
        ("c4_original", "open_lm_7b", 1, 4.295),
        ("rw_original", "open_lm_1b", 16, 0.0052),
        ("rw_original", "open_lm_7b", 1, 1.619),
    ],
)
def test_overtraining_loss_errors(folder: Path, rows: list[Row], dataset: str, arch: str, multiple: float, percent: float) -> None:
    """The headline (.71% and .73%) holds on RedPajama; on C4 the same five points miss the largest run by 4.3%."""
    target = run(rows, dataset, arch, multiple)
    error = predicted_loss(five_point_fit(folder, dataset), target) / float(target["loss_c4_val"]) - 1
    assert 100 * abs(error) == pytest.approx(percent, abs=5e-4)


def seventeen_tasks(folder: Path, rows: list[Row]) -> list[str]:
    """The tasks on which some 154M model is more than 10 points above chance."""
    with (folder / "raw/exp_data/eval_metadata.csv").open() as stream:
        chance = {row["Eval Task"]: float(row["Random baseline"] or 0) / 100 for row in csv.DictReader(stream)}
    middle = [row for row in rows if row["arch"] == "d=576_l=24_h=8"]
    names = [name.removeprefix("acc_") for name in rows[0] if name.startswith("acc_")]
    return [name for name in names if max(float(row["acc_" + name]) for row in middle) > chance[name] + 0.1]


def test_overtraining_error_law(folder: Path, rows: list[Row]) -> None:
    tasks = seventeen_tasks(folder, rows)
    assert len(tasks) == 17

    def mistakes(row: Row) -> float:
        return 1 - float(np.mean([float(row["acc_" + task]) for task in tasks]))

    six = [*(run(rows, "rpj", arch, 1) for arch in (*SMALL, "open_lm_1b")), run(rows, "rpj", TINY, 16)]
    table = {"L": [float(row["loss_c4_val"]) for row in six], "error": [mistakes(row) for row in six]}
    law = fit("error", table, loss="squares", bootstrap=0)
    assert law.parameters["k"] == pytest.approx(2.2065, abs=6e-5)
    assert law.parameters["gamma"] == pytest.approx(0.71459, abs=6e-6)
    assert law.parameters["epsilon"] == pytest.approx(0.85699, abs=6e-6)
    base = five_point_fit(folder, "rpj")
    for arch, multiple, percent in (("open_lm_1b", 32, 3.6365), ("open_lm_7b", 1, 0.0464)):
        target = run(rows, "rpj", arch, multiple)
        found = float(law.predict({"L": predicted_loss(base, target)})[0])
        assert 100 * abs(found / mistakes(target) - 1) == pytest.approx(percent, abs=5e-4)


def test_repetition_predicts_many_epochs_from_few(shared_data: Path) -> None:
    """Fitted to C4 runs of up to 8 epochs, the law that knows of repetition predicts 8 to 60 epochs better, run by run."""
    path = shared_data / "runs/datablations-repetition/c4_repeated_data_runs.csv"
    columns = {"N": "params", "D": "tokens", "U": "unique_tokens", "loss": "val_loss"}
    with path.open() as stream:
        held = [row for row in csv.DictReader(stream) if float(row["val_loss"]) < 5 and 8 < float(row["epochs"]) <= 60]
    table = {name: np.array([float(row[column]) for row in held]) for name, column in columns.items()}

    def errors(law: str) -> np.ndarray:
        read = {name: columns[name] for name in (*LAWS[law].column_names, "loss")}
        found = fit(law, path, read, "val_loss < 5 and epochs <= 8", bootstrap=0)
        return np.abs(np.log(found.predict({name: table[name] for name in found.law.column_names}) / table["loss"]))

    gain = errors("chinchilla") - errors("repetition")
    assert len(gain) > 50
    assert gain.mean() > 3 * gain.std() / np.sqrt(len(gain))
    assert gain.mean() > 0.02
