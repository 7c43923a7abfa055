"""What can be said of a study before it runs: what is left out of it, and what the shapes of its checkpoints do not allow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from pliant.changes import Change
from pliant.errors import PliantError

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pliant.models import Rung

MOST_NAMES = 8
"""Folders that a line names."""


def left_out(skipped: Mapping[str, str]) -> list[str]:
    """A line for each reason, with the folders it is about."""
    by_reason: dict[str, list[str]] = {}
    for path, reason in skipped.items():
        by_reason.setdefault(reason, []).append(path)
    return [f"skipped {_some(paths)}: {reason}" for reason, paths in by_reason.items()]


def _some(paths: list[str]) -> str:
    more = len(paths) - MOST_NAMES
    return ", ".join(paths[:MOST_NAMES]) + (f" and {more} more (`--dry-run --json` names all)" if more > 0 else "")


def impossible(rungs: Sequence[Rung], wanted: Iterable[tuple[Change, int]]) -> list[str]:
    """Of changes that the shapes of some checkpoints do not allow, a line each; `wanted` are changes with numbers of rungs.

    Raises PliantError for a change that no checkpoint allows. What is not known before a checkpoint is opened counts as allowed.
    """
    changes: dict[str, Change] = {}
    numbers: dict[str, set[int]] = {}
    for change, number in wanted:
        if change.needs_shapes:
            name = change.hash()
            changes[name] = change
            numbers.setdefault(name, set()).add(number)
    outlines = {number: rungs[number].outline() for number in sorted(set[int]().union(*numbers.values()))}
    return [line for name, change in changes.items() if (line := _line(change, rungs, {n: outlines[n] for n in sorted(numbers[name])}))]


def _line(change: Change, rungs: Sequence[Rung], outlines: Mapping[int, PreTrainedModel | None]) -> str | None:
    """What keeps `change` from some of the rungs, whose numbers and outlines are given. Raises PliantError where from all."""
    distinct = {id(network): network for network in outlines.values() if network is not None}
    reasons = {key: reason for key, network in distinct.items() if (reason := _refused(change, network)) is not None}
    failing = [number for number, network in outlines.items() if id(network) in reasons]
    if not failing:
        return None
    told = f"{change.label()} of {rungs[failing[0]].checkpoint.address}: {reasons[id(outlines[failing[0]])]}"
    if len(failing) == len(outlines):
        raise PliantError(told)
    return f"{told}; so at {len(failing)} of {len(outlines)} checkpoints, whose cells will fail"


def _refused(change: Change, network: PreTrainedModel) -> str | None:
    try:
        change.check(network)
    except PliantError as error:
        return str(error)
    return None
