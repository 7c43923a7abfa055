"""Human numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pliant.numbers import format_count, format_seconds, parse_count


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("16M", 16_000_000),
        ("2.3T", 2_300_000_000_000),
        ("0.5M", 500_000),
        ("64k", 64_000),
        ("1e6", 10**6),
        ("4_096", 4096),
        (7, 7),
        (2.0, 2),
    ],
)
def test_counts_are_read(text, number):
    assert parse_count(text) == number


@pytest.mark.parametrize("text", ["16Q", "", "-3", "1.5", -1, 0.5, float("nan"), float("inf"), True, "1e400", None, "M"])
def test_what_is_no_count_is_refused(text):
    with pytest.raises(ValueError, match=r"count|whole number|number"):
        parse_count(text)


@given(st.integers(0, 10**15))
def test_formatting_keeps_three_digits(number):
    assert abs(parse_count_or_float(format_count(number)) - number) <= 0.005 * number


def parse_count_or_float(text: str) -> float:
    scales = {"k": 1e3, "M": 1e6, "B": 1e9, "T": 1e12}
    return float(text[:-1]) * scales[text[-1]] if text[-1] in scales else float(text)


@pytest.mark.parametrize(("number", "text"), [(999, "999"), (1000, "1k"), (999_950, "1M"), (16e6, "16M"), (299_892_736_000, "300B")])
def test_formatting_never_says_1000k(number, text):
    assert format_count(number) == text


def test_seconds():
    seconds = (1.26, 45.4, 75 + 60, 599.7, 74 * 60 + 12, 90 * 60 - 1, 7200)
    assert [format_seconds(s) for s in seconds] == ["1.3 s", "45 s", "2 min 15 s", "10 min", "74 min", "1 h 30 min", "2 h 00 min"]
