"""What each source of a mixture is worth: its price is what leaving it out of the last phase alone does to every measure.

Idea: up to its last phase the run is the same with or without a source, so it is trained once (`study.branches`); what the source is
worth is the measure without it less the measure with it, on the same samples and seeds. The branch that goes on as before is the
control: it says what changing the data at the end does at all, at the same learning rates.
Cost: the run, and its last phase once for every source and once for the control.
What goes wrong: a price is against the other sources, which take the share; contamination shows most here.
Source: arXiv 2406.03476.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.decide.data.against import AgainstDecision, decide
from pliant.decide.data.trained import fields_of, sources_of, trained
from pliant.study.branches import WHOLE, Branches

if TYPE_CHECKING:
    from pliant.study import Study


@dataclass(frozen=True)
class DataDecision:
    """One decision a measure, and what the answer took."""

    answers: list[AgainstDecision]
    told: list[str]
    """What it took, and what to beware of."""
    facts: dict[str, Any]

    def json(self) -> dict[str, Any]:
        """Plain values."""
        return {"answers": [found.json() for found in self.answers], "told": self.told, **self.facts}


def prices(study: Study, folder: Path, *, without: Sequence[str] | None = None, margin: float = 0.0, **running: Any) -> DataDecision:
    """Every source's price by every measure of the study, whose ladder is one run on a mixture of two phases or more.

    Args:
        study: Its changes and questions are left aside.
        folder: The ledger; a killed search goes on from there.
        without: Sources to price; by default every one with a share in the last phase.
        margin: Differences that do not matter.
        running: As in `pliant.study.run`.

    Raises PliantError for a study of another form, and where a run failed.
    """
    fields = fields_of(study)
    sources_of(fields)
    form = {"branches": {"ladder": fields, **({} if without is None else {"without": list(without)})}}
    branches = Branches.parse(form["branches"], "checkpoints")
    runs = trained(study, "prices", form, folder, **running)
    count, shared = len(branches.left_out) + 2, branches.switch()
    cost = shared + count * (1 - shared)
    told = [
        f"trained {cost:.3g} runs' worth of tokens for {count} branches that share the first {shared:.0%}: {count / cost:.2g} times "
        "cheaper than whole runs"
    ]
    answers = decide(runs.own, WHOLE, None, margin)
    told += list(dict.fromkeys(caveat for found in answers for caveat in found.caveats))
    facts = {"branches": count, "shared": shared, "runs_worth": cost, "cheaper": count / cost, "seeds": len(study.seeds)}
    return DataDecision(answers, told, facts)
