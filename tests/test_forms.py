"""Forms: YAML read safely, with every mistake in one line."""

import pytest

from pliant.errors import PliantError
from pliant.spec.yaml import parse_yaml, read_yaml


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: 1\nb: [1,\n", "line 3 is not valid YAML"),
        (b"a: 1\nb: 2\na: 3\n", "line 3 is not valid YAML (the key 'a' is given twice)"),
        (b"b:\n  c: {generic: 1,\n   generic: 2}\n", "line 3 is not valid YAML (the key 'generic' is given twice)"),
        (b"when: 2001-13-45\n", "is not valid YAML (month must be"),
        (b"[" * 10_000, "is not valid YAML"),
        (b"a: !!python/object:os.system x\n", "line 1 is not valid YAML"),
        (b"\xff\xfe\x00", "it is not UTF-8 text"),
        (b"# nothing\n", "the file is empty"),
        (b"", "the file is empty"),
    ],
)
def test_what_cannot_be_read_is_one_line_that_says_where(content, words, tmp_path):
    path = tmp_path / "study.yaml"
    path.write_bytes(content)
    with pytest.raises(PliantError) as caught:
        read_yaml(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:")
    assert words in message
    assert "\n" not in message


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(PliantError, match="no such file"):
        read_yaml(tmp_path / "study.yaml")


def test_merged_keys_are_no_repetition():
    text = "x: &x {a: 1, b: 2}\ny: &y {<<: *x, a: 3}\nz: {inner: {<<: *y, b: 4}}"
    assert parse_yaml(text, "here") == {"x": {"a": 1, "b": 2}, "y": {"a": 3, "b": 2}, "z": {"inner": {"a": 3, "b": 4}}}
    assert parse_yaml("{1: a, '1': b}", "here") == {1: "a", "1": "b"}


def test_yes_and_exponents_are_read_as_yaml_1_1_has_them():
    assert parse_yaml("[yes, off, 0x10, 1e-2, 1.0e-2]", "here") == [True, False, 16, "1e-2", 0.01]
