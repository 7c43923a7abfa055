"""A study of a published series: each revision is fetched once, in order, and a missing one fails alone."""

import sys
from pathlib import Path

import pytest

from pliant.models import hub_patience, hub_store
from pliant.study.running import run

sys.path.append(str(Path(__file__).parents[1] / "models"))
from hub_standin import serve

WEIGHTS = "model.safetensors"


@pytest.fixture
def hub(folders, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(hub_patience, "PAUSES", (0.0, 0.0))
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    names = sorted(path.name for path in folders.iterdir())
    with serve({"lab/tiny": {"main": folders / names[-1], **{name: folders / name for name in names}}}) as running:
        yield running
        hub_store.drop_ahead()


def test_a_series_is_fetched_in_order_and_once(form, hub, tmp_path):
    revisions = ["step2-tokens2M", "step1-tokens1M", "step3-tokens3M"]
    form |= {"checkpoints": {"hub": "lab/tiny", "revisions": revisions, "endpoint": hub.url}}
    runs = run(form, tmp_path / "ledger", workers=0)
    assert {row["tokens"]: row["status"] for row in runs.records()} == {1_000_000: "ok", 2_000_000: "ok", 3_000_000: "failed"}
    assert hub.downloads(WEIGHTS) == ["step1-tokens1M", "step2-tokens2M"]
    (error,) = {row["error"] for row in runs.failed}
    assert "step3-tokens3M" in error
    assert list((tmp_path / "cache" / "hub").rglob(WEIGHTS)) == []
    form["checkpoints"]["revisions"] = revisions[:2]
    run(form, tmp_path / "ledger", workers=0)
    assert len(hub.downloads(WEIGHTS)) == 2  # a second run needs none of them
