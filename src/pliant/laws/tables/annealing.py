"""Whether the runs of a table ended their learning rates alike, in one sentence: what a law of the loss stands or falls with.

Idea: loss along a constant rate is 1 to 5% above that of a run annealed to the same tokens, more than sizes differ by. So a table in which
final rates differ confounds them with tokens, and a law fitted to one kind of run does not predict the other.
When to use it: in every fit of a loss over tokens that does not read the schedule itself.
What goes wrong: columns are known by their names; a table that calls its final rate something else counts as one that does not say.
Source: Hoffmann et al. 2022 (a schedule must be as long as its run); Tissue et al., arXiv 2408.11029.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from pliant.laws.law import Law

MARK = "learning rates: "
"""How these sentences begin, so that decisions can repeat them."""
RATE = r"(lr|learning_?rate|rate)"
FINAL = re.compile(rf"((final|min|minimum|end|last)_?{RATE}|{RATE}_?(final|min|minimum|end|last))", re.IGNORECASE)
SCHEDULE = re.compile(
    r"((lr|learning_?rate)_?)?(schedule|scheduler|annealing|annealed|anneal|cooldown|cooled_?down|decayed)", re.IGNORECASE
)
CURRENT = re.compile(r"(lr|learning_?rate)", re.IGNORECASE)
SHOWN = 4
REMEDY = "fit runs that end alike (where), or `momentum` and `multi_power` on their logs"


def annealing(law: Law, names: Sequence[str], words: Callable[[str], NDArray[np.str_]]) -> str | None:
    """The sentence on a table with columns `names`, whose values `words` gives as text; None for laws that it does not touch."""
    tokens = any(column.unit == "tokens" for column in law.columns)
    if law.target != "loss" or law.along or not tokens:
        return None
    told = [
        _told(name, meaning, words(name))
        for pattern, meaning in ((FINAL, "end at"), (SCHEDULE, "follow"), (CURRENT, "were read at"))
        for name in names
        if pattern.fullmatch(name) and name not in law.column_names
    ]
    unknown = (
        "the table does not say where each run's ended (no column final_lr or schedule): this holds for runs annealed as these were, and "
        "for none if rows are checkpoints on the way of runs"
    )
    return MARK + next((sentence for _, sentence in sorted(told, key=lambda one: one[0])), unknown)


def _told(name: str, meaning: str, values: NDArray[np.str_]) -> tuple[bool, str]:
    """Whether a column has one value, and what follows."""
    try:
        kinds = list(dict.fromkeys(f"{number:.2g}" for number in np.unique(values.astype(np.float64))))
    except ValueError:
        kinds = [str(kind)[:30] for kind in np.unique(values)]
    if len(kinds) == 1:
        return True, f"all runs {meaning} {kinds[0]} ({name}); this holds for runs that do too, not for others"
    few = ", ".join(kinds[:SHOWN]) + (" ..." if len(kinds) > SHOWN else "")
    return False, (
        f"runs {meaning} {len(kinds)} different ones ({name}: {few}), so tokens and annealing are mixed up, and loss before annealing does "
        f"not predict loss after it; {REMEDY}"
    )
