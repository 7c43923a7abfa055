"""Forms: YAML read safely, with every mistake in one line."""

import os

import pytest

from pliant.errors import PliantError
from pliant.spec.yaml import DEPTH, parse_json, parse_yaml, read_json, read_text, read_yaml


def doubled(first, ways, times=40):
    """An anchor that stands for `first`, and others that each stand for the one before nine times."""
    return f"a0: &a0 {first}\n" + "".join(f"a{n}: &a{n} {ways(n - 1)}\n" for n in range(1, times))


BAD_YAML = {
    "multiplying": (doubled("[x]", lambda n: f"[{', '.join([f'*a{n}'] * 9)}]"), "it stands for too many values"),
    "multiplying by merges": (doubled("{x: 1}", lambda n: f"{{<<: [{', '.join([f'*a{n}'] * 9)}]}}"), "it stands for too many values"),
    "deep by aliases": (doubled("[x]", lambda n: f"[*a{n}]", 5_000), "nested too deeply"),
    "deep lists": ("[" * 50_000, "nested too deeply"),
    "deep blocks": ("- " * 50_000, "nested too deeply"),
    "deep and closed": ("{a: " * (DEPTH + 1) + "}" * (DEPTH + 1), "nested too deeply"),
    "list in itself": ("a: &a [*a]", "it contains itself"),
    "mapping in itself": ("a: &a {b: {c: *a}}", "it contains itself"),
    "merged with itself": ("a: &a {<<: *a}", "it contains itself"),
    "list as key": ("{[1]: a}", "a key must be text"),
    "mapping as key": ("? {a: b}\n: c", "a key must be text"),
    "two keys that are one name": ("{1: a, '1': b}", "the key '1' is given twice"),
    "half a character": ('a: "\\ud800"', "half a character is no text"),
    "half a character in a key": ('"\\udfff": a', "half a character is no text"),
    "no character": ('a: "\\U00110000"', "is not valid YAML"),
    "zero byte": ("a: \0", "is not valid YAML"),
    "long number": ("9" * 5_000, "is not valid YAML"),
    "number of 65 bits": ("a: 9223372036854775808", "beyond what a whole number can be"),
    "hexadecimal": ("a: -0x" + "f" * 5_000, "beyond what a whole number can be"),
    **{tag: (f"a: !!{tag} x", "is not valid YAML") for tag in ("binary", "set", "bool", "int", "float", "timestamp", "map", "seq", "omap")},
    "two documents": ("a: 1\n---\nb: 1", "line 2 is not valid YAML"),
}


@pytest.mark.parametrize("name", BAD_YAML)
def test_yaml_that_is_no_form_is_one_line(name):
    text, words = BAD_YAML[name]
    with pytest.raises(PliantError) as caught:
        parse_yaml(text, "here")
    message = str(caught.value)
    assert message.startswith("here:")
    assert words in message
    assert "\n" not in message


BAD_JSON = {
    "deep": ("[" * 200_000, "nested too deeply"),
    "deep and closed": ('{"a":' * (DEPTH + 1) + "1" + "}" * (DEPTH + 1), "nested too deeply"),
    "infinite": ("[1e999]", "beyond what a number can be"),
    "long": ("1" + "0" * 400, "beyond what a whole number can be"),
    "65 bits": ("[-9223372036854775809]", "beyond what a whole number can be"),
    "not a number": ("NaN", "NaN is not a number"),
    "half a character": ('{"a": "\\udc00"}', "half a character is no text"),
    "no text": (b"\xff\xfe\x00", "is not valid JSON"),
    "nothing": (b"", "is not valid JSON"),
}


@pytest.mark.parametrize("name", BAD_JSON)
def test_json_that_is_no_form_is_one_line(name):
    text, words = BAD_JSON[name]
    with pytest.raises(PliantError) as caught:
        parse_json(text, "here")
    message = str(caught.value)
    assert message.startswith("here:")
    assert words in message
    assert "\n" not in message


def test_what_is_within_the_bounds_is_read():
    assert parse_yaml("a: &a [1, 2]\nb: [*a, *a]", "here") == {"a": [1, 2], "b": [[1, 2], [1, 2]]}
    assert parse_json('["\\ud83d\\ude00", -9223372036854775808, 1e308]', "here") == ["\U0001f600", -(2**63), 1e308]
    deep = parse_json("[" * DEPTH + "]" * DEPTH, "here")
    for _ in range(DEPTH - 1):
        (deep,) = deep
    assert deep == []


@pytest.mark.parametrize("read", [read_text, read_json, read_yaml])
def test_only_regular_files_of_bounded_size_are_read(read, tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to("/dev/zero")
    with (tmp_path / "huge").open("wb") as stream:
        stream.truncate(2**40)
    places = {"/dev/zero": "pipe or device", "pipe": "pipe or device", "link": "pipe or device", "huge": "larger than", ".": "is a folder"}
    for place, words in places.items():
        with pytest.raises(PliantError, match=words):
            read(tmp_path / place)
    for place in ("/proc/self/mem", "a\0b", "\udcff", "x" * 5_000):
        with pytest.raises(PliantError):
            read(place)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"a: 1\nb: [1,\n", "line 3 is not valid YAML"),
        (b"a: 1\nb: 2\na: 3\n", "line 3 is not valid YAML (the key 'a' is given twice)"),
        (b"b:\n  c: {generic: 1,\n   generic: 2}\n", "line 3 is not valid YAML (the key 'generic' is given twice)"),
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


def test_yes_and_exponents_are_read_as_yaml_1_1_has_them():
    assert parse_yaml("[yes, off, 0x10, 1e-2, 1.0e-2]", "here") == [True, False, 16, "1e-2", 0.01]


def test_keys_and_dates_are_the_text_that_was_written():
    text = "{1: a, yes: b, 2001-01-01: 2001-13-45, null: d, 1.50: [2001-01-01]}"
    assert parse_yaml(text, "here") == {"1": "a", "yes": "b", "2001-01-01": "2001-13-45", "null": "d", "1.50": ["2001-01-01"]}


@pytest.mark.parametrize("text", ['{"a": 1, "b": 2, "a": 1}', '[{"x": {"a": 1, "\\u0061": 2}}]'])
def test_a_key_given_twice_is_refused_in_json_as_in_yaml(text):
    """The last would win without a word."""
    with pytest.raises(PliantError, match="the key 'a' is given twice"):
        parse_json(text, "here")
    with pytest.raises(PliantError, match="the key 'a' is given twice"):
        parse_yaml(text, "here")
