"""The command that fine-tunes with settings that were found."""

from __future__ import annotations

import json
import shlex
from typing import TYPE_CHECKING, Any

from pliant.spec import Spec
from pliant.spec.fields import short_form

if TYPE_CHECKING:
    from pliant.changes import Finetune
    from pliant.decide.methods.path import Trial


def command(model: str, told: Finetune, trial: Trial, steps: int) -> str:
    """What trains `model` with these settings."""
    what = ["--data", _text(told.data)] if told.data is not None else ["--objective", _text(told.objective)]
    words = ["pliant", "finetune", "--model", model, *what, "--steps", str(steps), "--lr", f"{trial.lr:g}"]
    left_out = {"data", "objective", "lr", "steps", "epochs", "methods", "draws"}
    for name in sorted(told.model_fields_set - left_out):
        words += [f"--{name.replace('_', '-')}", _text(getattr(told, name))]
    for method in trial.methods:
        words += ["--method", _text(method)]
    return shlex.join([*words, "-o", "OUT"])


def _text(value: Any) -> str:
    """A value as an option has it."""
    if isinstance(value, Spec):
        source = getattr(value, "source", None)
        form = value.model_dump(mode="json", exclude_defaults=True)
        if source is not None:
            return str(source) if form == {"source": source} else json.dumps(form)
        told = short_form(value)
        return told if isinstance(told, str) else json.dumps({value.kind: form})
    return value if isinstance(value, str) else json.dumps(value)
