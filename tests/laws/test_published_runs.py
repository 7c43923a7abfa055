"""How far the laws reach on released runs that they were not fitted to."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from pliant.laws import LAWS, fit

TINY = "d=96_l=8_h=4"
SMALL = (TINY, "d=512_l=8_h=4", "d=576_l=24_h=8", "d=1024_l=24_h=8")
FIVE = f"(chinchilla_multiplier = 1 and arch in {SMALL}) or (chinchilla_multiplier = 16 and arch = '{TINY}')"


@pytest.mark.parametrize(
    ("dataset", "arch", "multiple", "percent"),
    [
        ("c4_original", "open_lm_1b", 4, 1.498),
        ("c4_original", "open_lm_7b", 1, 4.295),
        ("rw_original", "open_lm_1b", 16, 0.0052),
        ("rw_original", "open_lm_7b", 1, 1.619),
    ],
)
def test_five_point_fits_are_fragile(shared_data: Path, dataset: str, arch: str, multiple: float, percent: float) -> None:
    """The five-run recipe that is off by .7% on RedPajama misses the largest run on C4 by 4.3%."""
    path = shared_data / "runs/gadre-overtraining/runs_flat.csv"
    columns = {"N": "params", "D": "tokens", "loss": "loss_c4_val"}
    law = fit("overtrained", path, columns, f"dataset = '{dataset}' and ({FIVE})", loss="squares", residual="difference", bootstrap=0)
    with path.open() as stream:
        (held,) = [
            row
            for row in csv.DictReader(stream)
            if (row["dataset"], row["arch"], float(row["chinchilla_multiplier"])) == (dataset, arch, multiple)
        ]
    predicted = law.predict({"N": float(held["params"]), "D": float(held["tokens"])})[0]
    assert 100 * abs(predicted / float(held["loss_c4_val"]) - 1) == pytest.approx(percent, abs=5e-4)


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
