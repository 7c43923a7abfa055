"""Rank, size and alignment of a change of weights: closed forms, and LoRA against full fine-tuning."""

import math

import numpy as np
import pytest
import torch

from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.measures import MEASURES, WeightChange
from pliant.measures.weight_change import change, effective_rank, noise_rank
from pliant.methods import Lora
from pliant.models import build, save
from pliant.train import Recipe, train
from small_text import given


def normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("rank", [1, 4, 10, 17])
def test_equal_singular_values_count_to_nine_tenths(rank):
    left, right = (torch.linalg.qr(normal(40, rank, seed=seed)).Q for seed in (1, 2))
    base = normal(40, 40)
    found = change(base, base + 0.1 * left @ right.T, 8)
    assert round(found[0] * 40) == math.ceil(0.9 * rank)
    assert found[2] == pytest.approx(0.1 * rank**0.5 / base.norm().item(), rel=1e-4)


def test_noise_has_the_rank_of_noise_whatever_its_size():
    """Square: (2/pi) f - sin(4 f) / (2 pi) = 0.9, then (2/pi) f - sin(2 f) / pi; other shapes against drawn matrices."""
    low, high = 0.0, math.pi / 2
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if 2 / math.pi * middle - math.sin(4 * middle) / (2 * math.pi) < 0.9 else (low, middle)
    assert noise_rank(1.0) == pytest.approx(2 / math.pi * low - math.sin(2 * low) / math.pi, abs=1e-4)
    for short, long in ((256, 256), (192, 384), (128, 512)):
        drawn = effective_rank(torch.linalg.svdvals(normal(short, long))) / short
        assert drawn == pytest.approx(noise_rank(short / long), abs=0.012)
    base = normal(128, 256)
    for size in (1e-6, 1.0):
        assert change(base, base + size * normal(128, 256, seed=5), 8)[1] == pytest.approx(1.0, abs=0.05)


def test_alignment_is_all_in_the_first_direction_or_chance():
    base = normal(30, 60)
    u, _, v = torch.linalg.svd(base, full_matrices=False)
    assert change(base, base + torch.outer(u[:, 0], v[0]), 3)[3] == pytest.approx(30 * 60 / 9, rel=1e-4)
    assert change(base, base + torch.outer(u[:, 9], v[9]), 3)[3] == pytest.approx(0.0, abs=1e-4)
    drawn = [change(base, base + normal(30, 60, seed=seed), 8)[3] for seed in range(1, 21)]
    assert np.mean(drawn) == pytest.approx(1.0, abs=0.15)
    assert change(base, base.clone(), 3) == [0.0] * 4


def test_lora_changes_at_most_its_rank_and_full_fine_tuning_more(text, tmp_path):
    base = build("llama-32x1", load_tokenizer("ascii"))
    save(base, tmp_path / "base")
    measure = MEASURES.parse({"weight_change": {"base": str(tmp_path / "base")}})
    assert all(reading.values.max() == 0 for reading in measure.readings(base))
    ranks = {}
    for name, methods in (("lora", (Lora(rank=2),)), ("full", ())):
        model = build("llama-32x1", load_tokenizer("ascii"))
        train(model, given(text), Recipe(lr=1e-2, steps=8, batch=4, length=16, warmup=0), methods=methods, quiet=True)
        rank, over, norm, _ = measure.readings(model)
        assert len(rank.samples) == 7
        assert (norm.values > 0).all()
        assert (over.values > rank.values).all()
        ranks[name] = rank.values * 32
    assert ranks["lora"].max() <= 2 + 1e-6
    assert ranks["full"].min() > 2
    assert [part.label() for part in measure.content()] == [str(tmp_path / "base")]


def test_another_base_is_one_line(tmp_path):
    save(build("llama-32x1", load_tokenizer("ascii")), tmp_path / "base")
    with pytest.raises(PliantError, match="has no matrix"):
        WeightChange(base=str(tmp_path / "base"))(build("llama-16x1", load_tokenizer("ascii")))
    damaged = build("llama-32x1", load_tokenizer("ascii"))
    damaged.network.model.layers[0].mlp.up_proj.weight.data[0, 0] = float("nan")
    with pytest.raises(PliantError, match="infinite or undefined"):
        WeightChange(base=str(tmp_path / "base"))(damaged)
