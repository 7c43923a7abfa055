"""Fits as JSON files: everything needed to predict, to draw, and to refit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.errors import PliantError
from pliant.files import write_atomic
from pliant.laws.fitting.audit import Audit
from pliant.laws.fitting.coordinates import coordinates
from pliant.laws.fitting.identify import Flat
from pliant.laws.fitting.resample import Bootstrap
from pliant.laws.fitting.robust import Loss

if TYPE_CHECKING:
    from pliant.laws.fitting.result import Fit
    from pliant.laws.law import Law

FORMAT, VERSION = "pliant fit", 1


def save(fit: Fit, path: Path) -> None:
    """Write a fit. Raises PliantError when the place cannot be written."""
    form = {
        "format": FORMAT,
        "version": VERSION,
        "summary": fit.summary(),
        "settings": vars(fit.settings),
        "columns": {name: values.tolist() for name, values in fit.columns.items()},
        "target": fit.target.tolist(),
        "texts": {name: values.tolist() for name, values in fit.texts.items()},
        "theta": fit.theta.tolist(),
        "draws": fit.draws.tolist(),
        "flat": [list(fit.flat.parameters), list(fit.flat.sentences)],
        "penalty": None if fit.penalty is None else [part.tolist() for part in fit.penalty],
    }
    write_atomic(path, json.dumps(form, allow_nan=False) + "\n")


def load(path: Path, law: Law | None = None) -> Fit:
    """Read a fit. Raises PliantError for a file that is none, or of a law that is not known here."""
    try:
        form: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise PliantError(f"{path}: no such file; `pliant fit LAW TABLE --save {path}` makes one") from None
    except (OSError, ValueError) as error:
        raise PliantError(f"{path}: not a fit that pliant saved ({str(error).splitlines()[0]})") from None
    if not isinstance(form, dict) or form.get("format") != FORMAT:
        raise PliantError(f"{path}: not a fit that pliant saved")
    if form.get("version") != VERSION:
        raise PliantError(f"{path}: fit version {form.get('version')} is from a newer pliant (this reads {VERSION}); update pliant")
    try:
        return _rebuilt(form, law)
    except PliantError as error:
        raise error.within(str(path)) from None
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise PliantError(f"{path}: the file is damaged ({type(error).__name__}: {error})") from None


def _rebuilt(form: dict[str, Any], law: Law | None) -> Fit:
    from pliant.laws import law_named
    from pliant.laws.fitting.result import Fit, Settings, StartCount

    summary, settings = form["summary"], Settings(**form["settings"])
    law = law or law_named(summary["law"])
    if law.name != summary["law"]:
        raise PliantError(f"a fit of law {summary['law']}, not {law.name}")
    texts = {name: np.array(values, dtype=np.str_) for name, values in form["texts"].items()}
    moved = coordinates(law, fix=settings.fix, tie=settings.tie, bounds=settings.bounds, by=settings.by, groups=texts)
    theta, draws = np.array(form["theta"], dtype=np.float64), np.array(form["draws"], dtype=np.float64).reshape(-1, len(moved))
    if len(theta) != len(moved):
        raise ValueError("theta")
    return Fit(
        law=law,
        columns={name: np.array(values, dtype=np.float64) for name, values in form["columns"].items()},
        target=np.array(form["target"], dtype=np.float64),
        texts=texts,
        settings=settings,
        coordinates=moved,
        loss=Loss.parse(summary["loss"]),
        residual=summary["residual"],
        theta=theta,
        draws=draws,
        bootstrap=Bootstrap.parse(summary["bootstrap"], settings.clusters is not None),
        objective=float(summary["objective"]),
        noise=float(summary["noise"]),
        penalty=None if form["penalty"] is None else (np.array(form["penalty"][0]), np.array(form["penalty"][1])),
        starts=StartCount(**summary["starts"]),
        flat=Flat(tuple(form["flat"][0]), tuple(form["flat"][1])),
        audit=Audit.from_json(summary["audit"]),
        remarks=tuple(summary["remarks"]),
    )
