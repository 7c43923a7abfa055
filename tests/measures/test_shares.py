"""Shares: every sample once, blocks of about one size, and no cluster that shares anything with another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.measures import Loss, Measure, Reading
from pliant.measures.shares import clusters, joined, share_numbers
from pliant.statistics import clustered_error


def named(sizes: list[int]) -> list[str]:
    """The document of each sample, for documents of these sizes."""
    return [f"document {number}" for number, size in enumerate(sizes) for _ in range(size)]


sizes = st.lists(st.integers(1, 9), min_size=1, max_size=30)


@given(sizes, st.integers(1, 20))
def test_every_share_has_samples_and_they_follow_each_other(sizes: list[int], of: int) -> None:
    documents = named(sizes)
    if len(documents) < of:
        with pytest.raises(PliantError, match=f"^{len(documents)} samples cannot be shared among {of} pairs"):
            share_numbers(documents, of)
        return
    numbers = share_numbers(documents, of)
    assert (np.diff(numbers) >= 0).all()
    assert sorted(set(numbers)) == list(range(of))
    assert np.bincount(numbers).max() <= 2 * len(documents) / of + 1


@given(sizes, st.integers(1, 20))
def test_clusters_are_the_finest_that_have_nothing_in_common(sizes: list[int], of: int) -> None:
    """Against the connected components of a graph whose edges are 'same document' and 'same share'."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    documents = named(sizes)
    if len(documents) < of:
        return
    shares = share_numbers(documents, of) if of > 1 else np.arange(len(documents))
    same = np.equal.outer(np.array(documents), np.array(documents)) | np.equal.outer(shares, shares)
    _, expected = connected_components(coo_array(same))
    found = clusters(documents, of)
    assert (np.equal.outer(found, found) == np.equal.outer(expected, expected)).all()


@given(st.integers(1, 20), st.integers(1, 5), st.integers(1, 4))
def test_documents_of_one_size_are_never_cut_where_that_is_possible(of: int, documents_a_share: int, windows: int) -> None:
    documents = named([windows] * (of * documents_a_share))
    assert (share_numbers(documents, of) == np.arange(len(documents)) // (documents_a_share * windows)).all()


def test_a_long_document_holds_whole_shares() -> None:
    documents = named([8, 2, 2, 2, 2])
    assert share_numbers(documents, 4).tolist() == [0] * 4 + [1] * 4 + [2] * 4 + [3] * 4
    assert clusters(documents, 4).tolist() == [0] * 8 + [1] * 4 + [2] * 4


def test_a_cut_moves_to_the_nearest_border() -> None:
    documents = named([3, 2, 5])  # ten samples; cuts between two shares: at 5; between three: at 3.3 and 6.7
    assert share_numbers(documents, 2).tolist() == [0] * 5 + [1] * 5
    assert share_numbers(documents, 3).tolist() == [0] * 3 + [1] * 2 + [2] * 5


def test_a_cut_without_a_border_near_it_ties_what_it_leaves_together() -> None:
    documents = named([1, 7, 2])
    assert share_numbers(documents, 3).tolist() == [0] * 3 + [1] * 5 + [2] * 2
    assert clusters(documents, 3).tolist() == [0] * 8 + [1] * 2  # the first two documents meet in the first share


def test_the_error_of_a_reading_in_shares_counts_shares() -> None:
    values, weights = np.random.default_rng(0).normal(size=12), np.arange(1.0, 13)
    ids = [f"{number}:0" for number in range(12)]
    thirds = [Reading("loss", "nats/token", ids[a : a + 4], values[a : a + 4], weights[a : a + 4], "text") for a in (0, 4, 8)]
    whole = joined(thirds)
    expected = clustered_error(values, weights, np.repeat([0, 1, 2], 4))
    assert list(whole.samples) == ids
    assert whole.estimate().stderr == pytest.approx(expected)
    unchanged = Reading("loss", "nats/token", ids, np.zeros(12), weights, "text")
    for difference, sign in ((whole - unchanged, 1), (unchanged - whole, -1)):
        found = difference.estimate()
        assert (found.value * sign, found.stderr) == (pytest.approx(whole.estimate().value), pytest.approx(expected))
    quarters, sixths = (
        joined([Reading("loss", "nats/token", ids[a : a + n], values[a : a + n] / 2, weights[a : a + n], "text") for a in range(0, 12, n)])
        for n in (3, 2)
    )
    both = (quarters - sixths).clusters  # 0-2, 3-5 ... with 0-1, 2-3 ...: the first half and the second have nothing in common
    assert list(both) == [0] * 6 + [1] * 6
    thirds = (whole - sixths).estimate()
    assert thirds.stderr == pytest.approx(clustered_error(values / 2, weights, np.repeat([0, 1, 2], 4)))


def test_the_shares_of_a_loss_make_up_the_loss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pliant.models.presets import build

    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "text").mkdir()
    for number in range(200):
        (tmp_path / "text" / f"{number:03d}.txt").write_text(f"Story {number} begins. " * (1 + number % 5))
    model = build("llama-16x2", load_tokenizer("ascii"), seed=0)
    loss = Loss(data=str(tmp_path / "text"), part="all", samples=30, window=16)
    whole, parts = loss(model), [part(model)[0] for part in loss.in_shares(model, 7)]
    found = joined(parts)
    assert (found.samples, found.data, found.metric, found.unit) == (whole.samples, whole.data, whole.metric, whole.unit)
    assert (found.weights == whole.weights).all()
    assert found.values == pytest.approx(whole.values, rel=1e-5)  # float32, in batches of other sizes
    assert {part.samples[0] for part in parts} < set(whole.samples)
    with pytest.raises(PliantError, match="30 samples cannot be shared among 31 pairs"):
        loss.in_shares(model, 31)


def test_a_measure_without_shares_says_so() -> None:
    class Sharpness(Measure):
        def __call__(self, model: Any) -> Reading:
            return Reading("sharpness", "1", ["all"], np.ones(1), np.ones(1))

    model: Any = None
    assert Sharpness().in_shares(model, 1)[0](model)[0].metric == "sharpness"
    with pytest.raises(PliantError, match="sharpness cannot be read in shares; leave out `split`"):
        Sharpness().in_shares(model, 2)
