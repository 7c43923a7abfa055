"""Shares of a measure's samples: each read under noise of its own, so that many draws of the noise cost one reading.

Idea: where values vary more from draw to draw than from sample to sample, reading every sample under every draw is a waste.
Samples are cut into equally large contiguous blocks, and each cut is moved to the nearest border between documents, so that a
share holds whole documents, or a long document whole shares. Samples of one share have their noise in common, samples of one
document their text; whatever hangs together in either way, however indirectly, is one cluster of the standard error
(`pliant.statistics.joint_clusters`).
When to use it: `split` of a change; see `pliant.changes.perturb`.
Cost: none beside the reading itself, in smaller batches.
What goes wrong: with a few long documents there are few clusters, and the standard error is itself uncertain; with one document
there is none. Samples of one document must stand together, as windows of text do.
Source: cluster-robust errors need clusters that share nothing (Liang and Zeger 1986, https://doi.org/10.1093/biomet/73.1.13).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.measures.measure import Reading
from pliant.statistics import joint_clusters


def share_numbers(documents: Sequence[str], of: int) -> NDArray[np.int64]:
    """The share, from 0 to `of` - 1, that each sample belongs to, given the sample's document; never falling, all used.

    Raises PliantError for fewer samples than shares.
    """
    return np.searchsorted(_cuts(documents, of), np.arange(len(documents)), side="right").astype(np.int64)


def clusters(documents: Sequence[str], of: int) -> NDArray[np.int64]:
    """The cluster of each sample, as a whole number from 0: what its document and its share together tie to one."""
    return joint_clusters(documents, share_numbers(documents, of) if of > 1 else documents)


def joined(readings: Sequence[Reading]) -> Reading:
    """The shares of one reading as one, in the order of `Measure.in_shares`.

    Samples of one share count as one cluster; a cluster has the same name in every share.
    """
    first = readings[0]
    if len(readings) == 1:
        return first
    clusters = [cluster for reading in readings for cluster in reading.clusters]
    shares = np.repeat(np.arange(len(readings)), [len(reading.samples) for reading in readings])
    return replace(
        first,
        samples=[sample for reading in readings for sample in reading.samples],
        values=np.concatenate([reading.values for reading in readings]),
        weights=np.concatenate([reading.weights for reading in readings]),
        clusters=joint_clusters(clusters, shares),
        answers=[answer for reading in readings for answer in reading.answers],
    )


def _borders(documents: Sequence[str]) -> NDArray[np.int64]:
    """The samples at which another document begins, the first one left out."""
    names = np.asarray(documents)
    return np.flatnonzero(names[1:] != names[:-1]) + 1


def _cuts(documents: Sequence[str], of: int) -> NDArray[np.int64]:
    """The first sample of each share but the first one.

    Cut k lies where k shares of equal size end. Every border between documents belongs to the cut it is nearest to, and
    every cut moves to the nearest of its borders, so that no two cuts meet and no share is empty.
    """
    samples = len(documents)
    if samples < of:
        raise PliantError(
            f"{samples} samples cannot be shared among {of} pairs of draws; lower `draws` to {2 * samples} or read more samples"
        )
    cuts = (2 * np.arange(1, of) * samples + of) // (2 * of)
    borders = _borders(documents)
    nearest = (2 * borders * of + samples) // (2 * samples)
    inside = (nearest > 0) & (nearest < of)
    borders, nearest = borders[inside], nearest[inside]
    far_first = np.argsort(-np.abs(borders * of - nearest * samples), kind="stable")
    cuts[nearest[far_first] - 1] = borders[far_first]  # of several borders the last one written is the nearest
    return cuts
