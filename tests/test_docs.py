"""The reference says what the code says, and the architecture's rooms are the code's."""

import re
import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_reference_is_up_to_date():
    built = runpy.run_path(str(ROOT / "docs" / "build.py"))["reference"]()
    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == built, "run `make docs`"


def test_types_are_said_as_people_say_them():
    fields = [
        line.split(" | ") for line in (ROOT / "docs" / "reference.md").read_text(encoding="utf-8").splitlines() if line.count(" | ") == 3
    ]
    types = {name.strip("| "): kind for name, kind, *_ in fields}
    assert types["`window`"] == "count such as 16M, or null"
    assert types["`betas`"] == "list of 2 numbers"
    assert types["`group`"] == "`tensor` or `channel` or whole number"
    assert [kind for kind in types.values() if re.search(r"[^\w` ,]", kind)] == []


def test_every_room_is_in_the_architecture():
    told = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {path.name.removesuffix(".py") for path in (ROOT / "src" / "pliant").iterdir() if not path.name.startswith(("_", "py.typed"))}
    assert {room for room in rooms if room not in told} == set()
