"""Writes what docs/architecture.md says of the code between its markers: the rooms, and the interfaces of each.

Idea: sources are read, nothing is imported, so it takes a second and says the same everywhere. The order of the rooms is the one
that `tests/test_architecture.py` enforces. Kinds that a catalog lists are left to docs/reference.md.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from sources import Module, first_line

HOUSE = Path(__file__).parents[2] / "tests" / "test_architecture.py"


def architecture(text: str) -> str:
    """The text of docs/architecture.md with everything between its markers written anew."""
    for name, lines in (("rooms", rooms()), ("interfaces", interfaces())):
        start, end = f"<!-- {name}: written by `make docs` -->", f"<!-- end of {name} -->"
        if text.count(start) != 1 or text.count(end) != 1:
            raise ValueError(f"docs/architecture.md needs the markers {start} and {end}, each once")
        before, _, rest = text.partition(start)
        text = f"{before}{start}\n\n" + "\n".join(lines).strip() + f"\n\n{end}{rest.partition(end)[2]}"
    return text


def ground() -> list[str]:
    """The rooms of the ground floor, in the order of `tests/test_architecture.py`."""
    return [ast.literal_eval(name) for name in _declared("GROUND").elts]


def storeys() -> list[list[str]]:
    """The rooms above it, from the ground up, in the same order."""
    return ast.literal_eval(_declared("STOREYS"))


def _declared(name: str) -> ast.Set | ast.List:
    tree = ast.parse(HOUSE.read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == name and isinstance(node.value, (ast.Set, ast.List)):
            return node.value
    raise ValueError(f"{HOUSE} declares no {name}")


def rooms() -> Iterator[str]:
    """What each room is for, from the ground up."""
    told = [("ground", ground()), *((str(height), storey) for height, storey in enumerate(storeys(), 1)), ("beside", ["laws"])]
    yield "| floor | room | what it is |\n|---|---|---|"
    for floor, names in told:
        for name in names:
            module = Module.named(f"pliant.{name}")
            idea = first_line(module.tree).partition(". ")[0].rstrip(".") if module else "nobody has moved in yet"
            yield f"| {floor} | `{name}` | {idea} |"


def every_room() -> list[str]:
    """All rooms, from the ground up; laws, which stand beside the others, last."""
    return [*ground(), *(name for storey in storeys() for name in storey), "laws"]


def faces(room: str) -> list[Module]:
    """What shows a room's public names; nothing where nobody has moved in."""
    module = Module.named(f"pliant.{room}")
    return module.faces() if module else []


def interfaces() -> Iterator[str]:
    """The public names of every room, each room a block of code."""
    for face in (face for room in every_room() for face in faces(room)):
        if lines := [line for name in face.public() for line in face.shown(name)]:
            yield f"### `{face.name.removeprefix('pliant.')}`\n\n```"
            yield from lines
            yield "```\n"
