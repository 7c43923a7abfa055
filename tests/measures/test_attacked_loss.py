"""The loss under attack: that of training's own rows, higher the larger the budget, and the clean one without any."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.measures import AttackedLoss
from pliant.models import build
from pliant.objectives import NextToken


def test_it_rises_with_the_budget_from_the_clean_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    path = tmp_path / "text.jsonl"
    path.write_text("\n".join(json.dumps({"text": f"Number {number} is told here, and told again."}) for number in range(60)))
    model = build("llama-16x2", load_tokenizer("ascii"), context=32)
    objective = NextToken.parse({"data": str(path), "part": "all"})

    def read(epsilon: float, **fields: Any) -> list[Any]:
        form = {"objective": {"next_token": {"data": str(path), "part": "all"}}, "attack": {"pgd": {"epsilon": epsilon}}, "rows": 8}
        return list(AttackedLoss.parse({**form, **fields}).readings(model))

    clean, attacked = read(0.0)
    assert (clean.metric, attacked.metric, clean.unit) == ("clean_loss", "attacked_loss", "nats/token")
    assert attacked.values == pytest.approx(clean.values, abs=1e-6)
    with torch.no_grad():
        own = objective.losses(model.network, objective.examples(model, None).batch(0, 8, 0)).values
    assert clean.values == pytest.approx(own.numpy(), abs=1e-5)
    rises = [(read(epsilon)[1] - clean_as(attacked, clean)).estimate().value for epsilon in (0.2, 0.5)]
    assert 0 < rises[0] < rises[1]
    assert read(0.5, batch=3)[1].values == pytest.approx(read(0.5)[1].values, abs=1e-3)
    with pytest.raises(PliantError, match="more than the model's context"):
        read(0.1, length=100)


def clean_as(named: Any, values: Any) -> Any:
    """The clean losses under the other's name, so that the two pair."""
    from dataclasses import replace

    return replace(named, values=values.values)
