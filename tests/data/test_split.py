from __future__ import annotations

import hashlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pliant.data.split import Split, held_out_share
from pliant.errors import PliantError

KIB = 1024


def split_of(hashes: list[int], length: int = 100) -> Split:
    return Split.of(np.array(hashes, np.uint64), np.full(len(hashes), length, np.uint32))


def held_out(split: Split) -> set[int]:
    return set(split.hashes[split.selected("heldout")].tolist())


def many(count: int, start: int = 0) -> list[int]:
    return [int.from_bytes(hashlib.sha256(str(number).encode()).digest()[:8], "big") for number in range(start, start + count)]


@given(st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=200).filter(lambda hashes: len(set(hashes)) > 1))
def test_every_document_is_on_one_side_and_no_side_is_empty(hashes: list[int]) -> None:
    split = split_of(hashes)
    train, held, everything = (split.selected(part) for part in ("train", "heldout", "all"))
    assert not (train & held).any()
    assert (train | held == everything).all()
    assert train.any()
    assert held.any()
    assert everything.sum() == len(set(hashes))
    assert max(held_out(split)) < min(split.hashes[train].tolist())


@given(st.permutations(many(60)))
def test_order_does_not_matter(order: list[int]) -> None:
    assert held_out(split_of(order)) == held_out(split_of(many(60)))


def test_a_document_is_held_out_when_its_hash_is_below_a_tenth() -> None:
    hashes = many(5000)
    assert held_out(split_of(hashes)) == {number for number in hashes if number < 0.1 * 2**64}
    assert 400 < len(held_out(split_of(hashes))) < 600  # 500 expected, standard deviation 21


def test_adding_documents_moves_none_until_the_share_halves() -> None:
    small = split_of(many(1000), 1000)  # 1M characters
    larger = split_of(many(5000), 1000)  # 5M
    assert held_out(small) == held_out(larger) & set(many(1000))
    huge = split_of(many(8000), 1000)  # 8M: the share is halved
    assert held_out(huge) == {number for number in many(8000) if number < 0.05 * 2**64}
    assert held_out(huge) & set(many(5000)) < held_out(larger)  # some go to the training part, none comes from it


@pytest.mark.parametrize(
    ("characters", "share"), [(1, 0.1), (5120 * KIB, 0.1), (5121 * KIB, 0.05), (10240 * KIB, 0.05), (10**10, 0.1 / 2**11)]
)
def test_share(characters: int, share: float) -> None:
    assert held_out_share(characters) == share
    assert held_out_share(characters) * characters <= 512 * KIB


def test_too_little_to_split() -> None:
    with pytest.raises(PliantError, match="empty"):
        split_of([]).selected("all")
    single = split_of([7, 7])
    assert single.selected("all").tolist() == [True, False]
    for part in ("train", "heldout"):
        with pytest.raises(PliantError, match="one document of 100 characters"):
            single.selected(part)
