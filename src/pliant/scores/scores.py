"""A table of scores: one value per example under the id that names it for good, with all that must be known to use it.

Idea: whoever selects data needs ids and values; whoever asks later where they are from needs the score, the models and the data, so
those travel in the same file: Parquet with the columns `id`, `score`, `tokens` and `source`, and the rest in its metadata.
Cost: about 20 bytes an example.
What goes wrong: an id names a text. Scores of other text do not fit, which the content hash of the data tells.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError
from pliant.files import as_utf8, atomic_path, expanded
from pliant.measures.measure import Better
from pliant.spec.yaml import check_regular, parse_json
from pliant.statistics import Array

if TYPE_CHECKING:
    from pliant.scores.score import Score

ABOUT = b"pliant.scores"
"""Footer entry of a file of scores: what is not in its columns, as JSON."""
FACTS = {"score": dict, "models": list, "data": str, "unit": str, "better": str}
FURTHER = {"objective": dict, "content": str}
"""Facts that files of earlier versions lack."""
COLUMNS = ("id", "score", "tokens", "source")


@dataclass(frozen=True)
class Scores:
    """What a score says of every example. Raises PliantError for values that are not finite numbers, and for an id that is there twice."""

    ids: Sequence[str] = field(repr=False)
    values: Array = field(repr=False)
    """(examples,) in `unit`."""
    tokens: NDArray[np.int64] = field(repr=False)
    """(examples,) how many tokens each is worth: what a budget is counted in."""
    sources: Sequence[str] = field(repr=False)
    """Where each example is from."""
    score: dict[str, Any]
    """The canonical form of the score."""
    models: tuple[str, ...]
    """Content hashes of the weights that were asked."""
    data: str
    """Content hash of the examples."""
    unit: str
    better: Better
    objective: dict[str, Any] | None = None
    """The canonical form of what was read: the objective whose examples were scored, which says where the data lay."""
    content: str | None = None
    """Content hash of that data, whatever tokenizer read it."""

    def __post_init__(self) -> None:
        if not len(self.ids) == len(self.values) == len(self.tokens) == len(self.sources):
            raise ValueError(f"{len(self.ids)} ids, {len(self.values)} values, {len(self.tokens)} tokens and {len(self.sources)} sources")
        bad = np.flatnonzero(~np.isfinite(self.values))
        if len(bad):
            raise PliantError(f"the score of {self.ids[bad[0]]} is {self.values[bad[0]]}, not a finite number")
        if len(set(self.ids)) < len(self.ids):
            raise PliantError("an example is scored twice; ids must be different")

    def __len__(self) -> int:
        return len(self.ids)

    def by_id(self) -> dict[str, float]:
        """The value of each example."""
        return dict(zip(self.ids, self.values.tolist(), strict=True))

    def save(self, path: str | Path) -> None:
        """Write them to a Parquet file. Raises PliantError when that cannot be done."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        facts = {name: getattr(self, name) for name in FACTS}
        facts |= {name: value for name in FURTHER if (value := getattr(self, name)) is not None}
        columns = (
            pa.array(self.ids, pa.string()),
            pa.array(self.values, pa.float64()),
            pa.array(self.tokens, pa.int64()),
            pa.array(map(as_utf8, self.sources), pa.string()),
        )
        table = pa.table(dict(zip(COLUMNS, columns, strict=True))).replace_schema_metadata({ABOUT: json.dumps(facts).encode()})
        with atomic_path(expanded(path)) as temporary:
            pq.write_table(table, as_utf8(temporary), compression="zstd")

    @classmethod
    def read(cls, path: str | Path) -> Self:
        """From a file that `save` wrote. Raises PliantError for any other, and for a damaged one."""

        return cls._made(*opened(path))

    @classmethod
    def _made(cls, table: Any, facts: dict[str, Any]) -> Self:
        ids, values, tokens, sources = (table[name] for name in COLUMNS)
        return cls(ids.to_pylist(), values.to_numpy(), tokens.to_numpy(), sources.to_pylist(), **facts)


def opened(path: str | Path) -> tuple[Any, dict[str, Any]]:
    """A file's columns, an Arrow table, and what it says of itself. Raises PliantError as `Scores.read` does."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    place = expanded(path)
    try:
        check_regular(place)
        table = pq.read_table(pa.BufferReader(place.read_bytes()))
        table.validate(full=True)
        return _checked(table, parse_json((table.schema.metadata or {}).get(ABOUT, b"null"), "what it says of itself"))
    except PliantError as error:
        raise PliantError(f"{place}: {str(error).removeprefix(f'{place}: ')}") from None
    except OSError as error:
        if error.errno is not None:
            raise PliantError(f"{place}: cannot be read ({error.strerror or error})") from None
        raise PliantError(f"{place}: is no file of scores, or damaged; score the data again") from None
    except (pa.ArrowException, ValueError, EOFError):
        raise PliantError(f"{place}: is no file of scores, or damaged; score the data again") from None


def _checked(table: Any, said: Any) -> tuple[Any, dict[str, Any]]:
    """Without a line of Python for a row, since there may be many millions."""
    import pyarrow as pa
    import pyarrow.compute as pc

    types = (pa.string(), pa.float64(), pa.int64(), pa.string())
    named = isinstance(said, dict) and all(isinstance(said.get(name), kind) for name, kind in FACTS.items())
    if not named or said["better"] not in ("lower", "higher") or not all(isinstance(name, str) for name in said["models"]):
        raise PliantError("is no file of scores that pliant wrote; score the data again")
    columns = [(field.name, field.type) for field in table.schema]
    if columns != list(zip(COLUMNS, types, strict=True)) or any(table[name].null_count for name in COLUMNS):
        raise PliantError(f"must have the columns {', '.join(COLUMNS)}, each with a value everywhere; score the data again")
    values = table["score"].to_numpy()
    bad = np.flatnonzero(~np.isfinite(values))
    if len(bad):
        raise PliantError(f"the score of {table['id'][int(bad[0])]} is {values[bad[0]]}, not a finite number")
    compute: Any = pc
    if compute.count_distinct(table["id"]).as_py() < len(table):
        raise PliantError("an example is scored twice; ids must be different")
    further = {name: said[name] for name, kind in FURTHER.items() if isinstance(said.get(name), kind)}
    return table, {name: said[name] for name in FACTS} | {"models": tuple(said["models"])} | further


def about(score: Score, models: Sequence[str], data: str, further: Mapping[str, Any]) -> dict[str, Any]:
    """What a file of scores says of itself; `further` as in `FURTHER`."""
    return {"score": score.canonical(), "models": list(models), "data": data, "unit": score.unit, "better": score.better, **further}


def scored(
    score: Score,
    models: Sequence[str],
    data: str,
    ids: Sequence[str],
    values: Array,
    tokens: NDArray[np.int64],
    source: str | Sequence[str],
) -> Scores:
    """The scores of examples from one source, or each from its own, as `score` describes itself. Raises as `Scores` does."""
    sources = [source] * len(ids) if isinstance(source, str) else source
    return Scores(ids, values, tokens, sources, score.canonical(), tuple(models), data, score.unit, score.better)
