"""A table of runs by group, from anybody's file: the reader of laws, told which columns a choice between groups needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.decide.groups.cells import GroupRuns
from pliant.errors import PliantError
from pliant.laws.law import Column, Law
from pliant.laws.tables.source import opened, quoted
from pliant.laws.tables.table import read_runs

if TYPE_CHECKING:
    from torch import Tensor

FLOPS = 6.0
"""FLOPs a parameter and token."""
FEW = 0.1
"""Share of rows that may lack a value, as runs do that failed; more is a mistake, and refused with the first of them."""


def _by_compute(compute: Tensor) -> Tensor:
    return compute


def _by_size(N: Tensor, D: Tensor) -> Tensor:
    return N * D


def _by_both(N: Tensor, D: Tensor, compute: Tensor) -> Tensor:
    return compute + 0 * N * D


SIZE, TOKENS = Column("N", "parameters", "parameters"), Column("D", "tokens", "training tokens")
COMPUTE = Column("compute", "FLOPs", "training compute")
READERS = {
    frozenset(column.name for column in columns): Law(
        name="of groups", function=function, columns=columns, parameters=(), source="", valid="", scale=()
    )
    for function, columns in ((_by_compute, (COMPUTE,)), (_by_size, (SIZE, TOKENS)), (_by_both, (SIZE, TOKENS, COMPUTE)))
}


def runs_by_group(
    table: Any, by: str, columns: Mapping[str, str] | None = None, where: str | None = None, unit: str | None = None
) -> tuple[GroupRuns, list[str]]:
    """The runs, and remarks on the table. Compute is 6 N D where no column of it is named.

    Raises PliantError for columns that are not there or hold no such numbers, and for a single group.
    """
    columns = dict(columns or {})
    asked = {"compute"} & set(columns)
    if {"N", "D"} & set(columns) or not asked:
        asked |= {"N", "D"}
    reader = READERS[frozenset(asked)]
    whole, lacking = _whole_rows(table, [columns.get(name, name) for name in (*reader.column_names, reader.target)], where)
    read = read_runs(reader, table, columns=columns, where=whole, unit=unit, texts=[by])
    names, group = np.unique(read.texts[by], return_inverse=True)
    if len(names) < 2:
        raise PliantError(f"column {by} names one group only ({names[0]}): a choice takes two or more")
    size, tokens = read.columns.get("N"), read.columns.get("D")
    compute = read.columns["compute"] if "compute" in asked else FLOPS * read.columns["N"] * read.columns["D"]
    remarks = [remark for remark in read.remarks if "has one value" not in remark and "rows repeat" not in remark]  # those are of laws
    if lacking:
        remarks.append(f"rows without a value were left out: {lacking}")
    return GroupRuns([str(name) for name in names], np.ravel(group), compute, read.target, size, tokens), remarks


def _whole_rows(table: Any, columns: Sequence[str], where: str | None) -> tuple[str | None, int]:
    """A condition that leaves out runs without a value, and how many those are; the condition as given where there are none or too many."""
    with opened(table) as source:
        names, rows = source.keep(where)
        known = [quoted(name) for name in columns if name in names]
        if not known:
            return where, 0
        empty = " or ".join(f"lower(coalesce(cast({name} as varchar), 'nan')) = 'nan'" for name in known)
        lacking = int(source.query(f"select count(*) as n from kept where {empty}").column("n")[0].as_py())
    if not 0 < lacking <= FEW * rows:
        return where, 0
    return f"({where or 'true'}\n) and not ({empty})", lacking
