"""Forms: the plain values that YAML and JSON stand for, read from files and from the command line by the one reader there is.

What a file says is untrusted: only regular files are opened, and size, depth and numbers are bounded before anything is believed.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from pathlib import Path
from typing import Any, NoReturn, cast

import yaml

from pliant.errors import PliantError
from pliant.files import check_regular
from pliant.numbers import LARGEST

SIZE_LIMIT = 64 * 2**20
"""Bytes of the largest YAML or JSON file that is read, unless its reader says otherwise."""


YAML_LIMIT = 2**19
"""Bytes of the largest YAML file: such files are written by hand, and reading this much takes some seconds."""
DEPTH = 64
"""How deep lists and mappings may lie in each other."""
VALUES = 200_000
"""Values that a YAML text may stand for, each alias counted as often as it is used."""


class _Loader(yaml.SafeLoader):
    """Reads what JSON could say as well: keys are text, and so are dates; refuses what YAML's own reader would pass on.

    That is a key given twice, of which the last would win without a word, and aliases that multiply or that hold themselves.
    """

    def get_single_node(self) -> yaml.Node | None:
        node = super().get_single_node()
        if node is not None:
            _extent(node, {})
        return node

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[str] = set()
        for index, (key, value) in enumerate(node.value):
            if not isinstance(key, yaml.ScalarNode):
                _refuse(key, "a key must be text")
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.value in seen:
                _refuse(key, f"the key {_brief(key.value)} is given twice")
            seen.add(key.value)
            text = yaml.ScalarNode(TEXT, key.value, key.start_mark, key.end_mark, key.style)  # 1: and yes: are names as "1": is
            node.value[index] = (text, value)
        return node


TEXT = "tag:yaml.org,2002:str"


def _whole_number(loader: _Loader, node: yaml.ScalarNode) -> int:
    number = loader.construct_yaml_int(node)
    return number if -LARGEST <= number < LARGEST else _refuse(node, f"{_brief(node.value)} is beyond what a whole number can be")


_Loader.yaml_constructors = {
    tag: construct
    for tag, construct in yaml.SafeLoader.yaml_constructors.items()
    if str(tag).rpartition(":")[2] not in ("binary", "set", "omap", "pairs", "timestamp")
} | {"tag:yaml.org,2002:int": _whole_number}
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if not tag.endswith(":timestamp")]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def _extent(node: yaml.Node, known: dict[int, tuple[int, int]], depth: int = 0) -> tuple[int, int]:
    """How many values a node stands for and how deep they lie; `known` holds those of earlier nodes, (0, 0) while they are looked at.

    Raises YAMLError where they are too many, lie too deep, or hold themselves.
    """
    values, height = known.get(id(node), (1, 0))
    if not values:
        _refuse(node, "it contains itself")
    if isinstance(node, yaml.ScalarNode):
        if not _is_text(node.value):
            _refuse(node, "half a character is no text")
    elif id(node) not in known:
        known[id(node)] = (0, 0)
        pairs = isinstance(node, yaml.MappingNode)
        for part in (one for pair in cast("list[Any]", node.value) for one in (pair if pairs else (pair,))):
            inside = _extent(part, known, depth + 1)
            values, height = values + inside[0], max(height, inside[1] + 1)
            if values > VALUES:
                _refuse(node, "it stands for too many values")
        known[id(node)] = (values, height)
    if depth + height > DEPTH:
        _refuse(node, "nested too deeply")
    return values, height


def _refuse(node: yaml.Node, problem: str) -> NoReturn:
    raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)


def parse_yaml(text: str, where: str) -> Any:
    """Plain values from YAML text. Raises PliantError that starts with `where` and, in longer texts, the line at fault."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error).splitlines()[0]
        line = f" line {mark.line + 1}" if mark is not None and "\n" in text else ""
        raise PliantError(f"{where}:{line} is not valid YAML ({problem})") from None
    except RecursionError:  # brackets without end
        raise PliantError(f"{where}: is not valid YAML (nested too deeply)") from None
    except (ValueError, LookupError, AttributeError) as error:  # more digits than Python reads, !!int and !!bool of what is none
        raise PliantError(f"{where}: is not valid YAML ({error})") from None


