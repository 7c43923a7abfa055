"""What a study has measured so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError
from pliant.ledger.ledger import Ledger
from pliant.ledger.record import Table

if TYPE_CHECKING:
    from pliant.study.study import Study


@dataclass(frozen=True)
class Runs:
    """A study with the ledger that holds its results."""

    study: Study
    ledger: Ledger
    remarks: tuple[str, ...] = ()
    """What was to be known before it ran; see `Plan.remarks`."""

    def records(self) -> list[dict[str, Any]]:
        """The study's records; see `Ledger.records`."""
        return self.ledger.records(f"study = {_quoted(self.study.name)}")

    @property
    def failed(self) -> list[dict[str, Any]]:
        """The records that could not be measured; each says why in `error`."""
        return self.ledger.records(f"study = {_quoted(self.study.name)} and status = 'failed'")

    def table(self) -> Table:
        """The study's records as an Arrow table."""
        return self.ledger.sql(f"select * from records where study = {_quoted(self.study.name)}")

    def frame(self) -> Any:
        """The study's records as a pandas data frame. Raises PliantError without pandas."""
        try:
            return self.table().to_pandas()
        except ImportError:
            raise PliantError("data frames need pandas: pip install pandas, or use .table()") from None

    def rises(self) -> Table:
        """What each change of the study did, paired; see `pliant.ledger.rises`."""
        return self.ledger.sql(f"select * from rises where study = {_quoted(self.study.name)}")


def _quoted(text: str) -> str:
    """As SQL writes a string."""
    return "'" + text.replace("'", "''") + "'"
