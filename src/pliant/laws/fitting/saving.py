"""Fits as JSON files: everything needed to predict, to draw, and to refit.

The file keeps the names of its first version: `draws` are the bootstrap samples, `flat` is what is unidentifiable.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TypeVar

import numpy as np

from pliant.errors import PliantError
from pliant.files import write_atomic
from pliant.laws.fitting.audit import Audit
from pliant.laws.fitting.coordinates import coordinates
from pliant.laws.fitting.fitted import FitOptions, FittedLaw, Restarts
from pliant.laws.fitting.identify import Unidentifiable
from pliant.laws.fitting.resample import Bootstrap
from pliant.laws.fitting.robust import RobustLoss
from pliant.laws.fitting.saved import SavedFit, check_coordinates, check_rows, parsed
from pliant.laws.fitting.summary import summary
from pliant.laws.forms import law_named
from pliant.laws.law import Law
from pliant.spec.yaml import read_json

Made = TypeVar("Made", bound=FittedLaw)
FORMAT, VERSION = "pliant fit", 1
SIZE_LIMIT = 2**28
"""Bytes of the largest fit that is read."""


def save(fit: FittedLaw, path: Path) -> None:
    """Write a fit. Raises PliantError when the place cannot be written."""
    document = {
        "format": FORMAT,
        "version": VERSION,
        "summary": summary(fit),
        "settings": vars(fit.options),
        "columns": {name: values.tolist() for name, values in fit.columns.items()},
        "target": fit.target.tolist(),
        "texts": {name: values.tolist() for name, values in fit.texts.items()},
        "theta": fit.theta.tolist(),
        "draws": fit.bootstrap_samples.tolist(),
        "flat": [list(fit.unidentifiable.parameters), list(fit.unidentifiable.sentences)],
        "penalty": None if fit.penalty is None else [part.tolist() for part in fit.penalty],
    }
    try:
        text = json.dumps(document, allow_nan=False)
    except ValueError:
        raise PliantError(f"cannot write {path}: this fit holds numbers that are not finite; widen its bounds or leave rows out") from None
    write_atomic(path, text + "\n")


def load(path: Path, kind: type[Made], law: Law | None = None) -> Made:
    """Read a fit as an object of class `kind`; `law` where it is in no catalog.

    Raises PliantError for a file that is none, one that is damaged, or of a law that is not known here.
    """
    if not path.exists():
        raise PliantError(f"{path}: no such file; `pliant fit LAW TABLE --save {path}` makes one")
    document = read_json(path, SIZE_LIMIT)
    if not isinstance(document, dict) or document.get("format") != FORMAT:
        raise PliantError(f"{path}: not a fit that pliant saved")
    if document.get("version") != VERSION:
        raise PliantError(
            f"{path}: fit version {str(document.get('version'))[:20]} is not one that this pliant reads ({VERSION}); update pliant"
        )
    try:
        return _rebuilt(parsed(document), kind, law)
    except PliantError as error:
        raise error.within(str(path)) from None


def _rebuilt(saved: SavedFit, kind: type[Made], law: Law | None) -> Made:
    summary, asked = saved.summary, saved.settings
    law = law or law_named(summary.law)
    if law.name != summary.law:
        raise PliantError(f"a fit of law {summary.law}, not {law.name}")
    check_rows(saved, law)
    bounds = {name: (low, high) for name, (low, high) in asked.bounds.items()}
    priors = {name: (centre, deviation) for name, (centre, deviation) in asked.priors.items()}
    options = FitOptions(dict(asked.fix), dict(asked.tie), bounds, priors, dict(asked.by), asked.clusters)
    texts = {name: np.array(values, dtype=np.str_) for name, values in saved.texts.items()}
    moved = coordinates(law, fix=options.fix, tie=options.tie, bounds=options.bounds, by=options.by, groups=texts)
    bootstrap = Bootstrap.parse(summary.bootstrap, options.clusters is not None)
    check_coordinates(saved, moved, bootstrap.samples)
    return kind(
        law=law,
        columns={name: np.array(saved.columns[name], dtype=np.float64) for name in law.column_names},
        target=np.array(saved.target, dtype=np.float64),
        texts=texts,
        options=options,
        coordinates=moved,
        loss=RobustLoss.parse(summary.loss),
        residual=summary.residual,
        theta=np.array(saved.theta, dtype=np.float64),
        bootstrap_samples=np.array(saved.draws, dtype=np.float64).reshape(-1, len(moved)),
        bootstrap=bootstrap,
        objective=summary.objective,
        noise=summary.noise,
        penalty=None if saved.penalty is None else (np.array(saved.penalty[0]), np.array(saved.penalty[1])),
        restarts=Restarts(**summary.starts.model_dump()),
        unidentifiable=Unidentifiable(tuple(saved.flat[0]), tuple(saved.flat[1])),
        audit=Audit.from_json(summary.audit.model_dump()),
        remarks=tuple(summary.remarks),
    )
