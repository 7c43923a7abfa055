"""The reference says what the code says, and the architecture's rooms are the code's."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_reference_is_up_to_date():
    built = runpy.run_path(str(ROOT / "docs" / "build.py"))["reference"]()
    assert (ROOT / "docs" / "reference.md").read_text(encoding="utf-8") == built, "run `make docs`"


def test_every_room_is_in_the_architecture():
    told = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    rooms = {path.name.removesuffix(".py") for path in (ROOT / "src" / "pliant").iterdir() if not path.name.startswith(("_", "py.typed"))}
    assert {room for room in rooms if room not in told} == set()
