"""Specs: typed descriptions whose fields are their YAML, command line, schema, docs and hash, and how their forms are read."""

from pliant.spec.spec import Catalog, Kind, Spec, digest, sweep
from pliant.spec.validation import explain, members, nearest, shown

__all__ = ["Catalog", "Kind", "Spec", "digest", "explain", "members", "nearest", "shown", "sweep"]
