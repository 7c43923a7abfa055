"""Who may import whom (docs/architecture.md), what nothing upstairs may ask, and what must not be imported at start-up."""

import ast
import re
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "pliant"
GROUND = {"errors", "numbers", "axes", "files", "progress", "spec", "statistics", "webpage"}
STOREYS = [  # from the ground up; a room may import its own storey's rooms and everything below
    ["data"],
    ["models"],
    ["objectives"],
    ["attacks"],
    ["quantization"],
    ["methods"],
    ["train"],
    ["measures"],
    ["scores"],
    ["merging"],
    ["changes"],
    ["ledger"],
    ["comparison"],
    ["study"],
    ["decide"],
    ["report"],
    ["findings"],
    ["cli"],
]
HEIGHT = {room: height for height, rooms in enumerate(STOREYS) for room in rooms}
FILES = sorted(ROOT.rglob("*.py"))
TREES = {path: ast.parse(path.read_text(encoding="utf-8")) for path in FILES}
NAMES = {"pliant." + ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path for path in FILES}


def named(path):
    return str(path.relative_to(ROOT))


def modules_imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative import"
        return [f"pliant.{alias.name}" for alias in node.names] if node.module == "pliant" else [node.module or ""]
    return []


def rooms_imported(path: Path) -> set[str]:
    names = [name for node in ast.walk(TREES[path]) for name in modules_imported(node)]
    return {name.split(".")[1] for name in names if name.startswith("pliant.")}


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_room_never_imports_from_a_floor_above(path):
    room, imported = room_of(path), rooms_imported(path) & (GROUND | set(HEIGHT) | {"laws"})
    if room in GROUND:
        assert imported <= GROUND, f"the ground floor imports {imported - GROUND}"
    elif room == "laws":
        assert imported <= GROUND | {"laws"}, f"laws imports {imported - GROUND}"
    elif room in HEIGHT:
        too_high = {other for other in imported if other in HEIGHT and HEIGHT[other] > HEIGHT[room]}
        assert not too_high, f"{room} imports {too_high}"
        assert "laws" not in imported or HEIGHT[room] >= HEIGHT["decide"], f"{room} imports laws"
    else:
        assert room in ("__init__", "__main__"), f"{room} is in no storey of the architecture"


def files_imported(path: Path) -> set[Path]:
    """The files behind its imports, those for type checkers alone left out; a package that only hands on names is none."""
    typed = {
        id(inner)
        for node in ast.walk(TREES[path])
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(TREES[path]):
        if id(node) in typed:
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return {NAMES[name] for name in found if name in NAMES and NAMES[name].name != "__init__.py"} - {path}


def test_no_two_files_import_each_other():
    edges = {path: files_imported(path) for path in FILES}
    while free := {path for path, below in edges.items() if not below & edges.keys()}:
        edges = {path: below for path, below in edges.items() if path not in free}
    assert not edges, f"a circle among {sorted(map(named, edges))}"


UPSTAIRS = ("ledger", "comparison", "study", "decide", "report", "cli")
KIND_ASKED = re.compile(r"""kind["'\])]* *(==|!=|in) *[("'\[{]""")


@pytest.mark.parametrize("path", [path for path in FILES if room_of(path) in UPSTAIRS], ids=named)
def test_nothing_upstairs_asks_for_a_kind_by_name(path):
    """What upstairs needs to know, the kind declares."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines() if KIND_ASKED.search(line)]
    assert not lines


def test_a_class_name_has_one_meaning():
    places = defaultdict(list)
    for path, tree in TREES.items():
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(named(path))
    assert {name: found for name, found in places.items() if len(found) > 1} == {}


LIGHT = [
    "pliant",
    "pliant.cli",
    "pliant.changes",
    "pliant.measures",
    "pliant.methods",
    "pliant.objectives",
    "pliant.study.study",
    "pliant.laws",
    "pliant.ledger",
    "pliant.decide.questions",
]


@pytest.mark.parametrize("module", LIGHT)
def test_heavy_things_are_imported_late(module):
    heavy = ("torch", "transformers", "scipy", "duckdb", "altair")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_no_two_test_files_share_a_name():
    """They are imported by their names alone."""
    names = [path.name for path in Path(__file__).parent.rglob("test_*.py")]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []
