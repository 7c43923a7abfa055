"""Quantization-aware training: the network learns while its forward pass is rounded to few bits.

Idea: every linear layer multiplies rounded copies of its weights and inputs, and attention reads rounded keys and values; the
optimizer moves the full-precision weights behind them ("master weights") with gradients that pass the rounding unchanged.
When to use it: to learn what training in P bits would give, without hardware for it; or before rounding a model for use.
Cost: at 8,784 parameters 1.2 times the training time for weights, 1.4 with activations, keys and values; 1.05 and 1.2 at
168,000. What it leaves are the master weights: round them (`quantize`) with the same bits to get the network that was trained.
`training_bits` of the checkpoint records the weights' bits.
What goes wrong: activations and keys below 4 bits are unstable; scales of whole tensors suffer from outliers; rounding the
weights left behind to fewer bits than they were trained with costs as much as ever.
Source: arXiv 2411.04330, appendix: forward-pass-only integer quantization, weights per channel, activations per tensor.
"""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from pliant.methods.method import Method, MethodState, Run

Bits = Annotated[int, Field(ge=3, le=16)]


class QuantizeAware(Method):
    """Train with weights, activations or keys and values rounded in the forward pass."""

    kind = "qat"
    weights: Bits | None = Field(None, description="Bits of the linear layers' weights, one grid an output channel")
    activations: Bits | None = Field(None, description="Bits of the linear layers' inputs, one grid a layer and batch")
    kv: Bits | None = Field(None, description="Bits of attention's keys and values, one grid each a layer and batch")
    head: bool = Field(False, description="Whether the output head is rounded like the other linear layers")

    @model_validator(mode="after")
    def _something(self) -> Self:
        if self.weights is None and self.activations is None and self.kv is None:
            raise ValueError("give the bits of weights, activations or kv")
        return self

    def prepare(self, run: Run, state: MethodState) -> None:
        """From here until the run ends the network computes in these bits."""
        from pliant.quantization.fake_quantized import fake_quantized

        state.undo.enter_context(fake_quantized(run.network, self.weights, self.activations, self.kv, self.head))

    def finish(self, run: Run, state: MethodState) -> None:
        """The master weights stay; the checkpoint learns the bits."""
        if self.weights is not None:
            run.facts["training_bits"] = self.weights
