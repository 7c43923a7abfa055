"""Bit allocation against brute force."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pliant.decide.model.allocation import allocate, lower_hull
from pliant.errors import PliantError


def tensors_from(sensitivities, sizes):
    """Rises that fall fourfold with each bit, as rounding errors do."""
    return {
        f"t{index}": {bits: (float(size * bits), sensitivity * 4.0**-bits) for bits in range(2, 7)}
        for index, (sensitivity, size) in enumerate(zip(sensitivities, sizes, strict=True))
    }


def best_by_brute_force(tensors, limit):
    best = float("inf")
    for combination in itertools.product(*(choices.values() for choices in tensors.values())):
        if sum(size for size, _ in combination) <= limit:
            best = min(best, sum(rise for _, rise in combination))
    return best


POSITIVE = st.floats(1e-3, 1e3)


@given(st.lists(st.tuples(POSITIVE, st.integers(1, 50)), min_size=1, max_size=4), st.floats(2.0, 6.5))
def test_it_fits_and_is_close_to_the_best_there_is(items, average):
    tensors = tensors_from(*zip(*items, strict=True))
    limit = average * sum(size for _, size in items)
    found = allocate(tensors, limit)
    assert found.size == pytest.approx(sum(tensors[name][bits][0] for name, bits in found.bits.items()))
    assert found.size <= limit
    best = best_by_brute_force(tensors, limit)
    largest_step = max(choices[2][1] for choices in tensors.values())
    assert best - 1e-12 <= found.rise <= best + largest_step


def test_equal_tensors_of_equal_size_are_solved_exactly():
    tensors = tensors_from([1.0, 4.0, 16.0], [10, 10, 10])
    for limit in range(60, 190, 10):
        assert allocate(tensors, limit).rise == pytest.approx(best_by_brute_force(tensors, limit))


def test_a_sensitive_tensor_gets_the_bits():
    bits = allocate(tensors_from([1.0, 64.0], [10, 10]), 90).bits
    assert bits["t1"] - bits["t0"] == 3  # 4^3 = 64


def test_too_small_a_limit_is_refused():
    with pytest.raises(PliantError, match="smallest allocation"):
        allocate(tensors_from([1.0], [8]), 10)


def test_the_hull_drops_choices_that_no_price_makes_best():
    assert lower_hull({2: (2.0, 10.0), 3: (3.0, 9.9), 4: (4.0, 1.0), 5: (5.0, 1.0), 6: (6.0, 0.5)}) == [2, 4, 6]
