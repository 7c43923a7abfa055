"""JSON schemas whose parts that come again and again are written once.

Idea: kinds hold kinds (a fine-tuning holds methods, which hold objectives, which hold data), so that a schema with every kind spelled out
where it may stand grows with each level, to megabytes that no editor reads. A part that stands in two places becomes a definition.
Cost: one walk over the schema.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import Any, cast

from pliant.spec.spec import digest

MAPS = ("properties", "$defs")
"""Keywords whose values are named schemas, not a schema."""
PLAIN = ("default", "const", "enum", "examples", "required")
"""Keywords whose values are no schemas."""
SMALL = 200
"""Characters of what is not worth a name."""


def shared(schema: dict[str, Any]) -> dict[str, Any]:
    """The same schema, its large parts that occur more than once under `$defs`."""
    table: dict[str, dict[str, Any]] = {}
    counts: Counter[str] = Counter()

    def named(node: Any, is_schema: bool) -> Any:
        if isinstance(node, list):
            return [named(item, True) for item in cast("list[Any]", node)]
        if not isinstance(node, dict):
            return node
        parts = cast("dict[str, Any]", node)
        new = {key: part if is_schema and key in PLAIN else named(part, not (is_schema and key in MAPS)) for key, part in parts.items()}
        if not is_schema or not ({"anyOf", "oneOf", "properties"} & new.keys()):
            return new
        text = json.dumps(new, sort_keys=True)
        if len(text) < SMALL:
            return new
        name = f"part-{digest(text)}"
        table[name] = new
        counts[name] += 1
        return {"$ref": f"#/$defs/{name}"}

    def spelled(node: Any) -> Any:
        """With what occurs once back in its place."""
        if isinstance(node, list):
            return [spelled(item) for item in cast("list[Any]", node)]
        if not isinstance(node, dict):
            return node
        parts = cast("dict[str, Any]", node)
        name = str(parts.get("$ref", "")).removeprefix("#/$defs/")
        if len(parts) == 1 and counts.get(name) == 1:
            return spelled(table[name])
        return {key: spelled(part) for key, part in parts.items()}

    whole = {key: named(part, key not in MAPS) for key, part in schema.items()}
    several = {name: spelled(part) for name, part in table.items() if counts[name] > 1}
    found = {key: spelled(part) for key, part in whole.items()}
    return found | {"$defs": found.get("$defs", {}) | several}
