"""Who may import whom (docs/architecture.md), and what must not be imported at start-up."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1] / "src" / "pliant"
GROUND = {"errors", "numbers", "files", "progress", "explain", "forms", "spec", "statistics", "rounding", "webpage"}
STOREYS = [  # from the ground up; a room may import its own storey's earlier rooms and everything below
    ["data"],
    ["models"],
    ["methods"],
    ["train"],
    ["measures"],
    ["changes"],
    ["study"],
    ["decide"],
    ["report"],
    ["findings"],
    ["cli"],
]
HEIGHT = {room: height for height, rooms in enumerate(STOREYS) for room in rooms}


def modules_imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        assert node.level == 0, "relative import"
        return [f"pliant.{alias.name}" for alias in node.names] if node.module == "pliant" else [node.module or ""]
    return []


def rooms_imported(path: Path) -> set[str]:
    names = [name for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) for name in modules_imported(node)]
    return {name.split(".")[1] for name in names if name.startswith("pliant.")}


def room_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
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
        assert room == "__init__", f"{room} is in no storey of the architecture"


def test_the_ground_floor_has_no_circles():
    edges = {name: rooms_imported(ROOT / f"{name}.py") & GROUND for name in GROUND if (ROOT / f"{name}.py").exists()}
    done: set[str] = set()
    while edges:
        free = {name for name, below in edges.items() if below <= done}
        assert free, f"circle among {sorted(edges)}"
        done |= free
        edges = {name: below for name, below in edges.items() if name not in free}


LIGHT = ["pliant", "pliant.cli", "pliant.changes", "pliant.measures", "pliant.methods", "pliant.study.study", "pliant.laws"]


@pytest.mark.parametrize("module", LIGHT)
def test_heavy_things_are_imported_late(module):
    heavy = ("torch", "transformers", "scipy", "duckdb", "altair")
    code = f"import sys, {module}; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
