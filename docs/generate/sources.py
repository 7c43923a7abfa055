"""Reads pliant's sources, running none of them, and shows the public names of a module as signatures with what they say of themselves.

A package's public names are those of its `__all__`, found where they are defined; a package without one is its files.
"""

from __future__ import annotations

import ast
import itertools
import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src"
WIDTH = 140
"""Of a line of code, as everywhere."""
OPERATORS = ("__call__", "__len__", "__getitem__", "__sub__", "__iter__", "__enter__")
"""What a class may be used with, besides its public names."""

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef | ast.Assign | ast.AnnAssign


def first_line(node: ast.AST) -> str:
    """The first line of a docstring, or nothing."""
    documented = isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    return _first_line((ast.get_docstring(node) if documented else None) or "")


def _first_line(text: str) -> str:
    """The first line, and those of its paragraph that it takes to end with a sentence."""
    told: list[str] = []
    for line in text.partition("\n\n")[0].splitlines():
        told.append(line.strip())
        if told[-1].endswith((".", ":", "?")):
            break
    return " ".join(told)


@dataclass(frozen=True)
class Module:
    """One file of pliant, read and not run."""

    name: str
    path: Path

    @classmethod
    def named(cls, name: str) -> Module | None:
        """The file of a module or package; None where there is none."""
        place = SOURCE.joinpath(*name.split("."))
        found = [path for path in (place / "__init__.py", place.with_suffix(".py")) if path.is_file()]
        return cls(name, found[0]) if found else None

    @cached_property
    def tree(self) -> ast.Module:
        """What is in it."""
        return ast.parse(self.path.read_text(encoding="utf-8"))

    def faces(self) -> list[Module]:
        """What shows a room's public names: its own list and those of the packages inside, or its files where there is no list."""
        if self.path.name != "__init__.py":
            return [self]
        inside = sorted({path.stem if path.suffix else path.name for path in self.path.parent.iterdir()})
        modules = [module for name in inside if not name.startswith("_") and (module := Module.named(f"{self.name}.{name}"))]
        if self.public():
            packages = [module for module in modules if module.path.name == "__init__.py"]
            return [self, *(face for package in packages if package.public() for face in package.faces())]
        return [face for module in modules for face in module.faces()]

    def public(self) -> list[str]:
        """The names in `__all__`; without it, those of functions, classes, and types that say what they are."""
        if listed := self.definition("__all__"):
            return list(ast.literal_eval(listed.value)) if isinstance(listed, (ast.Assign, ast.AnnAssign)) and listed.value else []
        told = [name for node in self.tree.body if (name := _defined(node)) and self.comment(node, self.tree.body)]
        return [name for name in told if not name.startswith("_") and not name.isupper()]

    def definition(self, name: str) -> Definition | None:
        """Where this file itself defines a name."""
        for node in self.tree.body:
            if isinstance(node, Definition) and _defined(node) == name:
                return node
        return None

    def home(self, name: str) -> tuple[Module, Definition] | None:
        """The file that defines a name, imports followed, and the definition; None for what is not pliant's own or not to be found."""
        if node := self.definition(name):
            return self, node
        for node in (node for node in self.tree.body if isinstance(node, ast.ImportFrom)):
            for alias in node.names:
                module = Module.named(node.module or "") if (alias.asname or alias.name) == name else None
                if module:
                    return module.home(alias.name)
        return None

    def shown(self, name: str) -> Iterator[str]:
        """A public name of this module, with its parts. What belongs to another room is shown there; kinds are in the reference."""
        found = self.home(name)
        if found is None:
            yield name
            return
        module, node = found
        if module.name.split(".")[1] != self.name.split(".")[1] or name in self.kinds:
            return
        if isinstance(node, ast.ClassDef):
            yield from module._class(node)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from module._function(node, name)
        else:
            yield from module._constant(node)

    @cached_property
    def kinds(self) -> set[str]:
        """The classes that the catalogs of this module list."""
        calls = [node for node in ast.walk(self.tree) if isinstance(node, ast.Call) and ast.unparse(node.func) == "Catalog"]
        return {argument.id for call in calls for argument in call.args if isinstance(argument, ast.Name)}

    def comment(self, node: ast.AST, body: list[ast.stmt]) -> str:
        """The first line of what a definition says of itself: its docstring, or the text below a field or constant."""
        if not isinstance(node, (ast.Assign, ast.AnnAssign)):
            return first_line(node)
        after = body[body.index(node) + 1 :][:1]
        value = after[0].value if after and isinstance(after[0], ast.Expr) else None
        return _first_line(value.value) if isinstance(value, ast.Constant) and isinstance(value.value, str) else ""

    def _class(self, node: ast.ClassDef) -> Iterator[str]:
        bases = ", ".join(self.written(base) for base in node.bases)
        yield from _laid_out(f"class {node.name}({bases})" if bases else f"class {node.name}", first_line(node))
        fields = [part for part in node.body if isinstance(part, ast.AnnAssign) and not str(_defined(part)).startswith("_")]
        for said, together in itertools.groupby(fields, key=lambda part: self.comment(part, node.body)):
            yield from _laid_out(";  ".join(map(self._field, together)), said, "    ", apart=";  ")
        for part in node.body:
            if isinstance(part, (ast.FunctionDef, ast.AsyncFunctionDef)) and (not part.name.startswith("_") or part.name in OPERATORS):
                yield from self._function(part, part.name, "    ")

    def _field(self, node: ast.AnnAssign) -> str:
        """A field with its type and its default, as a caller has to know them."""
        value = node.value
        if isinstance(value, ast.Call) and ast.unparse(value.func) in ("Field", "field"):
            named = {word.arg: word.value for word in value.keywords}
            made = named.get("default_factory")
            value = value.args[0] if value.args else named.get("default") or (ast.Constant(...) if made else None)
        default = f" = {self.written(value)}" if value else ""
        return f"{self.written(node.target)}: {self.type(node.annotation)}{default}"

    def type(self, node: ast.expr) -> str:
        """A type as written, without what else is annotated."""
        if isinstance(node, ast.BinOp):
            return f"{self.type(node.left)} | {self.type(node.right)}"
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "Annotated" and isinstance(node.slice, ast.Tuple):
            return self.written(node.slice.elts[0])
        return self.written(node)

    def _function(self, node: ast.FunctionDef | ast.AsyncFunctionDef, name: str, indent: str = "") -> Iterator[str]:
        marks = {ast.unparse(mark).rsplit(".", 1)[-1] for mark in node.decorator_list}
        result = f" -> {self.written(node.returns)}" if node.returns and self.written(node.returns) != "None" else ""
        if marks & {"property", "cached_property"}:
            yield from _laid_out(f"{name}{result.replace(' -> ', ': ')}", first_line(node), indent)
            return
        shown = "".join(f"@{mark} " for mark in ("classmethod", "staticmethod", "contextmanager") if mark in marks)
        method = bool(indent) and "staticmethod" not in marks
        yield from _laid_out(f"{shown}def {name}({self._arguments(node.args, method)}){result}", first_line(node), indent)

    def _arguments(self, given: ast.arguments, method: bool) -> str:
        """Arguments as written, without `self`."""
        places = [*given.posonlyargs, *given.args]
        defaults = dict(zip(reversed(places), reversed(given.defaults), strict=False))
        keywords = dict(zip(given.kwonlyargs, given.kw_defaults, strict=True))
        told = [self._argument(place, defaults.get(place)) for place in places[method:]]
        told += [f"*{self._argument(given.vararg)}"] if given.vararg else ["*"] if keywords else []
        told += [self._argument(keyword, default) for keyword, default in keywords.items()]
        told += [f"**{self._argument(given.kwarg)}"] if given.kwarg else []
        return ", ".join(told)

    def _argument(self, argument: ast.arg, default: ast.expr | None = None) -> str:
        typed = f"{argument.arg}: {self.written(argument.annotation)}" if argument.annotation else argument.arg
        return typed if default is None else f"{typed}{' = ' if argument.annotation else '='}{self.written(default)}"

    def _constant(self, node: ast.Assign | ast.AnnAssign) -> Iterator[str]:
        value = self.type(node.value) if node.value else ""
        if (len(value) > WIDTH or "\n" in value) and not value.startswith("Catalog("):  # kinds are told, however many
            value = re.sub(r"[(\[{].*[)\]}]", lambda inside: f"{inside[0][0]}...{inside[0][-1]}", value)
        typed = f": {self.written(node.annotation)}" if isinstance(node, ast.AnnAssign) else ""
        yield from _laid_out(f"{_defined(node)}{typed}" + (f" = {value}" if value else ""), self.comment(node, self.tree.body))

    @cached_property
    def _text(self) -> list[bytes]:
        return self.path.read_bytes().splitlines(keepends=True)

    def written(self, node: ast.expr) -> str:
        """A piece of code as it stands in the file, in one line; types without the quotes that put them off."""
        if not hasattr(node, "lineno"):
            return ast.unparse(node)
        lines = self._text[node.lineno - 1 : node.end_lineno]
        lines[-1] = lines[-1][: node.end_col_offset]
        lines[0] = lines[0][node.col_offset :]
        code = re.sub(r"\s+", " ", b"".join(lines).decode())
        return re.sub(r",? ?([)\]}])", r"\1", re.sub(r"([(\[{]) ", r"\1", code)) if len(lines) > 1 else code


def _defined(node: ast.stmt) -> str | None:
    """The name that a statement defines."""
    if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
        return node.name
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target if isinstance(node, ast.AnnAssign) else None
    return target.id if isinstance(target, ast.Name) else None


def _laid_out(code: str, comment: str, indent: str = "", apart: str = ", ") -> Iterator[str]:
    """A line of code with its comment behind it, or below it where both are too long for one line.

    Code that is too long itself is broken where its parts are `apart`.
    """
    if len(indent) + len(code) + len(comment) + 4 <= WIDTH:
        yield f"{indent}{code}" + (f"  # {comment}" if comment else "")
        return
    whole = code.replace(" ", "\0").replace(apart.replace(" ", "\0"), apart)
    deeper = indent if apart != ", " else f"{indent}        "
    yield from (line.replace("\0", " ") for line in _wrapped(whole, indent, deeper))
    yield from _wrapped(comment, f"{indent}    # ", f"{indent}    # ")


def _wrapped(text: str, first: str, others: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=first, subsequent_indent=others, break_on_hyphens=False, break_long_words=False)
