from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pliant.errors import PliantError
from pliant.quantization.grid import fit_grid, round_to_grid, slices


def matrix(seed, rows=4, columns=24, spread=1.0):
    import torch

    return torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed)) * spread


SCHEMES = ("symmetric", "full_range", "asymmetric")
cases = {
    "seed": st.integers(0, 10**6),
    "bits": st.integers(2, 16),
    "scheme": st.sampled_from(SCHEMES),
    "granularity": st.sampled_from(["tensor", "channel", 8, 1]),
    "spread": st.sampled_from([1e-20, 1e-3, 1.0, 1e8]),
}


def test_by_hand():
    import torch

    x = torch.tensor([[3.0, 1.4, -0.4, -2.6], [0.0, 0.5, 1.0, 1.5]])
    # 3 bits, symmetric: codes -4..3; row 1 in steps of 1, row 2 in steps of 1/2
    assert round_to_grid(x, 3).tolist() == [[3, 1, 0, -3], [0, 0.5, 1, 1.5]]
    # one grid for all: steps of 1, halves to the even code
    assert round_to_grid(x, 3, granularity="tensor").tolist() == [[3, 1, 0, -3], [0, 0, 1, 2]]
    # 2 bits, asymmetric: 0..1.5 in three steps of 1/2
    assert round_to_grid(x[1:], 2, "asymmetric").tolist() == [[0, 0.5, 1, 1.5]]
    # groups of two within a row: 3 -> steps of 3, 2.6 -> steps of 2.6
    assert round_to_grid(x[:1], 2, granularity=2)[0].tolist() == pytest.approx([3, 0, 0, -2.6])


@given(**cases)
def test_no_entry_moves_further_than_half_a_step(seed, bits, scheme, granularity, spread):
    x = matrix(seed, spread=spread)
    sliced = slices(x, granularity)
    step = 1 / fit_grid(sliced, bits, scheme).scale
    moved = (slices(round_to_grid(x, bits, scheme, granularity), granularity) - sliced).abs()
    # the asymmetric zero point is itself rounded, which can push one end of the range half a step off the grid
    allowed = (1.0 if scheme == "asymmetric" else 0.5) * step + 1e-5 * sliced.abs()
    assert (moved <= allowed).all()


@given(**cases)
def test_values_are_few_and_rounding_them_again_changes_nothing(seed, bits, scheme, granularity, spread):
    import torch

    x = matrix(seed, spread=spread)
    sliced = slices(x, granularity)
    grid = fit_grid(sliced, bits, scheme)
    codes = grid.codes(sliced)
    assert codes.min() >= grid.low
    assert codes.max() <= grid.high
    assert grid.high - grid.low == 2**bits - 1
    assert torch.equal(codes, codes.round())
    once = grid.round(sliced)
    assert torch.allclose(grid.round(once), once, rtol=1e-5, atol=0)


@given(seed=st.integers(0, 10**6), bits=st.integers(2, 16), spread=st.sampled_from([1e-3, 1.0, 1e8]))
def test_a_full_range_grid_has_its_last_border_at_the_largest_magnitude(seed, bits, spread):
    """Its step is max|x| / (2^(bits-1) - 1/2): all codes are of use, and what is finer is so by that ratio exactly."""
    import torch

    x = matrix(seed, spread=spread)
    half = 2 ** (bits - 1)
    full, symmetric = fit_grid(x, bits, "full_range"), fit_grid(x, bits, "symmetric")
    largest = x.abs().amax(-1, keepdim=True)
    assert torch.allclose(largest * full.scale, torch.tensor(half - 0.5), rtol=1e-6)
    assert torch.allclose(symmetric.scale / full.scale, torch.tensor((half - 1) / (half - 0.5)), rtol=1e-6)
    ends = torch.cat([-largest, largest], -1)
    codes = full.codes(ends * (1 + 2.0 ** -(bits + 4)))  # beyond the border, on both sides
    assert (codes[:, 0] == -half).all()
    assert (codes[:, 1] == half - 1).all()
    assert (symmetric.codes(ends)[:, 0] == 1 - half).all()


@given(seed=st.integers(0, 10**6), bits=st.integers(2, 16))
def test_symmetric_grids_are_odd_and_keep_the_largest_magnitude(seed, bits):
    import torch

    x = matrix(seed)
    assert torch.equal(round_to_grid(-x, bits), -round_to_grid(x, bits))
    largest = x.abs().argmax(-1, keepdim=True)
    assert torch.allclose(round_to_grid(x, bits).gather(1, largest), x.gather(1, largest), rtol=1e-6)


@given(seed=st.integers(0, 10**6), bits=st.integers(2, 8), scheme=st.sampled_from(SCHEMES))
def test_rounding_does_not_depend_on_units(seed, bits, scheme):
    """A power of two changes no digit of a float."""
    import torch

    x = matrix(seed)
    assert torch.equal(round_to_grid(8 * x, bits, scheme), 8 * round_to_grid(x, bits, scheme))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_zero_stays_zero(scheme):
    import torch

    x = matrix(0).abs() + 1
    x[0], x[1, :3], x[2] = 0, 0, 1e-42
    rounded = round_to_grid(x, 4, scheme)
    assert (rounded[0] == 0).all()
    assert (rounded[1, :3] == 0).all()
    assert rounded[2].abs().max() <= 1e-42, "a row too small to divide by"
    assert torch.isfinite(rounded).all()


def test_more_bits_are_nearer():
    x = matrix(0, columns=4096)
    errors = [float((round_to_grid(x, bits) - x).square().mean()) for bits in range(3, 13)]
    ratios = [a / b for a, b in pairwise(errors)]
    # one more bit divides the step by (2^(b) - 1) / (2^(b - 1) - 1), so the error by its square: 5.4 at 3 bits, down to 4
    expected = [((2**bits - 1) / (2 ** (bits - 1) - 1)) ** 2 for bits in range(3, 12)]
    assert ratios == pytest.approx(expected, rel=0.1)


def test_low_precision_tensors_are_rounded_in_float32():
    import torch

    x = matrix(0).bfloat16()
    assert round_to_grid(x, 6).dtype == torch.bfloat16
    assert torch.equal(round_to_grid(x, 6), round_to_grid(x.float(), 6).bfloat16())


def test_what_is_not_finite_stays_visible():
    x = matrix(0)
    x[0, 3] = float("nan")
    assert round_to_grid(x, 4)[0].isnan().any()


@pytest.mark.parametrize("bits", [1, 17, 0, -3])
def test_bits_out_of_range(bits):
    with pytest.raises(PliantError, match="2 to 16"):
        round_to_grid(matrix(0), bits)


@pytest.mark.parametrize("granularity", [5, 0, -8])
def test_groups_must_divide_rows(granularity):
    with pytest.raises(PliantError, match="do not divide rows of 24"):
        round_to_grid(matrix(0), 4, granularity=granularity)
