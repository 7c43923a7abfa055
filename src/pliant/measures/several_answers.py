"""Several answers to one problem, drawn: how likely one of a few is right, and how much they differ.

Idea: of n answers c are right. `pass@k`, the probability that k of them, drawn without replacement, hold a right one, is
1 - C(n-c, k) / C(n, k), which is right on average whatever n is; 1 - (1 - c/n)^k is too low. What differs is counted: how many different
texts there are, among all of a problem's answers, the right ones and the wrong ones.
What goes wrong: the counts grow with n, so compare them at one n and one temperature; fine-tuning makes them smaller, in the first place
of right answers. Long answers are nearly all different.
Source: pass@k, arXiv 2107.03374; different answers as a measure of what fine-tuning narrows, arXiv 2405.09673.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import comb


def pass_at(k: int, right: int, of: int) -> float:
    """The probability that `k` of `of` answers, `right` of which are right, hold a right one; `k` is at most `of`."""
    return 1 - comb(of - right, k) / comb(of, k)


def distinct(texts: Sequence[str], right: Sequence[bool]) -> dict[str, float]:
    """How many different texts there are, in all, among the right ones, and among the wrong ones."""
    groups = {"distinct": texts}
    for name, wanted in (("distinct_right", True), ("distinct_wrong", False)):
        groups[name] = [text for text, found in zip(texts, right, strict=True) if found == wanted]
    return {name: float(len(set(group))) for name, group in groups.items()}
