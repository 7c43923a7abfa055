"""Ways to spoil a file or a value: what a careless hand, a full disk, a bad copy or somebody who means harm would leave."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

DEEP = 100_000
NASTY = [  # values that YAML and JSON can both spell, as they spell them
    "null", "true", "0", "-1", "-0.0", "0.5", "1e-400", "1e999", "-1e999", "1" + "0" * 30, "1" + "0" * 400, "9" * 5_000,
    "9223372036854775807",
    '""', '" "', '"x"', '"\\u0000"', '"\\u001b[31m"', '"\\u2028"', '"\\ud800"', '"../../x"', '"/"', '"~nouser/x"', '"/dev/zero"',
    '"2..1000000000000"', '"1e999"', '"nan"', '"inf"', '"16M"', '"999999T"', '"*"', '"["', '"{"', '"%s{0}"', '"hub:"', '"builtin:"',
    json.dumps("x" * 100_000), "[]", "[[]]", "[null]", "{}", '{"": null}', '{"a": {"b": [1]}}', "[" * DEEP, "[" * 60 + "]" * 60,
    "[" + "0," * 3_000 + "0]", '["2..1000000000000"]', "[1e999]", '[{"a": 1}, 2]',
]  # fmt: skip
NASTY_YAML = [
    ".inf", ".nan", "-.inf", "&a [*a]", "&a {b: *a}", "*nowhere", "{1: 2, yes: no}", "{[1]: 2}", "? [a]", "!!python/object:os.system x",
    "!!binary aGk=", "!!set {a}", "2001-13-45", "0x" + "f" * 400, "1:30:00", "yes", "@", "`", "%", "\t", "'", '"', "|", ">", "---", "...",
    "- " * 5_000,
    "[&a [x, x], &b [*a, *a, *a, *a, *a, *a, *a, *a], &c [*b, *b, *b, *b, *b, *b, *b], &d [*c, *c, *c, *c, *c, *c, *c, *c], "
    "&e [*d, *d, *d, *d, *d, *d, *d], &f [*e, *e, *e, *e, *e, *e, *e, *e]]",
]  # fmt: skip
NASTY_JSON = ["NaN", "Infinity", "-Infinity", "'x'", "", "{", "]", "1 2", "01", "\x00", "{1: 2}"]
NASTY_CELLS = [
    "", " ", "nan", "inf", "1e999", "-5", "0", "9" * 400, "1,400", "1,4", "1.4M", "text", '"', '""""', "'", "\0", "\x1b[31m", "é", "\u2028",
    "x" * 100_000, ";", "\t", "=1+1", "2001-01-01", "true", "null", "NULL", "[1, 2]", "{'a': 1}", "\n\n", "-0.0", "1e-320",
    "</script><script>",
]  # fmt: skip
MARK = "@here@"


def places(form: Any) -> list[tuple[Any, Any]]:
    """Every place in a form at which a value lies: its container and the key."""
    keys = list(form) if isinstance(form, dict) else list(range(len(form))) if isinstance(form, list) else []
    return [(form, key) for key in keys] + [place for key in keys for place in places(form[key])]


def spoiled_form(form: Any, chance: random.Random, *, yaml: bool) -> str:
    """The form as text, with a value replaced, a key renamed, given twice or left out."""
    form = json.loads(json.dumps(form))
    nasty = NASTY + (NASTY_YAML if yaml else NASTY_JSON)
    container, key = chance.choice(places(form))
    raw = chance.choice(nasty)
    how = chance.random()
    if how < 0.8 or isinstance(container, list):
        container[key] = MARK
    elif how < 0.9:
        container[MARK] = container.pop(key)
    elif how < 0.95:
        del container[key]
    else:
        container[MARK], raw = container[key], json.dumps(key)
    return json.dumps(form, indent=1).replace(json.dumps(MARK), raw)


