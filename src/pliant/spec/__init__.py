"""Specs: typed descriptions whose fields are their YAML, command line, schema, docs and hash, and how their forms are read."""

from pliant.spec.content import Content, content_form, described, parts
from pliant.spec.registry import Registry
from pliant.spec.spec import Catalog, Kind, Spec, check_count, digest, sweep
from pliant.spec.validation import explain, members, nearest, shown

__all__ = [
    "Catalog",
    "Content",
    "Kind",
    "Registry",
    "Spec",
    "check_count",
    "content_form",
    "described",
    "digest",
    "explain",
    "members",
    "nearest",
    "parts",
    "shown",
    "sweep",
]
