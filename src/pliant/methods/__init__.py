"""Methods: what alters training. One file each; a new one is a file and a name in `METHODS`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pliant.methods.lora import Lora
from pliant.methods.method import Compute, Forward, Method, MethodState, Run
from pliant.methods.probe import Probe
from pliant.methods.quantize_aware import QuantizeAware
from pliant.spec import Catalog
from pliant.spec.fields import SeveralOf

METHODS: Catalog[Method] = Catalog("method", QuantizeAware, Lora, Probe)

__all__ = ["METHODS", "Compute", "Forward", "Lora", "Method", "MethodState", "Methods", "Probe", "QuantizeAware", "Run"]


Methods = Annotated[tuple[Method, ...], SeveralOf(METHODS), Field(description="What alters the training, innermost first")]
"""The field type of a list of methods, in the forms of `METHODS.parse`."""
