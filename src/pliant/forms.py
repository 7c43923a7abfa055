"""Forms: the plain values that YAML and JSON stand for, read from files and from the command line by the one reader there is.

What a file says is untrusted: only regular files are opened, and size, depth and numbers are bounded before anything is believed.
"""

from __future__ import annotations

import json
import math
import stat
from pathlib import Path
from typing import Any, NoReturn

import yaml

from pliant.errors import PliantError

SIZE_LIMIT = 64 * 2**20
"""Bytes of the largest YAML or JSON file that is read, unless its reader says otherwise."""


class _Loader(yaml.SafeLoader):
    """Refuses a key that is given twice, of which YAML's own reader keeps the last without a word."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            written = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if written in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.MarkedYAMLError(problem=f"the key {key.value!r} is given twice", problem_mark=key.start_mark)
            seen |= {written} if written else set()
        return node


def parse_yaml(text: str, where: str) -> Any:
    """Plain values from YAML text. Raises PliantError that starts with `where` and, in longer texts, the line at fault."""
    try:
        return yaml.load(text, _Loader)
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error).splitlines()[0]
        line = f" line {mark.line + 1}" if mark is not None and "\n" in text else ""
        raise PliantError(f"{where}:{line} is not valid YAML ({problem})") from None
    except (ValueError, RecursionError) as error:  # a date that does not exist, brackets without end
        raise PliantError(f"{where}: is not valid YAML ({error})") from None


def read_yaml(path: str | Path) -> Any:
    """Plain values from a YAML file. Raises PliantError for a file that is missing or empty, and with the line at fault."""
    form = parse_yaml(read_text(path), str(path))
    if form is None:
        raise PliantError(f"{path}: the file is empty")
    return form


def read_json(path: str | Path, limit: int = SIZE_LIMIT, finite: bool = True) -> Any:
    """Plain values from a JSON file of at most `limit` bytes. Raises PliantError, as `read_text` and `parse_json` do."""
    return parse_json(read_text(path, limit), str(path), finite)


def parse_json(text: str | bytes, where: str, finite: bool = True) -> Any:
    """Plain values from JSON text, in which every number is finite and every whole number fits 64 bits.

    With `finite` off, NaN and infinities are numbers, which other programs' files may hold. Raises PliantError that starts with `where`.
    """
    try:
        return json.loads(
            text, parse_constant=_no_constant if finite else float, parse_float=_finite if finite else float, parse_int=_whole
        )
    except RecursionError:
        raise PliantError(f"{where}: is not valid JSON that can be used (nested too deeply)") from None
    except ValueError as error:  # also bytes that are no text
        raise PliantError(f"{where}: is not valid JSON ({error})") from None


def read_text(path: str | Path, limit: int = SIZE_LIMIT) -> str:
    """The text of a regular file of at most `limit` bytes. Raises PliantError when it is missing, no such file, or not UTF-8."""
    try:
        status = Path(path).stat()
        if not stat.S_ISREG(status.st_mode):
            raise PliantError(f"{path}: {'is a folder' if stat.S_ISDIR(status.st_mode) else 'is a pipe or device'}, not a file")
        with Path(path).open("rb") as stream:
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
        raise PliantError(f"{str(path)!r}: no such file") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:40]} is beyond what a number can be")
    return number


def _whole(text: str) -> int:
    if len(text) > 20 or not -(2**63) <= int(text) < 2**63:
        raise ValueError(f"{text[:40]} is beyond what a whole number can be")
    return int(text)