def spoiled_bytes(content: bytes, chance: random.Random) -> bytes:
    """Some bytes changed, lost, doubled, or written in another encoding."""
    at = chance.randrange(len(content) + 1)
    ways: list[Callable[[], bytes]] = [
        lambda: b"",
        lambda: content[:at],
        lambda: content[at:],
        lambda: content[:at] + bytes([chance.randrange(256)]) + content[at + 1 :],
        lambda: content[:at] + chance.randbytes(chance.choice([1, 8, 200])) + content[at:],
        lambda: content[:at] + b"\0" * chance.choice([1, 8, 5_000]) + content[at + 1 :],
        lambda: content + content,
        lambda: content[:at] + content[at:].replace(b"\n", b"\r"),
        lambda: content.decode("latin-1").encode("utf-16"),
        lambda: b"\xef\xbb\xbf" + content,
        lambda: content.replace(b"e", "é".encode("latin-1")),
        lambda: content.replace(b"\n", b" "),
        lambda: chance.randbytes(500),
        lambda: b"[" * DEEP,
        lambda: b'{"a":' * DEEP,
    ]
    return chance.choice(ways)()


def replaced(path: Path, chance: random.Random) -> str:
    """Something else in a file's place; says what."""
    path.unlink(missing_ok=True)
    how = chance.choice(["nothing", "folder", "pipe", "device", "endless", "loop", "nowhere", "sparse", "memory"])
    if how == "folder":
        path.mkdir()
    elif how == "pipe":
        os.mkfifo(path)
    elif how == "sparse":
        with path.open("wb") as stream:
            stream.truncate(2**41)
    elif how != "nothing":
        targets = {"device": "/dev/urandom", "endless": "/dev/zero", "memory": "/proc/self/mem", "loop": path.name}
        path.symlink_to(targets.get(how, "nowhere"))
    Path("replaced").write_text(f"; {path.name} replaced: {how}")
    return how


def spoiled_table(rows: list[dict[str, Any]], chance: random.Random) -> str:
    """Rows as CSV, with one cell, name or line gone wrong."""
    names = list(rows[0])
    lines = [names, *([str(value) for value in row.values()] for row in rows)]
    line, column = chance.randrange(len(lines)), chance.randrange(len(names))
    how = chance.random()
    if how < 0.6:
        lines[line][column] = chance.choice(NASTY_CELLS)
    elif how < 0.7:
        for cells in lines[1:]:
            cells[column] = chance.choice(NASTY_CELLS)
    elif how < 0.8:
        lines[line] = lines[line][:column] if chance.random() < 0.5 else lines[line] * 3
    elif how < 0.9:
        lines[0][column] = chance.choice([names[0], "", *NASTY_CELLS])
    else:
        lines = lines[: chance.randrange(3)]
    return "\n".join(chance.choice([",", ",", ",", ";", "\t"]).join(cells) for cells in lines) + "\n"


def spoiled_columns(table: Any, chance: random.Random) -> Any:
    """An Arrow table with one column of another type, empty, without values or gone."""
    import pyarrow as pa

    number = chance.randrange(table.num_columns)
    name, count = table.column_names[number], table.num_rows
    columns: list[Any] = [
        pa.nulls(count),
        pa.nulls(count, table.schema.field(number).type),
        pa.array(["x\u2028\x1b[31m"] * count),
        pa.array([""] * count),
        pa.array([float("nan")] * count),
        pa.array([float("inf")] * count),
        pa.array([-1] * count, pa.int64()),
        pa.array([2**64 - 1] * count, pa.uint64()),
        pa.array([[1.0, None]] * count),
        pa.array([[]] * count, pa.list_(pa.float64())),
        pa.array([b"\xff"] * count),
        pa.array([{"a": 1}] * count),
        pa.array([True] * count),
        pa.array([0] * count, pa.timestamp("us")),
        pa.array(["[" * 20_000] * count),
    ]
    how = chance.random()
    if how < 0.1:
        return table.drop_columns([name])
    if how < 0.15:
        return table.slice(0, 0)
    if how < 0.2:
        return table.rename_columns([f"{one}\u2028" if one == name else one for one in table.column_names])
    return table.set_column(number, name, chance.choice(columns))
