"""What is attacked, made once for all tests."""

from __future__ import annotations

import pytest

from attacked_digits import Digits, trained_digits


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Digits:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLIANT_CACHE", str(tmp_path_factory.getbasetemp() / "image-cache"))
        return trained_digits()
