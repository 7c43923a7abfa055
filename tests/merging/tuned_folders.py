"""Checkpoints tuned from another, as folders."""

from __future__ import annotations

from pathlib import Path

import torch

from pliant.models import load, save


def tuned(base: Path, folder: Path, seed: int, dtype: str | None = None) -> Path:
    """The base moved at random."""
    model = load(base, dtype=dtype)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.network.parameters():
            parameter += (0.02 * torch.randn(parameter.shape, generator=generator)).to(parameter.dtype)
    save(model, folder)
    return folder
