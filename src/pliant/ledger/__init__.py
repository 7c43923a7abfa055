"""The ledger: immutable shards of records, what SQL sees of them, paired differences, merging."""

from pliant.ledger.ledger import Ledger
from pliant.ledger.record import Record

__all__ = ["Ledger", "Record"]
