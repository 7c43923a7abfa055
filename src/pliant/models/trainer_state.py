"""What a checkpoint folder of the transformers Trainer says about its training.

Idea: `trainer_state.json` holds the step, the learning rates logged so far and, with `include_num_input_tokens_seen`, the
tokens. The final learning rate is the last one logged, so it is as exact as `logging_steps` is small.
What goes wrong: without `include_num_input_tokens_seen` the file knows steps only; tokens then come from step x the
batch tokens that the user gives. A crash can cut the file short: weights are measured all the same, and what it cannot tell is
said. `training_args.bin` beside it is a pickle and is never opened.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from pliant.errors import PliantError
from pliant.models.checkpoint import read_facts
from pliant.spec.yaml import read_json

STATE_FILE = "trainer_state.json"
LARGEST = 2**28
"""Bytes of a file that is read: two million steps, each of them logged."""
WITHOUT = "the weights are measured without what it would tell"


def facts_beside(folder: Path, batch_tokens: int | None = None) -> tuple[dict[str, Any], str | None]:
    """The fields of a `Checkpoint` that lie beside the weights (`pliant.json`, else `trainer_state.json`), and what of them is damaged.

    Whatever the files hold, nothing is raised: what they tell is not needed to measure the weights.
    """
    try:
        stored, note = read_facts(folder), None
    except PliantError as error:
        stored, note = None, f"{error}; {WITHOUT}"
    if stored is not None:
        return stored.model_dump(exclude_none=True), None
    facts, damage = read_trainer_state(folder, batch_tokens)
    return facts, note or damage


def read_trainer_state(folder: Path, batch_tokens: int | None = None) -> tuple[dict[str, Any], str | None]:
    """The fields of a `Checkpoint` that the Trainer's state tells (steps, tokens, rates), and what it should have told but cannot.

    Both are empty without such a file. Whatever the file holds, nothing is raised.

    Args:
        folder: A checkpoint folder.
        batch_tokens: Tokens a step, over all devices and accumulated batches; overrides the Trainer's own count.
    """
    path = folder / STATE_FILE
    if not os.path.lexists(path):
        return {}, None
    try:
        state = read_json(path, LARGEST, finite=False)  # the Trainer writes NaN for losses that are none
    except PliantError as error:
        return {}, f"{error}; {WITHOUT}"
    if not isinstance(state, dict):
        return {}, f"{path}: is not the Trainer's own file; {WITHOUT}"
    told = cast("dict[str, Any]", state)
    rates = list(_logged_rates(told.get("log_history")))
    known = [rate for rate in rates if rate is not None]
    step, seen = _whole(told.get("global_step")), _whole(told.get("num_input_tokens_seen") or 0)
    tokens = (seen or None) if batch_tokens is None else _whole(step * batch_tokens) if step is not None else None
    facts = {
        "steps": step,
        "tokens": tokens,
        "peak_lr": max(known, default=None),
        "final_lr": known[-1] if known and rates[-1] is not None else None,
    }
    unread = {
        "global_step": step is None or (batch_tokens is not None and tokens is None),
        "num_input_tokens_seen": seen is None and batch_tokens is None,
        "learning_rate": None in rates,
    }
    names = [name for name, missing in unread.items() if missing]
    note = f"{path}: {', '.join(names)} cannot be read; {WITHOUT}" if names else None
    return {name: value for name, value in facts.items() if value is not None}, note


def _logged_rates(history: Any) -> Iterator[float | None]:
    """Learning rates in the order of their steps; None for one that is no rate, or for a history that is none."""
    if not isinstance(history, list):
        yield None
        return
    for entry in cast("list[Any]", history):
        if not isinstance(entry, dict):
            yield None
        elif "learning_rate" in entry:
            rate = cast("Any", entry["learning_rate"])
            plain = isinstance(rate, int | float) and not isinstance(rate, bool)
            yield float(rate) if plain and math.isfinite(rate) and rate >= 0 else None


def _whole(value: Any) -> int | None:
    """A count that a column of 64 bits holds, also where it is written 96.0; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**63 or value != int(value):
        return None
    return int(value)
