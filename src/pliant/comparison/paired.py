"""Two systems on the items that both were asked: what pairs, what does not, and what else is unlike about them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from pliant.comparison.outcomes import Outcomes, RunsByItem, families_of, over_runs, resolution
from pliant.comparison.totals import laid_out
from pliant.errors import PliantError
from pliant.statistics import Array, joint_clusters


@dataclass(frozen=True)
class Paired:
    """The values of two systems on the same items, in the same order."""

    task: str
    metric: str
    better: str
    unit: str
    items: Sequence[str]
    a: Array
    """(runs, items); of a model that answered several times, the mean of its answers"""
    b: Array
    weights: Array
    families: NDArray[np.int64]
    step: float
    same_runs: bool
    totals: bool
    """Whether there are results of runs only, and no items."""
    a_runs: Sequence[str]
    b_runs: Sequence[str]
    unpaired: int
    """Items that only one of the two has."""
    notes: Sequence[str]
    texts: Mapping[str, str]
    nameless: bool
    """Whether totals are all there is, so that which items pair is not known."""

    @cached_property
    def means(self) -> tuple[Array, Array]:
        """(items,) of a and of b, over the runs of each."""
        return over_runs(self.a), over_runs(self.b)

    @cached_property
    def differences(self) -> Array:
        """(items,) b - a."""
        return self.means[1] - self.means[0]

    @property
    def family_sums(self) -> Array:
        """(families,) the same, summed by what each item counts."""
        return np.bincount(self.families, self.differences * self.weights / self.weights.sum()).astype(np.float64)


def paired(a: Outcomes, b: Outcomes, names: tuple[str, str], alike: bool = False) -> Paired:
    """The items of both by their ids, or where none agree by the hashes of their prompts. Totals are laid out as items, as little alike
    as they may have been, or as much where `alike`.

    Raises PliantError where nothing pairs, and for values of other directions, units or token counts, which do not compare.
    """
    where = f"{a.task}, {a.metric}"
    a, b = _of_one_unit(a, b)
    for what in ("better", "unit"):
        if getattr(a, what) != getattr(b, what):
            told = " and ".join(f"{getattr(one, what) or 'none'!r} in {name}" for one, name in zip((a, b), names, strict=True))
            raise PliantError(f"{where}: {what if what == 'unit' else 'which values are better'} differs ({told}); these do not compare")
    nameless = a.nameless or b.nameless
    if nameless:
        a, b = laid_out(a, b, names, alike)
    left, right, by_prompt = _places(a, b, where, names)
    first, second = a.grid, b.grid
    items = _chosen(first.items, left)
    others = items if first.items == second.items else _chosen(second.items, right)
    weights = _weights(a, b, items, others, where)
    both = joint_clusters(families_of(a, items), families_of(b, others))
    same_runs = not (a.sampled or b.sampled) and first.repeats == second.repeats and len(first.repeats) > 1
    # answers of one model are no runs: how they differ is part of how items do
    values = [over_runs(found)[None] if one.sampled else found for one, found in ((a, first.values[:, left]), (b, second.values[:, right]))]
    return Paired(
        task=a.task,
        metric=a.metric,
        better=a.better,
        unit=a.unit,
        items=items,
        a=values[0],
        b=values[1],
        weights=weights,
        families=both,
        step=resolution(np.concatenate([part.ravel() for part in values])),
        same_runs=same_runs,
        totals=a.totals and b.totals,
        a_runs=first.repeats,
        b_runs=second.repeats,
        unpaired=len(first.items) + len(second.items) - 2 * len(items),
        notes=_unlike(a, b, items, names, by_prompt, (first, second)),
        texts={**b.texts, **a.texts},
        nameless=nameless,
    )


def _of_one_unit(a: Outcomes, b: Outcomes) -> tuple[Outcomes, Outcomes]:
    """A metric without a unit is taken for a fraction where all values are from 0 to 1, which can be so by chance in one of two."""
    if a.better == b.better and {a.unit, b.unit} == {"fraction", a.metric}:
        return replace(a, unit=a.metric), replace(b, unit=a.metric)
    return a, b


def _chosen(items: list[str], places: NDArray[np.int64]) -> list[str]:
    return items if np.array_equal(places, np.arange(len(items))) else [items[place] for place in places]


def _places(a: Outcomes, b: Outcomes, where: str, names: tuple[str, str]) -> tuple[NDArray[np.int64], NDArray[np.int64], bool]:
    """Where the shared items stand in either grid, and whether their prompts had to tell."""
    one, two = a.grid.items, b.grid.items
    if one == two:
        return np.arange(len(one)), np.arange(len(two)), False
    for keys, by_prompt in (((one, two), False), (([a.prompts.get(i, "") for i in one], [b.prompts.get(i, "") for i in two]), True)):
        known = {key: place for place, key in enumerate(keys[1]) if key}
        if by_prompt and len(known) < len(two):
            break  # prompts that are unknown, or that two items share, name nothing
        found = [(place, known[key]) for place, key in enumerate(keys[0]) if key in known]
        if found:
            places = np.asarray(found, np.int64)
            return places[:, 0], places[:, 1], by_prompt
    examples = f"{one[0]!r:.40} in {names[0]}, {two[0]!r:.40} in {names[1]}"
    raise PliantError(f"{where}: no item is in both ({examples}); they were asked other questions, or their ids are written differently")


def _weights(a: Outcomes, b: Outcomes, items: Sequence[str], others: Sequence[str], where: str) -> Array:
    if a.weights is None and b.weights is None:
        return np.ones(len(items))
    one, two = a.per_item_weights(), b.per_item_weights()
    weights = np.array([one.get(item, 1.0) for item in items])
    if not np.allclose(weights, [two.get(item, 1.0) for item in others]):
        raise PliantError(f"{where}: the same items have other lengths in the two; losses by other tokenizers do not compare")
    return weights


def _unlike(
    a: Outcomes, b: Outcomes, items: Sequence[str], names: tuple[str, str], by_prompt: bool, grids: tuple[RunsByItem, RunsByItem]
) -> list[str]:
    """What a reader must know before believing the difference, a line each."""
    notes: list[str] = []
    for name, grid, other in zip(names, grids, reversed(names), strict=True):
        if lacking := len(grid.items) - len(items):
            notes.append(f"{lacking:,} of {len(grid.items):,} items of {name} are not in {other} and are left out")
        if grid.partial:
            notes.append(f"{grid.partial:,} items of {name} are not in each of its {len(grid.repeats)} runs and are left out")
    one, two = a.per_item("families"), b.per_item("families")
    if (one or two) and not by_prompt and [one.get(item) for item in items] != [two.get(item) for item in items]:
        notes.append("items are grouped otherwise in the two; what hangs together in either counts as one")
    if by_prompt:
        notes.append("items are paired by the hash of what was asked, since their ids differ")
    elif (
        a.prompts
        and b.prompts
        and (other := sum(a.prompts[item] != b.prompts[item] for item in items if a.prompts.get(item) and b.prompts.get(item)))
    ):
        notes.append(f"{other:,} of {len(items):,} items were asked with another prompt (template or examples), so the two are not alike")
    for fact in sorted({*a.facts} | {*b.facts}):
        one, two = a.facts.get(fact, "unknown"), b.facts.get(fact, "unknown")
        if one != two:
            notes.append(f"{fact}: {one} in {names[0]}, {two} in {names[1]}")
    return notes
