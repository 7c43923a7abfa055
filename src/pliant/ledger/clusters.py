"""What the samples of stored records count with in an error.

Idea: samples of one document hang together, which their ids say. A record says so itself where others do: groups that a measure
knows of, or draws of noise that read shares of the samples. Records from before this was stored have it from their change.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from pliant.changes import Change
from pliant.measures.measure import documents
from pliant.statistics import Clusters, cluster_numbers

Stored = Sequence[int] | None
"""The column `sample_clusters` of a record."""


def stored_clusters(clusters: Clusters, samples: Sequence[str]) -> NDArray[np.int64] | None:
    """The clusters of a reading as its record keeps them: none where they are what the samples' ids say."""
    numbers = cluster_numbers(clusters)
    return None if np.array_equal(numbers, cluster_numbers(documents(samples))) else numbers


def clusters_of(stored: Stored, documents: Sequence[str]) -> NDArray[np.int64]:
    """The cluster of each sample of a record, as whole numbers from 0, given the sample's document."""
    return cluster_numbers(documents if stored is None else np.asarray(stored, np.int64))


def tied_by(change: Change, stored: Stored, documents: Sequence[str]) -> NDArray[np.int64] | None:
    """The same of a record after `change`; None where documents count."""
    return change.ties(documents) if stored is None else np.asarray(stored, np.int64)
