"""Methods: what alters training. One file each; a new one is a file and a name in `METHODS`."""

from __future__ import annotations

from pliant.methods.method import Compute, Memory, Method, Run
from pliant.spec import Catalog

METHODS: Catalog[Method] = Catalog("method")

__all__ = ["METHODS", "Compute", "Memory", "Method", "Run"]
