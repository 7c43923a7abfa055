"""Fields that name content: what lies in a file or a folder, known by what it holds, not by what it is called.

A spec that reads a corpus, another checkpoint or a file holds it in a field of a type derived from `Content`. Then the content
enters every key made of the spec: when the file changes, so does the key, and nothing stale is taken for it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, cast

from pliant.spec.spec import Spec


class Content(Spec):
    """Base of field types that name content. Abstract: a subclass writes `fingerprint`, and one that is trained on `characters`."""

    def characters(self, part: Any = "all") -> int:
        """About how many characters of text there are, for estimates of cost."""
        return 0

    def content(self) -> Iterator[Content]:
        """Itself."""
        yield self

    def fingerprint(self) -> str:
        """Names what is there now: equal for equal content, wherever it lies. Raises PliantError for what cannot be read."""
        raise NotImplementedError


def described(spec: Spec) -> str:
    """The spec with the fingerprints of all content it names: equal for equal meaning, different when a file's content changes."""
    fingerprints = {part.fingerprint() for part in spec.content()}
    return json.dumps([spec.meaning(), sorted(fingerprints)], sort_keys=True)


def content_form(value: Any) -> Any:
    """Plain JSON values in which content stands as its fingerprint: the same wherever files lie."""
    if isinstance(value, Content):
        return value.fingerprint()
    if isinstance(value, Spec):
        holds_content = any(True for _ in value.content())
        return {"kind": value.kind, **{name: content_form(item) for name, item in value}} if holds_content else value.canonical()
    if isinstance(value, (list, tuple)):
        return [content_form(item) for item in cast("list[Any]", value)]
    if isinstance(value, dict):
        return {str(name): content_form(item) for name, item in cast("dict[Any, Any]", value).items()}
    return value


def parts(value: Any) -> Iterator[Spec]:
    """The spec, and every spec inside it, however deep."""
    if isinstance(value, Spec):
        yield value
        for name in type(value).model_fields:
            yield from parts(getattr(value, name))
    elif isinstance(value, (list, tuple)):
        for item in cast("list[Any]", value):
            yield from parts(item)
    elif isinstance(value, dict):
        yield from parts(list(cast("dict[Any, Any]", value).values()))
