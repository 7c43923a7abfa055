"""Fixtures every room uses."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import settings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HF_HUB_OFFLINE", "1")

settings.register_profile("no deadline", deadline=None)  # the machine may be busy
settings.load_profile("no deadline")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of published data that some tests read; they skip, visibly, where it is absent."""
    folder = Path(os.environ.get("PLIANT_SHARED_DATA", Path(__file__).parents[2] / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("shared data is absent")
    return folder
