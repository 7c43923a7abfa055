"""Writes docs/reference.md: every kind, law and command, from the docstrings and typed fields in the code.

Run by `make docs`; `tests/test_docs.py` fails when the file and the code disagree.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REFERENCE = Path(__file__).parent / "reference.md"


def reference() -> str:
    """The whole reference as Markdown."""
    return "\n".join(_lines()).rstrip() + "\n"


def _lines() -> Iterator[str]:
    from pliant.changes import CHANGES
    from pliant.laws import LAWS
    from pliant.measures import MEASURES
    from pliant.methods import METHODS
    from pliant.study.study import Study
    from pliant.train.ladder import TrainedLadder
    from pliant.train.recipe import Recipe

    yield "# Reference\n"
    yield "Written by `make docs` from the code; do not edit.\n"
    yield "## Study files\n"
    for spec in (Study, TrainedLadder, Recipe):
        yield from _entry(spec, spec.__name__)
    for title, catalog in (("Changes", CHANGES), ("Measures", MEASURES), ("Methods", METHODS)):
        yield f"## {title}\n"
        for kind, spec in sorted(catalog.specs().items()):
            yield from _entry(spec, f"`{kind}`")
    yield "## Laws\n"
    for name, law in sorted(LAWS.items()):
        yield from _law(name, law)


def _law(name: str, law: Any) -> Iterator[str]:
    yield f"### `{name}`\n"
    yield _card(law.function) + "\n"
    yield f"Predicts `{law.target}` in {law.unit}. Source: {law.source} Valid: {law.valid}\n"
    if law.identifiability:
        yield f"Identifiability: {law.identifiability}\n"
    yield "| column or parameter | meaning |\n|---|---|"
    for column in law.columns:
        yield f"| `{column.name}` ({column.unit}) | {column.description} |"
    for parameter in law.parameters:
        yield f"| `{parameter.name}` | {parameter.description} |"
    yield ""


def _entry(spec: Any, title: str) -> Iterator[str]:
    yield f"### {title}\n"
    yield _card(spec) + "\n"
    yield "| field | type | default | meaning |\n|---|---|---|---|"
    for name, field in spec.model_fields.items():
        default = "required" if field.is_required() else f"`{_shown(field.get_default(call_default_factory=True))}`"
        meaning = " ".join((field.description or "").split()).replace("|", "\\|")
        yield f"| `{name}` | {_type(field.annotation)} | {default} | {meaning} |"
    yield ""


def _card(thing: Any) -> str:
    """The module's card, when the thing is the module's one idea, and the thing's own docstring."""
    own = inspect.getdoc(thing) or ""
    card = inspect.getdoc(inspect.getmodule(thing)) or ""
    return card if own in card else f"{card}\n\n{own}"


def _type(annotation: Any) -> str:
    name = annotation.__name__ if inspect.isclass(annotation) else str(annotation)
    plain = re.sub(r"Annotated\[([\w.]+), [^\]]*\]", r"\1", name.replace("typing.", ""))
    return f"`{re.sub(r'pliant[a-z_.]*[.]', '', plain)}`".replace("|", "\\|")


def _shown(value: Any) -> str:
    return str(value.canonical()) if hasattr(value, "canonical") else str(value).replace("|", "\\|")


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1] / "src"))
    REFERENCE.write_text(reference(), encoding="utf-8")
    print(f"wrote {REFERENCE}")
