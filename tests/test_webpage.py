"""Pages: whatever a name holds comes out as text, and nothing runs but the page's own scripts."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from pliant.webpage import legible, render, script_json, still

HOSTILE = [
    "</script><script>alert(1)</script>",
    "<!--<script>",
    "--><img src=x onerror=alert(1)>",
    "\"'&amp;{{ 7 * 7 }}{% raw %}",
    "a\u2028b\u2029c",
    "\x1b[31m\x00\x07\x85\ufffe\uffff",
    "half \ud800 of one",
    "turned \u202e round",
    "javascript:alert(1)",
    '\\" + alert(1) + \\"',
    "back\\slash\\",
    "two\nlines\tof\rtext",
]
TEMPLATE = """{% extends "base.html" %}
{% block title %}{{ name }}{% endblock %}
{% block body %}<p title="{{ name }}">{{ name }}</p><div id="chart-0">{{ drawing | safe }}</div>{% endblock %}"""


class Page(HTMLParser):
    """What a browser finds in a page: elements with their attributes, the text in each kind of element, comments."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.comments: list[str] = []
        self.open: list[str] = [""]
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, {name: value or "" for name, value in attrs}))
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self.texts and self.texts[-1][0] == self.open[-1] == "script":  # the parser hands long scripts out in pieces
            data = self.texts.pop()[1] + data
        self.texts.append((self.open[-1], data))

    def handle_comment(self, data: str) -> None:
        self.comments.append(data)

    def named(self, tag: str) -> list[dict[str, str]]:
        return [attributes for found, attributes in self.elements if found == tag]

    def inside(self, tag: str) -> list[str]:
        return [text for found, text in self.texts if found == tag]


def assert_inert(html: str) -> Page:
    """The page has its own scripts and no others, the policy lets only these run, and nothing is fetched."""
    page = Page(html)
    scripts = page.named("script")
    assert scripts in ([], [{"type": "application/json", "id": "specs"}, {}, {}])
    assert not page.comments
    for tag, attributes in page.elements:
        assert tag not in {"img", "link", "iframe", "object", "embed", "base", "form", "video", "audio", "image", "foreignobject"}
        assert not [name for name in attributes if name.startswith("on") or name in {"src", "href", "xlink:href", "srcset", "action"}]
    (policy,) = [meta["content"] for meta in page.named("meta") if meta.get("http-equiv") == "Content-Security-Policy"]
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    texts = page.inside("script")[1:]  # the first is data, which no browser runs
    hashes = [f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'" for text in texts]
    assert rules["script-src"].split() == (hashes or ["'none'"])
    assert "connect-src" not in rules
    return page


def chart(name: str) -> dict[str, Any]:
    axes = {"x": {"field": "name", "type": "nominal", "title": name}, "y": {"field": "value", "type": "quantitative"}}
    return {"data": {"values": [{"name": name, "value": 1.0}]}, "mark": "bar", "encoding": axes}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_comes_out_as_text_wherever_it_stands(name: str, tmp_path: Path) -> None:
    template = tmp_path / "page.html"
    template.write_text(TEMPLATE)
    html = render(template, [chart(name)], name=name, drawing=still(chart(name)))
    html.encode()  # no half characters
    page = assert_inert(html)
    assert page.named("p")[0] == {"title": legible(name)}
    assert page.inside("p")[0] == page.inside("title")[0] == legible(name).replace("\r", "\n") or "\r" in name
    (spec,) = json.loads(page.inside("script")[0])
    (row,) = spec["data"]["values"]
    assert row["name"].replace("\N{REVERSE SOLIDUS OPERATOR}", "\\").split() == legible(name).split()  # one line, no backslashes


def test_a_page_without_charts_runs_nothing(tmp_path: Path) -> None:
    template = tmp_path / "page.html"
    template.write_text('{% extends "base.html" %}{% block body %}{{ name }}{% endblock %}')
    assert not assert_inert(render(template, [], name=HOSTILE[0])).named("script")


@pytest.mark.parametrize("name", [*HOSTILE, *map(chr, (*range(32), 127, 0x2028, 0x2029, 0xFDD0, 0xFFFF))])
def test_the_chart_library_outlives_every_character(name: str) -> None:
    """It ends the process at a control character: a failure here is no failed test, but a dead one."""
    assert still(chart(f"a{name}b")).startswith("<svg")


def test_what_can_be_read_stays_as_it_is() -> None:
    for text in ("Größe, 大きさ", "a\nb\tc", "× ± − …", "emoji \U0001f600", "rtl: שלום"):
        assert legible(text) == text
    assert legible({"a\x1b": (1.5, float("nan"), float("inf"), None, True, 3)}) == {"a\ufffd": [1.5, None, None, None, True, 3]}


def test_json_cannot_end_or_open_anything() -> None:
    text = script_json(HOSTILE[:5])
    assert text.isascii()
    assert not set("<>&") & set(text)
    assert json.loads(text) == HOSTILE[:5]


def test_too_few_addresses_are_a_line_and_not_the_end_of_the_process():
    limited = "import resource; resource.setrlimit(resource.RLIMIT_AS, (2**33, 2**33))"
    code = f"{limited}; from pliant.webpage import still; still({{'mark': 'point'}})"
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[-1].startswith("pliant.errors.PliantError: charts take")
