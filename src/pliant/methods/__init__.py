"""Methods: what alters training. One file each; a new one is a file and a name in `METHODS`."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from pliant.methods.activation_penalty import ActivationPenalty
from pliant.methods.adversarial import Adversarial
from pliant.methods.adversarial_self_attention import AdversarialSelfAttention
from pliant.methods.autoft import AutoFt
from pliant.methods.bi_drop import BiDrop
from pliant.methods.dora import Dora
from pliant.methods.ema import Ema
from pliant.methods.ewc import Ewc
from pliant.methods.l2_start import L2Start
from pliant.methods.lora import Lora
from pliant.methods.method import Compute, Forward, Method, MethodState, Run, check_together
from pliant.methods.probe import Probe
from pliant.methods.progressive_layer_dropping import ProgressiveLayerDropping
from pliant.methods.quantize_aware import QuantizeAware
from pliant.methods.sam import Sam
from pliant.methods.sfa import Sfa
from pliant.methods.swa import Swa
from pliant.methods.wise_ft import WiseFt
from pliant.spec import Catalog
from pliant.spec.fields import SeveralOf

METHODS: Catalog[Method] = Catalog(
    "method",
    *(QuantizeAware, Lora, Dora, Probe),
    *(L2Start, Ewc, Sfa, WiseFt, Ema, Swa, AutoFt),
    *(Sam, ActivationPenalty, BiDrop, ProgressiveLayerDropping, AdversarialSelfAttention, Adversarial),
)

__all__ = [
    "METHODS",
    "ActivationPenalty",
    "Adversarial",
    "AdversarialSelfAttention",
    "AutoFt",
    "BiDrop",
    "Compute",
    "Dora",
    "Ema",
    "Ewc",
    "Forward",
    "L2Start",
    "Lora",
    "Method",
    "MethodState",
    "Methods",
    "Probe",
    "ProgressiveLayerDropping",
    "QuantizeAware",
    "Run",
    "Sam",
    "Sfa",
    "Swa",
    "WiseFt",
    "check_together",
]


Methods = Annotated[tuple[Method, ...], SeveralOf(METHODS), Field(description="What alters the training, innermost first")]
"""The field type of a list of methods, in the forms of `METHODS.parse`."""