def read_yaml(path: str | Path) -> Any:
    """Plain values from a YAML file. Raises PliantError for a file that is missing or empty, and with the line at fault."""
    form = parse_yaml(read_text(path, YAML_LIMIT), str(path))
    if form is None:
        raise PliantError(f"{path}: the file is empty")
    return form


def read_json(path: str | Path, limit: int = SIZE_LIMIT, finite: bool = True) -> Any:
    """Plain values from a JSON file of at most `limit` bytes. Raises PliantError, as `read_text` and `parse_json` do."""
    return parse_json(read_text(path, limit), str(path), finite)


def parse_json(text: str | bytes, where: str, finite: bool = True, halves: bool = False) -> Any:
    """Plain values from JSON text, in which no key comes twice, every number is finite, every whole number fits
    64 bits and all text is whole.

    With `finite` off, NaN and infinities are numbers, which other programs' files may hold; with `halves`, so are
    halves of characters. Raises PliantError that starts with `where`.
    """
    try:
        numbers: Any = {"parse_constant": _no_constant, "parse_float": _finite} if finite else {}
        form = json.loads(text, parse_int=_whole, object_pairs_hook=_once, **numbers)
        if not halves and _halves(text) and not _is_text(json.dumps(form, ensure_ascii=False)):
            raise ValueError("half a character is no text")
        if _too_deep(form):
            raise RecursionError
    except RecursionError:
        raise PliantError(f"{where}: is not valid JSON that can be used (nested too deeply)") from None
    except ValueError as error:  # also bytes that are no text
        raise PliantError(f"{where}: is not valid JSON ({error})") from None
    return form


def read_text(path: str | Path, limit: int = SIZE_LIMIT) -> str:
    """The text of a regular file of at most `limit` bytes. Raises PliantError when it is missing, no such file, or not UTF-8."""
    try:
        check_regular(path)
        with open(path, "rb", opener=_opened) as stream:
            content = stream.read(limit + 1)
        if len(content) > limit:
            raise PliantError(f"{path}: is larger than such a file can be ({limit / 1e6:.0f} MB)")
        return content.decode()
    except FileNotFoundError:
        raise PliantError(f"{path}: no such file") from None
    except OSError as error:
        raise PliantError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise PliantError(f"{path}: cannot be read (it is not UTF-8 text)") from None
    except ValueError:  # a NUL in the name
        raise PliantError(f"{path}: no such file") from None


def _opened(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))  # should a pipe have taken the file's place meanwhile


def _too_deep(form: Any) -> bool:
    level = [form]
    for _ in range(DEPTH):
        level = [inner for outer in level if isinstance(outer, (dict, list)) for inner in _parts(outer)]
    return bool(level)


def _parts(outer: Any) -> Any:
    return outer.values() if isinstance(outer, dict) else outer


def _halves(text: str | bytes) -> bool:
    """Whether there may be halves of characters, which JSON can spell and no text can hold."""
    return (b"\\ud" in text or b"\\uD" in text) if isinstance(text, bytes) else "\\ud" in text or "\\uD" in text or not _is_text(text)


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _brief(text: str) -> str:
    return repr(text) if len(text) <= 80 else f"{text[:77]!r}..."


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The pairs as a dictionary, refused where a key comes twice: the last would win without a word."""
    form = dict(pairs)
    if len(form) < len(pairs):
        twice = next(name for name, times in Counter(name for name, _ in pairs).items() if times > 1)
        raise ValueError(f"the key {_brief(twice)} is given twice")
    return form


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is beyond what a number can be")
    return number


def _whole(text: str) -> int:
    if len(text) > 20 or not -LARGEST <= int(text) < LARGEST:
        raise ValueError(f"{text[:40]} is beyond what a whole number can be")
    return int(text)
