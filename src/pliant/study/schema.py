"""The JSON schema of study files, by which editors complete and check them."""

from __future__ import annotations

from typing import Any, cast

from pliant.changes import CHANGES
from pliant.data import Corpus
from pliant.measures import MEASURES
from pliant.models import Ladder
from pliant.spec import Spec
from pliant.spec.sharing import shared
from pliant.study.arms import Arms
from pliant.study.ladders import LADDERS
from pliant.study.question import QUESTIONS
from pliant.train.new_model import NewModel

SHORT_AS_STRING = {Corpus.__name__, NewModel.__name__}


def study_schema(plain: dict[str, Any]) -> dict[str, Any]:
    """`plain`, pydantic's own schema of a study, with the forms that its validators accept in the place of what they make."""
    definitions: dict[str, Any] = {"change": _with_short_forms(CHANGES.json_schema()), "measure": _with_short_forms(MEASURES.json_schema())}
    definitions["question"] = _with_short_forms(QUESTIONS.json_schema())
    definitions["ladder"] = {"anyOf": [*_ladders(definitions), {"type": "string"}, _list({"type": "string"})]}
    forms = {
        "checkpoints": [_reference("ladder")],
        "changes": [_list({"anyOf": [_reference("change"), _list(_reference("change"))]})],
        "measures": [{"type": "object", "additionalProperties": _reference("measure"), "minProperties": 1}],
        "seeds": [plain["properties"]["seeds"]["items"], _list(plain["properties"]["seeds"]["items"])],
        "questions": [{"type": "array", "items": _reference("question")}],
    }
    properties = plain["properties"]
    for name, alternatives in forms.items():
        properties[name] = {"description": properties[name].get("description", ""), "anyOf": alternatives}
    found = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "pliant study",
        "description": plain.get("description", ""),
        "type": "object",
        "properties": properties,
        "required": ["checkpoints", "measures"],
        "additionalProperties": False,
        "$defs": definitions,
    }
    return shared(found)


def _ladders(definitions: dict[str, Any]) -> list[dict[str, Any]]:
    """The forms of every kind, and of several beside each other."""
    kinds = [_ladder(kind, definitions) for kind in LADDERS.specs().values()]
    return [*kinds, _object(**{Arms.key: _list(_reference("ladder"))})]


def _ladder(kind: type[Ladder], definitions: dict[str, Any]) -> dict[str, Any]:
    schema = _schema(kind, definitions)
    for name, field in schema.get("properties", {}).items():
        schema["properties"][name] = {"description": field.pop("description", ""), "anyOf": [field, _list(field)]}  # a list is arms
    return _object(**{kind.key: schema}) if kind.wrapped else schema


def _schema(spec: type[Spec], definitions: dict[str, Any]) -> dict[str, Any]:
    """The spec's schema; what it refers to moves to `definitions`."""
    schema = _with_short_forms(spec.model_json_schema())
    definitions |= schema.pop("$defs", {})
    return schema


def _with_short_forms(schema: Any) -> Any:
    """What pydantic cannot know of validators: a string for a corpus or a new model, one item for a list of them."""
    if isinstance(schema, list):
        return [_with_short_forms(item) for item in cast("list[Any]", schema)]
    if not isinstance(schema, dict):
        return schema
    wide = {name: _with_short_forms(value) for name, value in cast("dict[str, Any]", schema).items()}
    if wide.get("title") in SHORT_AS_STRING and wide.get("type") == "object":
        return {"anyOf": [wide, {"type": "string"}], "title": wide["title"]}
    if wide.get("type") == "array" and "items" in wide:
        return {"anyOf": [wide, wide["items"]]}
    return wide


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def _list(items: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": items, "minItems": 1}


def _reference(name: str) -> dict[str, str]:
    return {"$ref": f"#/$defs/{name}"}
