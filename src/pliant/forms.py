"""Forms: the plain values that YAML stands for, read from files and from the command line by the one reader there is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from pliant.errors import PliantError


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
    try:
        text = Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise PliantError(f"{path}: no such file") from None
    except OSError as error:
        raise PliantError(f"{path}: cannot be read ({error.strerror or error})") from None
    except UnicodeDecodeError:
        raise PliantError(f"{path}: cannot be read (it is not UTF-8 text)") from None
    form = parse_yaml(text, str(path))
    if form is None:
        raise PliantError(f"{path}: the file is empty")
    return form
