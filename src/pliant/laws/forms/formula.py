"""Anybody's own law, from its formula: "E + A/N**a + B/D**b".

When to use it: a form that is in no catalog; to try one. Names that are columns of the table are columns, all others parameters. A formula
of something else than the loss says so: "accuracy = 1 - c*sigmoid(k*(L - m))".
What goes wrong: a factor before a power of a column is positive: write the minus before it. Other parameters may have either sign; start
values are found from where they stand, and those that stand within a function want one of the user's when the fit says that few
restarts agreed. There is no source and no range but yours.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from pliant.errors import PliantError
from pliant.laws.forms.expression import FUNCTIONS, degree, evaluated, names, parsed, parts_of, shown, walk
from pliant.laws.forms.family import listed, taking
from pliant.laws.law import Column, Law, Parameter
from pliant.spec import nearest

MOST_PARAMETERS, MOST_LINEAR = 30, 6
EXPONENTS = (-0.5, -0.2, 0.1, 0.3, 0.6, 1.0)
DECADES = (0.0, *(sign * 10.0**decade for decade in (-6, -3, -1, 0, 1, 3, 6, 9) for sign in (1, -1)))
COUNTED = {"N": "parameters", "D": "tokens"}
"""Names that stand for the same in every law: their columns may be written 7B, and runs' learning rates are asked about."""
SCALES = ("n", "d", "c", "params", "parameters", "tokens", "flops", "compute", "size", "steps", "step", "x")
"""Columns, in small letters, that say how large a run is."""
TARGET = re.compile(r"\s*([A-Za-z_]\w*)\s*=(?!=)(.*)", re.DOTALL)


def formula(text: str, columns: Iterable[str], starts: Mapping[str, float] | None = None) -> Law:
    """The law of a formula, whose names among `columns` are columns; `starts` are start values of parameters.

    Raises PliantError for text that is no arithmetic, for a formula without a column or a parameter, and for a start of neither.
    """
    given = TARGET.fullmatch(text)
    target, body = (given[1], given[2]) if given else ("loss", text)
    tree, known = parsed(body), set(columns)
    found = names(tree)
    read = [name for name in found if name in known]
    free = [name for name in found if name not in known]
    if target in found or target in FUNCTIONS:
        raise PliantError(f"formula: it predicts {target}, so {target} cannot stand in it; begin with another target: NAME = ...")
    if not read:
        there = ", ".join(sorted(known)[:12])
        raise PliantError(f"formula {shown(body)}: none of its names is a column of the table ({there}); map one with columns, N=params")
    if not 1 <= len(free) <= MOST_PARAMETERS:
        raise PliantError(f"formula: it has {len(free)} names that are no columns; 1 to {MOST_PARAMETERS} parameters can be fitted")
    law = Law(
        name=f"formula({', '.join(read)}): {target} = {ast.unparse(tree)}",
        function=taking(lambda values: evaluated(tree, values), [*read, *free]),
        columns=tuple(Column(name, COUNTED.get(name, "as measured"), "of the formula", positive=_positive(tree, name)) for name in read),
        parameters=tuple(_parameter(tree, name, known) for name in free),
        linear=tuple(_linear(tree, free)),
        target=target,
        unit="nats/token" if target == "loss" else "as measured",
        residual="log" if target == "loss" else "difference",
        scale=tuple(name for name in read if name.lower() in SCALES),
        source="a formula of the user's",
        valid="as far as its user knows",
        identifiability="see what the fit says is unidentifiable",
    )
    return started(law, starts or {})


def started(law: Law, starts: Mapping[str, float]) -> Law:
    """The law with other start values of some parameters. Raises PliantError for names and values it does not take."""
    for name, value in starts.items():
        if name not in law.parameter_names:
            raise PliantError(f"start: law {law.name} has no parameter {name!r}; {nearest(name, law.parameter_names)}")
        parameter = law.parameters[law.parameter_names.index(name)]
        if not parameter.low <= value <= parameter.high or (parameter.transform == "log" and value <= 0):
            raise PliantError(f"start: {name} cannot be {value:g}; it must lie within its range, factors above zero")
    return replace(law, parameters=tuple(replace(p, starts=(starts[p.name],)) if p.name in starts else p for p in law.parameters))


def read_formula(text: str) -> Law:
    """`N, D): loss = ...` as the law whose name goes on like that. Raises PliantError for anything else."""
    inside, colon, body = text.partition("):")
    if not colon:
        raise PliantError('a formula is named formula(N, D): loss = E + A/N**a + B/D**b; or give it apart, with --formula "..."')
    columns = listed("formula", f"{inside})")
    law = formula(body, columns)
    if missing := [name for name in columns if name not in law.column_names]:
        raise PliantError(f"formula: {missing[0]!r} is named as a column and does not stand in it")
    return law


def _parameter(tree: ast.expr, name: str, columns: set[str]) -> Parameter:
    """How a parameter is moved and where it starts, from where it stands."""
    powers = [node for node in walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)]
    if any(name in names(node.right) for node in powers):
        return Parameter(name, "exponent", EXPONENTS, "identity")
    if degree(tree, {name}) == 1:
        if any(name in names(node) and any(set(names(power.left)) & columns for power in _powers(node)) for node in _products(tree)):
            return Parameter(name, "factor of a power of a column, above zero", (1.0, 1e2, 1e4, 1e7))
        return Parameter(name, "linear", (0.0, 1.0), "identity")
    return Parameter(name, "within a function", DECADES, "identity")


def _powers(tree: ast.expr) -> list[ast.BinOp]:
    return [node for node in walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Pow)]


def _products(tree: ast.expr) -> list[ast.BinOp]:
    return [node for node in walk(tree) if isinstance(node, ast.BinOp) and isinstance(node.op, (ast.Mult, ast.Div))]


def _linear(tree: ast.expr, free: Sequence[str]) -> list[str]:
    """Parameters in which the formula is linear together, the first that are, in order."""
    chosen: list[str] = []
    for name in free:
        if len(chosen) < MOST_LINEAR and degree(tree, {*chosen, name}) == 1:
            chosen.append(name)
    return chosen


def _positive(tree: ast.expr, column: str) -> bool:
    """Whether values of zero or below have no power or logarithm, or no size."""
    if column.lower() in SCALES:
        return True
    raised = [node.left for node in _powers(tree) if names(node.right)]
    raised += [node for node in walk(tree) if isinstance(node, ast.Call) and "log" in ast.unparse(node.func)]
    return any(isinstance(part, ast.Name) and part.id == column for node in raised for part in [node, *parts_of(node)])
