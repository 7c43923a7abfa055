"""Arithmetic that somebody wrote, read safely and worked out on tensors.

Not a law: what `formula` stands on. Text is parsed, never run: numbers, names, + - * / **, parentheses and the functions below are
all there is. Its length, depth and numbers are bounded, so that no text takes long or has a value beyond numbers.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError
from pliant.laws.law import LARGEST, power
from pliant.spec import nearest

if TYPE_CHECKING:
    from torch import Tensor

MOST_CHARACTERS, MOST_PARTS, MOST_DEPTH = 2000, 300, 100
FUNCTIONS = {"exp": 1, "log": 1, "sqrt": 1, "sigmoid": 1, "min": 2, "max": 2}
"""How many arguments each takes; log is natural."""
OPERATORS = {ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**"}
WORDS = 60


def parsed(text: str) -> ast.expr:
    """The expression as a tree of nothing but what the module lists. Raises PliantError, saying what cannot stand there."""
    if len(text) > MOST_CHARACTERS:
        raise PliantError(f"the formula has {len(text)} characters; {MOST_CHARACTERS} at most can be read")
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise PliantError(f"formula {shown(text)}: cannot be read ({str(error.msg).split('.')[0][:WORDS]})") from None
    except (ValueError, RecursionError, MemoryError):
        raise PliantError(f"formula {shown(text)}: cannot be read; it is nested too deeply, or holds what is no text") from None
    parts = _checked(tree, MOST_DEPTH)
    if parts > MOST_PARTS:
        raise PliantError(f"the formula has {parts} parts; {MOST_PARTS} at most can be fitted")
    return tree


def names(tree: ast.expr) -> list[str]:
    """Every name in it but those of functions, in order of appearance."""
    return list(dict.fromkeys(node.id for node in walk(tree) if isinstance(node, ast.Name)))


def walk(tree: ast.expr) -> Iterator[ast.expr]:
    """Every part, from the left."""
    yield tree
    for part in parts_of(tree):
        yield from walk(part)


def parts_of(tree: ast.expr) -> list[ast.expr]:
    """The operands or arguments of one part."""
    if isinstance(tree, ast.BinOp):
        return [tree.left, tree.right]
    if isinstance(tree, ast.UnaryOp):
        return [tree.operand]
    return list(tree.args) if isinstance(tree, ast.Call) else []


def _checked(tree: ast.expr, depth: int) -> int:
    """How many parts there are. Raises PliantError for one that is not in the list."""
    if depth == 0:
        raise PliantError(f"the formula is nested more than {MOST_DEPTH} deep")
    if isinstance(tree, ast.Constant):
        value = tree.value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not value <= LARGEST:
            raise PliantError(f"formula: {shown(written(tree))} is no number that can be reckoned with")
    elif isinstance(tree, ast.Name):
        if tree.id in FUNCTIONS:
            raise PliantError(f"formula: {tree.id} is a function; write {tree.id}(...)")
    elif isinstance(tree, ast.Call):
        _check_call(tree)
    elif not (
        (isinstance(tree, ast.BinOp) and type(tree.op) in OPERATORS)
        or (isinstance(tree, ast.UnaryOp) and isinstance(tree.op, (ast.UAdd, ast.USub)))
    ):
        known = f"numbers, names, {' '.join(OPERATORS.values())}, parentheses and {', '.join(FUNCTIONS)}"
        raise PliantError(f"formula: {shown(written(tree))} cannot stand in it; it takes {known}")
    count = 1 + sum(_checked(part, depth - 1) for part in parts_of(tree))
    if isinstance(tree, (ast.BinOp, ast.Call)) and count <= MOST_PARTS and not names(tree):
        _constant(tree)
    return count


def _check_call(tree: ast.Call) -> None:
    name = tree.func.id if isinstance(tree.func, ast.Name) else ""
    if name not in FUNCTIONS:
        wrong = shown(written(tree.func))
        raise PliantError(f"formula: there is no function {wrong}; {nearest(name, FUNCTIONS)}")
    if tree.keywords or len(tree.args) != FUNCTIONS[name] or any(isinstance(part, ast.Starred) for part in tree.args):
        raise PliantError(f"formula: {name} takes {FUNCTIONS[name]} argument{'s' if FUNCTIONS[name] > 1 else ''}")


def _constant(tree: ast.expr) -> None:
    value = float(evaluated(tree, {}))
    if not abs(value) <= LARGEST:
        raise PliantError(f"formula: {shown(written(tree))} is no number that can be reckoned with")


def evaluated(tree: ast.expr, values: Mapping[str, Tensor]) -> Tensor:
    """Its value, of the shape that the named values broadcast to; NaN or infinite where it has none."""
    import torch

    if isinstance(tree, ast.Constant):
        return torch.tensor(float(tree.value), dtype=torch.float64)  # pyright: ignore[reportArgumentType]
    if isinstance(tree, ast.Name):
        return values[tree.id]
    first, *rest = [evaluated(part, values) for part in parts_of(tree)]
    if isinstance(tree, ast.UnaryOp):
        return -first if isinstance(tree.op, ast.USub) else first
    if isinstance(tree, ast.Call):
        functions: dict[str, Callable[..., Tensor]] = {
            **{"exp": torch.exp, "log": torch.log, "sqrt": torch.sqrt, "sigmoid": torch.sigmoid},
            **{"min": torch.minimum, "max": torch.maximum},
        }
        return functions[tree.func.id](first, *rest)  # pyright: ignore[reportAttributeAccessIssue]
    assert isinstance(tree, ast.BinOp)
    if isinstance(tree.op, ast.Pow):
        return torch.pow(first, rest[0]) if not names(tree.right) else power(first, rest[0])
    operators: dict[Any, Callable[[Tensor, Tensor], Tensor]] = {
        **{ast.Add: torch.add, ast.Sub: torch.sub, ast.Mult: torch.mul, ast.Div: torch.div}
    }
    return operators[type(tree.op)](first, rest[0])


def degree(tree: ast.expr, unknown: set[str]) -> float:
    """0 where it does not depend on the names, 1 where it is linear in all of them together, else infinite."""
    if isinstance(tree, ast.Name):
        return float(tree.id in unknown)
    degrees = [degree(part, unknown) for part in parts_of(tree)]
    if not any(degrees):
        return 0.0
    if isinstance(tree, ast.UnaryOp) or (isinstance(tree, ast.BinOp) and isinstance(tree.op, (ast.Add, ast.Sub))):
        return max(degrees)
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Mult):
        return sum(degrees) if sum(degrees) <= 1 else math.inf
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.Div) and degrees[1] == 0:
        return degrees[0]
    return math.inf


def written(tree: ast.expr) -> str:
    """The text of a part, however deep it is nested."""
    try:
        return ast.unparse(tree)
    except RecursionError:
        return "what is nested this deep"


def shown(text: str) -> str:
    """A piece of a formula as an error shows it, in one line."""
    line = " ".join(text.split())
    return repr(line if len(line) <= WORDS else f"{line[: WORDS - 4]} ...")
