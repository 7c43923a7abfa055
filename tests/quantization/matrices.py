"""Small weights and inputs that all methods of quantization are tried on."""

import torch


def layer(outputs=12, width=32, tokens=400, seed=0, spread=1.0):
    """A weight and correlated inputs (tokens, width)."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=generator) * torch.linspace(1, spread, width)
    inputs = torch.randn(tokens, width, generator=generator) @ mixing
    return torch.randn(outputs, width, generator=generator), inputs


def error(weight, rounded, inputs):
    return float(((weight - rounded).double() @ inputs.T.double()).square().sum())
