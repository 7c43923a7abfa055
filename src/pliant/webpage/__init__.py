"""HTML pages that hold everything and load nothing: the one place where data gets into a page, and into a chart.

Idea: a template extends `base.html`, which escapes every text. Charts stand in the page as still SVG and are replaced by
interactive ones where scripts run, so that the page is whole on paper, in a mail, and in a browser without scripts. Their
data is JSON that cannot end the element it stands in. The content security policy lets run only the page's own scripts, by
their hashes, and nothing be fetched; Vega interprets its expressions, so it needs no `eval`. Styles stay `unsafe-inline`,
since Vega sets them on every mark; nothing but a page's own files writes any.
Cost: about a second for each dozen of charts; 0.9 MB of script, whatever the number of charts.
What goes wrong: the chart library ends the process at a control character, and half a character fits no file; `legible` is
what keeps both out.
"""

from __future__ import annotations

import base64
import contextlib
import functools
import hashlib
import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pliant.errors import PliantError

HERE = Path(__file__).parent
ADDRESSES = 80 << 30

ILLEGIBLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
"""Control characters, ends of lines and turns of direction that no reader sees, halves of characters, and what is none."""


def render(template: Path, charts: Sequence[Mapping[str, Any]], **values: Any) -> str:
    """The HTML page of a Jinja template that extends `base.html`, its `values` escaped wherever they stand.

    `charts` are Vega-Lite specifications; the template puts an element with the id `chart-0`, `chart-1` ... for each.
    """
    import jinja2

    loader = jinja2.FileSystemLoader([template.parent, HERE])
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    scripts = [_bundle(), _read("page.js")] if charts else []
    made = environment.get_template(template.name).render(
        **values,
        policy=_policy(scripts),
        style=_read("page.css"),
        specs=script_json([_drawable(chart) for chart in charts]),
        scripts=scripts,
    )
    return legible(made)


def still(chart: Mapping[str, Any]) -> str:
    """A Vega-Lite specification as a still SVG, for readers without scripts."""
    return _library().vegalite_to_svg(_drawable(chart))


def _library() -> Any:
    """The chart library. Raises PliantError where it would end the process: its engine reserves addresses that it does not use."""
    import vl_convert

    with contextlib.suppress(ImportError):  # Windows has no such limit
        import resource

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if 0 <= limit < ADDRESSES:
            raise PliantError(f"charts take {ADDRESSES >> 30} GiB of addresses (not of memory), and {limit >> 30} are allowed: ulimit -v")
    return vl_convert


def legible(value: Any) -> Any:
    """A plain value whose texts hold nothing that no reader sees, and whose numbers are finite or None."""
    return _plain(value, lambda text: ILLEGIBLE.sub("\N{REPLACEMENT CHARACTER}", text))


def _drawable(chart: Any) -> Any:
    """A specification that the chart library can read: legible, each text in one line and without backslashes.

    Vega-Lite puts some texts into expressions, where an end of a line or a backslash before a quote would end them.
    """
    return _plain(legible(chart), lambda text: re.sub(r"[\t\n\r]", " ", text).replace("\\", "\N{REVERSE SOLIDUS OPERATOR}"))


def _plain(value: Any, written: Callable[[str], str]) -> Any:
    """Plain values with every text as `written` writes it, and None for numbers that are not finite."""
    if isinstance(value, str):
        return written(value)
    if isinstance(value, Mapping):
        return {_plain(key, written): _plain(item, written) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item, written) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def script_json(value: Any) -> str:
    """JSON, in ASCII, that can neither end the script element it stands in nor open a comment there."""
    text = json.dumps(value, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _policy(scripts: Sequence[str]) -> str:
    """What a browser may do with the page: run these scripts, and fetch nothing."""
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" for script in scripts]
    runs = " ".join(hashes) or "'none'"
    return f"default-src 'none'; script-src {runs}; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"


@functools.cache
def _bundle() -> str:
    """The script that draws charts, with all it needs, as a browser will hash it."""
    bundle = _library().javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("\r\n", "\n").replace("\r", "\n")
    if re.search("</script|<!--|\0", bundle, re.IGNORECASE):
        raise ValueError("the chart library's script cannot stand in a page")
    return legible(bundle)


def _read(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")
