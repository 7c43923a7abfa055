"""Parts of schemas that come again are written once, and mean the same."""

import json

import jsonschema
import pytest

from pliant.spec.sharing import shared
from pliant.study import Study

PART = {"type": "object", "title": "A part" + "." * 200, "properties": {"properties": {"type": "integer"}}, "additionalProperties": False}
WHOLE = {"type": "object", "properties": {"a": PART, "b": {"anyOf": [PART, {"type": "string"}]}}, "$defs": {"c": {"type": "null"}}}


def test_a_part_that_comes_twice_is_a_definition():
    found = shared(WHOLE)
    (name,) = found["$defs"].keys() - {"c"}
    assert found["$defs"][name] == PART
    assert found["properties"]["a"] == {"$ref": f"#/$defs/{name}"}
    assert found["properties"]["b"]["anyOf"][0] == {"$ref": f"#/$defs/{name}"}


@pytest.mark.parametrize(
    "form", [{"a": {"properties": 1}}, {"b": "x"}, {"b": {"properties": 2}}, {"a": {"properties": "x"}}, {"a": {"z": 1}}]
)
def test_it_means_the_same(form):
    def valid(schema):
        return not list(jsonschema.Draft202012Validator(schema).iter_errors(form))

    assert valid(shared(WHOLE)) == valid(WHOLE)


def test_the_schema_of_studies_stays_small():
    assert len(json.dumps(Study.model_json_schema())) < 500_000
