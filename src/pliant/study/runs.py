"""What a study has measured so far."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError
from pliant.ledger.ledger import Ledger
from pliant.ledger.record import Table
from pliant.study.answered import Answered, answer_each

if TYPE_CHECKING:
    from pliant.study.study import Study


@dataclass(frozen=True)
class Runs:
    """A study with the ledger that holds its results."""

    study: Study
    ledger: Ledger
    remarks: tuple[str, ...] = ()
    """What was to be known before it ran; see `Plan.remarks`."""

    @property
    def own(self) -> Ledger:
        """The ledger with nothing but the study's records in its views."""
        return self.ledger.of(self.study.name)

    def records(self) -> list[dict[str, Any]]:
        """The study's records; see `Ledger.records`."""
        return self.own.records()

    @property
    def failed(self) -> list[dict[str, Any]]:
        """The records that could not be measured; each says why in `error`."""
        return self.own.records("status = 'failed'")

    def table(self) -> Table:
        """The study's records as an Arrow table."""
        return self.own.sql("from records")

    def frame(self) -> Any:
        """The study's records as a pandas data frame. Raises PliantError without pandas."""
        try:
            return self.table().to_pandas()
        except ImportError:
            raise PliantError("data frames need pandas: pip install pandas, or use .table()") from None

    def rises(self) -> Table:
        """What each change of the study did, paired; see `pliant.ledger.rises`."""
        return self.own.rises()

    def answers(self) -> list[Answered]:
        """The study's questions, each with its answers or with why there are none."""
        return answer_each(self.study.questions, self.own)


def records_of(results: Runs | Ledger | str | Path) -> Ledger:
    """The records that are meant: of a study's runs its own, of a ledger or its folder all. Raises PliantError for another folder."""
    if isinstance(results, Runs):
        return results.own
    return results if isinstance(results, Ledger) else Ledger(results)
