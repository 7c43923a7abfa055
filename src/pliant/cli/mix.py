"""`pliant mix STUDY|FILE`: what a mixture comes to, before anything is trained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from pliant.cli.change import JsonOption
from pliant.cli.output import print_json, print_table
from pliant.cli.questions import count
from pliant.errors import PliantError
from pliant.numbers import format_count
from pliant.progress import remark

if TYPE_CHECKING:
    from pliant.data.preview import MixturePreview


def mix_command(
    file: Annotated[Path, typer.Argument(metavar="STUDY|FILE", help="A study with a mixture, or the mixture alone as YAML")],
    tokens: Annotated[
        int | None, typer.Option(help="Training tokens of the run, of a mixture alone: 16M", parser=count, show_default=False)
    ] = None,
    tokenizer: Annotated[str, typer.Option(help="Of a mixture alone: bytes, ascii, a tokenizer's folder or file, or a hub name")] = "bytes",
    length: Annotated[int, typer.Option(help="Tokens predicted in a row, of a mixture alone", min=1)] = 64,
    as_json: JsonOption = False,
) -> None:
    """Tokens, passes over each source, and a document's chance of being read, for every run of a study.

    Example: pliant mix study.yaml
    pliant mix mixture.yaml --tokens 16M --tokenizer ./model
    """
    from pliant.spec.yaml import read_yaml

    form = read_yaml(file)
    if isinstance(form, Mapping) and "checkpoints" in form:
        if tokens is not None:
            raise PliantError("--tokens is for a mixture alone; a study says its budgets itself")
        found = _of_study(file)
    else:
        found = {"": _alone(form, file, tokens, tokenizer, length)}
    if as_json:
        print_json([{"run": name, **preview.json()} for name, preview in found.items()])
        return
    for name, preview in found.items():
        _show(name, preview)


def _of_study(file: Path) -> dict[str, MixturePreview]:
    """Of each run of its ladders that trains on a mixture, whatever its seed."""
    from pliant.data.mixed import Mixed
    from pliant.data.preview import MixturePreview
    from pliant.study import Study

    found: dict[str, MixturePreview] = {}
    for rung in Study.read(file).checkpoints.rungs():
        run: Any = getattr(rung, "rung", rung)  # the arm's own, where it is one of several
        data = run.objective.data_for(run.model.words()) if hasattr(run, "objective") else None
        if isinstance(data, Mixed):
            length = run.recipe.length or run.model.context
            found[rung.checkpoint.address] = MixturePreview.of(data, run.tokens, length)
    if not found:
        raise PliantError(f"{file}: trains on no mixture; write corpus: {{mixture: {{NAME: SOURCE, ...}}, phases: [...]}}")
    return found


def _alone(form: Any, file: Path, tokens: int | None, tokenizer: str, length: int) -> MixturePreview:
    from pliant.data import load_tokenizer
    from pliant.data.mixture import Mixture
    from pliant.data.preview import MixturePreview

    inner = cast("Mapping[str, Any]", form).get("corpus", form) if isinstance(form, Mapping) else form
    mixture = Mixture.parse(inner, str(file))
    if not tokens:
        raise PliantError("a mixture alone does not say how long its run is; give --tokens 16M")
    return MixturePreview.of(mixture.packed(load_tokenizer(tokenizer)), tokens, length)


def _show(name: str, preview: MixturePreview) -> None:
    heads = ["source", "documents", "tokens", "planned", "share", "epochs", "at most", "a document is met"]
    if len(preview.phases) > 1:
        heads += [f"until {format_count(phase['until'])}" for phase in preview.phases]
    rows: list[list[str]] = []
    for source in preview.sources:
        row = [source.name, f"{source.documents:,}", format_count(source.tokens), format_count(source.planned), f"{source.share:.1%}"]
        row += [f"{source.epochs:.3g}", "" if source.limit is None else f"{source.limit:g}", f"{source.document_chance:.1%}"]
        row += [f"{phase['shares'][source.name]:.1%}" for phase in preview.phases] if len(preview.phases) > 1 else []
        rows.append(row)
    print_table(heads, rows, f"{name}: {format_count(preview.tokens)} tokens" if name else f"{format_count(preview.tokens)} tokens")
    for line in preview.remarks():
        remark(line)
