"""Golden values recomputed from the printed constants of arXiv 2411.04330 with the offsets of the appendix."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pliant.laws.forms.training_bits import LAW, PRINTED, resolved, resolved_fraction


def share(bits: float, offsets: float = 1.0) -> float:
    """f at equal bits; `offsets` multiplies the printed n."""
    g_and_n = [PRINTED[name] * (offsets if name[0] == "n" else 1) for name in ("gw", "nw", "ga", "na", "gkv", "nkv")]
    return float(resolved_fraction(*(torch.tensor(value, dtype=torch.float64) for value in (bits, bits, bits, *g_and_n))))


def best_bits(offsets: float) -> float:
    bits = np.linspace(1.0, 16.0, 150_001)
    with np.errstate(invalid="ignore"):
        worth = share_of(bits, offsets) / bits
    return float(bits[np.nanargmax(worth)])


def share_of(bits: np.ndarray, offsets: float) -> np.ndarray:
    g_and_n = [PRINTED[name] * (offsets if name[0] == "n" else 1) for name in ("gw", "nw", "ga", "na", "gkv", "nkv")]
    tensor = torch.as_tensor(bits)
    return resolved_fraction(tensor, tensor, tensor, *(torch.tensor(value, dtype=torch.float64) for value in g_and_n)).numpy()


@pytest.mark.parametrize(("bits", "expected"), [(4, 0.191), (5, 0.427), (6, 0.611), (7, 0.740), (8, 0.828), (12, 0.967), (16, 0.994)])
def test_share_of_effective_parameters(bits: int, expected: float) -> None:
    assert share(bits) == pytest.approx(expected, abs=5e-4)


def test_sign_of_the_offset() -> None:
    """With +n the constants give the paper's own optimum, 7 bits; without n, about 3.5; with -n the optimum runs away to 1."""
    assert best_bits(1.0) == pytest.approx(7.00, abs=0.01)
    assert 3.4 < best_bits(0.0) < 3.8
    assert best_bits(-1.0) < 1.5


def test_without_offsets_the_optimum_solves_3x_equals_expm1() -> None:
    """f = (1 - e^-x)^3 with x = P / g: d ln f / dP = 1 / P gives 3x / (e^x - 1) = 1, x = 1.9038."""
    x = np.linspace(0.5, 5, 450_001)
    value = resolved(torch.as_tensor(x), torch.tensor(1.0, dtype=torch.float64), torch.tensor(0.0, dtype=torch.float64)).numpy()
    assert x[np.argmax(value**3 / x)] == pytest.approx(1.9038, abs=1e-4)


@pytest.mark.parametrize(("millions", "loss"), [(30, 3.720), (60, 3.478), (110, 3.324), (220, 3.197)])
def test_loss_at_26_billion_tokens_without_quantization(millions: int, loss: float) -> None:
    # 400 bits stand for exact arithmetic: f = 1
    columns = {"N": millions * 1e6, "D": 26e9, "Pw": 400.0, "Pa": 400.0, "Pkv": 400.0}
    assert LAW(columns, PRINTED) == pytest.approx(loss, abs=5e-4)


def test_refuses_bits_where_nothing_is_left() -> None:
    """Activations at 3 bits: f = -0.05, and the paper drops those runs as unstable."""
    assert np.isnan(LAW({"N": 1e8, "D": 1e10, "Pa": 3.0}, PRINTED))
    assert np.isfinite(LAW({"N": 1e8, "D": 1e10, "Pa": 4.0}, PRINTED))


def test_more_bits_never_hurt() -> None:
    loss = LAW({"N": 1e8, "D": 1e10, "Pw": np.arange(3.0, 17.0)}, PRINTED)
    assert (np.diff(loss) < 0).all()
