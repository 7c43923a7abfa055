"""One HTML file that holds everything: text, charts, their script. It loads nothing from anywhere.

Idea: charts stand in the page as still SVG and are replaced by interactive ones where scripts run, so that the page is whole
on paper, in a mail, and in a browser without scripts. Its content security policy forbids every request.
Cost: about a second for each dozen of charts; 0.9 MB of script, whatever the number of charts.
"""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.files import write_atomic
from pliant.report.parts import Figure, Folded, Gallery, Part
from pliant.report.results import Results, gather
from pliant.report.sections import SECTIONS
from pliant.report.sections.decisions import answer

if TYPE_CHECKING:
    from pliant.ledger.ledger import Ledger
    from pliant.study.runs import Runs

HERE = Path(__file__).parent


def report(source: Runs | Ledger | str | Path, out: str | Path) -> Path:
    """Write the report of a ledger to the HTML file `out`.

    Raises PliantError for a folder that is no ledger, and for a file that cannot be written.
    """
    target = Path(out)
    write_atomic(target, page(gather(source)))
    return target


def page(results: Results) -> str:
    """The whole HTML document."""
    import jinja2

    sections = [section for make in SECTIONS if (section := make(results)) is not None]
    figures = [figure for section in sections for figure in _figures(section.parts)]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    return environment.get_template("page.html").render(
        name=results.name,
        answers=[answer(ladder) for ladder in results.ladders] if len(results.ladders) == 1 else [],
        undecided=results.undecided,
        sections=sections,
        numbers={id(figure): number for number, figure in enumerate(figures)},
        identity=id,
        specs=_script_json([figure.spec for figure in figures]),
        bundle=_bundle() if figures else "",
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        script=(HERE / "page.js").read_text(encoding="utf-8"),
        date=datetime.date.today().isoformat(),
    )


@functools.cache
def _bundle() -> str:
    """The script that draws charts, with all it needs."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;")


def _figures(parts: Sequence[Part]) -> list[Figure]:
    """Every chart, in the order of the page."""
    found: list[Figure] = []
    for part in parts:
        if isinstance(part, Figure):
            found.append(part)
        elif isinstance(part, Gallery):
            found.extend(part.figures)
        elif isinstance(part, Folded):
            found.extend(_figures(part.parts))
    return found


def _script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
