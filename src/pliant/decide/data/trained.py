"""What the questions about data share: a study of one ladder trained here, with other data in it, run without any change."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from pliant.changes import NoChange
from pliant.errors import PliantError
from pliant.study.ladders import parse_ladder

if TYPE_CHECKING:
    from pliant.study import Runs, Study


def fields_of(study: Study) -> dict[str, Any]:
    """The fields of the study's ladder. Raises PliantError for checkpoints that are not trained here, on text."""
    form = study.checkpoints.form()
    fields = form.get("ladder")
    if not isinstance(fields, Mapping) or fields.get("corpus") is None:
        raise PliantError("data is chosen by training on it: checkpoints: {ladder: {model: ..., corpus: ..., tokens: ...}}, one of them")
    return dict(cast("Mapping[str, Any]", fields))


def sources_of(fields: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """The sources of the ladder's mixture by name, each as a corpus. Raises PliantError where it trains on no mixture."""
    corpus = fields["corpus"]
    if "mixture" not in corpus:
        raise PliantError("sources are told apart in a mixture: corpus: {mixture: {web: web.jsonl, code: code/}}")
    return {name: {key: pool[key] for key in ("source", "field")} for name, pool in corpus["mixture"].items()}


def trained(study: Study, name: str, checkpoints: Any, folder: Path, **running: Any) -> Runs:
    """The study's measures on other checkpoints, under a name of its own in the ledger `folder`; what is there is not run again.

    `running` as in `pliant.study.run`. Raises PliantError where nothing could be measured.
    """
    from pliant.study import run

    other = {"name": f"{study.name}-{name}", "checkpoints": parse_ladder(checkpoints), "changes": (NoChange(),), "questions": ()}
    runs = run(study.model_copy(update=other), folder, **running)
    if failed := runs.failed:
        raise PliantError(f"{failed[0]['checkpoint']}: {failed[0]['error']} ({len(failed)} of {len(runs.records())} readings failed)")
    return runs
