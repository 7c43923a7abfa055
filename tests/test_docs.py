"""The reference, the rooms and the interfaces say what the code says."""

import re
import runpy
import sys
from pathlib import Path

import pytest

import pliant

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def generate():
    """What `make docs` runs."""
    return runpy.run_path(str(ROOT / "docs" / "generate"))


@pytest.fixture(scope="module")
def sources(generate):
    return sys.modules["sources"]


def told(name):
    return (ROOT / "docs" / name).read_text(encoding="utf-8")


def test_the_reference_is_up_to_date(generate):
    assert told("reference.md") == generate["reference"](), "run `make docs`"


def test_the_rooms_and_interfaces_are_up_to_date(generate):
    assert told("architecture.md") == generate["architecture"](told("architecture.md")), "run `make docs`"


def test_only_what_stands_between_markers_is_written(generate):
    blank = re.sub(r"(<!-- (\w+): written .*? -->).*?(<!-- end of \2 -->)", r"\1 gone \3", told("architecture.md"), flags=re.S)
    assert blank.count(" gone ") == 2
    assert generate["architecture"](blank) == told("architecture.md")
    with pytest.raises(ValueError, match="markers <!-- rooms"):
        generate["architecture"]("no markers")


def test_types_are_said_as_people_say_them():
    fields = [line.split(" | ") for line in told("reference.md").splitlines() if line.count(" | ") == 3]
    types = {name.strip("| "): kind for name, kind, *_ in fields if name.startswith("| `")}
    assert types["`window`"] == "count such as 16M, or null"
    assert types["`betas`"] == "list of 2 numbers"
    assert types["`group`"] == "`tensor` or `channel` or whole number"
    assert types["`schedule`"] == "schedule"
    assert [kind for kind in types.values() if re.search(r"[^\w` ,.]", kind)] == []


def test_every_catalog_is_in_the_reference():
    from pliant.changes import CHANGES
    from pliant.measures import MEASURES
    from pliant.methods import METHODS
    from pliant.objectives import OBJECTIVES
    from pliant.train.optimizers import OPTIMIZERS
    from pliant.train.schedules import SCHEDULES

    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", told("reference.md"), re.M | re.S))
    for catalog in (CHANGES, MEASURES, METHODS, OBJECTIVES, OPTIMIZERS, SCHEDULES):
        kinds = re.findall(r"^### `(\w+)`$", sections[f"{catalog.noun.capitalize()}s"], re.M)
        assert kinds == sorted(catalog.specs())
    assert "| `density` | fraction of weights kept | density 0.5 | less |" in sections["Axes"]
    assert "### `chinchilla`" in sections["Laws"]


def test_every_room_is_told_from_the_ground_up(generate):
    rooms = {path.name.removesuffix(".py") for path in (ROOT / "src" / "pliant").iterdir() if not path.name.startswith(("_", "py.typed"))}
    listed = re.findall(r"^\| (\w+) \| `(\w+)` \|", told("architecture.md"), re.M)
    assert rooms <= {room for _, room in listed}
    floors = [floor for floor, _ in listed]
    heights = [int(floor) for floor in floors if floor.isdigit()]
    assert floors == ["ground"] * floors.count("ground") + [str(height) for height in heights] + ["beside"]
    assert heights == sorted(heights)


def test_every_public_name_of_a_room_is_in_its_interface():
    text = told("architecture.md")
    for room in ("changes", "data", "decide", "laws", "measures", "models", "objectives", "spec", "train"):
        (block,) = re.findall(rf"^### `{room}`\n\n```\n(.*?)^```", text, re.M | re.S)
        module = getattr(pliant, room, None) or __import__(f"pliant.{room}", fromlist=["pliant"])
        listed = re.findall(r"^(?:@\w+ )?(?:class |def )?(\w+)", block, re.M)
        named = re.findall(r"Catalog\(\"\w+\", (.*?)\)", block, re.S)
        kinds = {kind for kinds in named for kind in re.split(r",\s*", kinds)}
        assert set(module.__all__) == {*listed, *kinds}, room


def shown(sources, tmp_path, monkeypatch, **files):
    """The interface of a room of these files."""
    monkeypatch.setattr(sources, "SOURCE", tmp_path)
    (tmp_path / "pliant" / "room").mkdir(parents=True)
    for name, text in files.items():
        (tmp_path / "pliant" / "room" / f"{name}.py").write_text(text, encoding="utf-8")
    room = sources.Module.named("pliant.room")
    return {face.name: [line for name in face.public() for line in face.shown(name)] for face in room.faces()}


THING = '''
from dataclasses import dataclass, field
from pydantic import Field

class Base(Spec):
    """What every thing is. And more.

    Not told.
    """

    size: Annotated[int, Field(gt=0)] | None = Field(None, description="left to the reference")
    data: Corpus = Field(description="required")
    parts: list[str] = field(default_factory=list)
    unit: ClassVar[str] = "m"
    """What it counts,
    in words."""
    _hidden: int = 0

    @property
    def weight(self) -> float:
        """In grams."""

    @classmethod
    def made(cls, of: "Base", *rest: int, loud: bool = False, **named: str) -> Base:
        """A new one."""

    def __call__(
        self,
        x: int,
        y=2,
    ) -> None: ...

    def _own(self): ...
'''


def test_a_class_is_shown_with_its_fields_properties_and_methods(sources, tmp_path, monkeypatch):
    init = '"""A room."""\nfrom pliant.room.thing import Base\n__all__ = ["Base"]\n'
    assert shown(sources, tmp_path, monkeypatch, __init__=init, thing=THING) == {
        "pliant.room": [
            "class Base(Spec)  # What every thing is. And more.",
            "    size: int | None = None;  data: Corpus;  parts: list[str] = ...",
            '    unit: ClassVar[str] = "m"  # What it counts, in words.',
            "    weight: float  # In grams.",
            '    @classmethod def made(of: "Base", *rest: int, loud: bool = False, **named: str) -> Base  # A new one.',
            "    def __call__(x: int, y=2)",
        ]
    }


def test_a_room_without_a_list_is_its_files_and_kinds_are_left_out(sources, tmp_path, monkeypatch):
    one = '"""One."""\nLIMIT = 3\n"""Of its own."""\nWord = str\n"""A type."""\ndef f(x): \n    """Do."""\ndef _g(): ...\n'
    two = 'from pliant.room.one import f as h\nfrom elsewhere import k\nclass Kind: ...\nALL = Catalog("thing", Kind)\n'
    two += '__all__ = ["ALL", "Kind", "h", "k"]\n'
    assert shown(sources, tmp_path, monkeypatch, __init__='"""A room."""\n', one=one, two=two) == {
        "pliant.room.one": ["Word = str  # A type.", "def f(x)  # Do."],
        "pliant.room.two": ['ALL = Catalog("thing", Kind)', "def h(x)  # Do.", "k"],
    }


def test_long_signatures_are_broken_between_arguments(sources, tmp_path, monkeypatch):
    arguments = ", ".join(f"argument_{number}: Mapping[str, tuple[int, int]]" for number in range(6))
    (lines,) = shown(sources, tmp_path, monkeypatch, __init__="", f=f'def f({arguments}) -> int:\n    """{"words " * 30}."""\n').values()
    assert all(len(line) <= sources.WIDTH for line in lines)
    assert re.sub(r"\s+", " ", " ".join(line for line in lines if "# " not in line)) == f"def f({arguments}) -> int"
    assert all(line.endswith(",") for line in lines[:-3])
