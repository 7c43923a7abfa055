from __future__ import annotations

import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pyarrow.parquet as pq
import pytest

from pliant.errors import PliantError
from pliant.ledger.ledger import Ledger
from pliant.ledger.record import Record
from pliant.report import print_report, report
from pliant.report.page import page
from pliant.report.results import gather
from pliant.report.sections import SECTIONS
from synthetic_ledger import synthetic_ledger
from test_webpage import HOSTILE as HOSTILE_NAMES
from test_webpage import assert_inert

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&{{ 7 * 7 }}[bold]"


class Document(HTMLParser):
    """Elements with their attributes, and the text of each script and style."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str]]] = []
        self.texts: list[tuple[str, str]] = []
        self.open = ""
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, {name: value or "" for name, value in attributes}))
        self.open = tag

    def handle_data(self, data):
        self.texts.append((self.open, data))

    def named(self, tag):
        return [attributes for found, attributes in self.elements if found == tag]

    def text(self):
        return " ".join(data for tag, data in self.texts if tag not in ("script", "style"))


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    ledger = synthetic_ledger(tmp_path_factory.mktemp("ledger"), failed={16_000_000: "the loss is NaN after step 12"})
    return gather(ledger)


@pytest.fixture(scope="module")
def html(results):
    return page(results)


@pytest.fixture(scope="module")
def document(html):
    return Document(html)


def test_the_page_is_whole_and_loads_nothing(html, document):
    assert len(html) < 3_000_000
    for tag, attributes in document.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "audio", "video", "source"}
        for name, value in attributes.items():
            assert name not in {"src", "srcset", "action", "background", "data"}, (tag, value)
            assert not name.startswith("on")
            assert not (name.endswith("href") and not value.startswith("#")), (tag, value)
    style = " ".join(data for tag, data in document.texts if tag == "style")
    assert "@import" not in style
    assert "url(" not in style
    (policy,) = [found["content"] for found in document.named("meta") if found.get("http-equiv") == "Content-Security-Policy"]
    assert "default-src 'none'" in policy  # a browser refuses whatever the check above has missed
    assert "connect-src" not in policy


def test_the_answer_stands_first_and_every_decision_has_its_row(document, results):
    (title,) = [data for tag, data in document.texts if tag == "h1" and data.strip()]
    assert "generic loss improves up to 16M tokens" in title
    assert re.search(r"after \d of 10 changes the best comes earlier, at", title)
    chips = [found["class"] for found in document.named("span") if found.get("class", "").startswith("chip")]
    assert len(chips) == sum(len(ladder.decisions) for ladder in results.ladders) == 17
    assert {chip.split()[1] for chip in chips} == {"degrades", "improves", "plateau"}


def test_every_chart_has_words_a_still_drawing_and_a_specification(html, document):
    charts = [found for found in document.named("div") if found.get("class") == "chart"]
    specs = json.loads(next(data for tag, data in document.texts if tag == "script" and data.startswith("[")))
    assert len(charts) == len(specs) >= 4 + 3 + 1  # curves: noise, rounding, fine-tuning twice; sensitivity of three; one trade-off
    assert [chart["id"] for chart in charts] == [f"chart-{number}" for number in range(len(charts))]
    for chart in charts:
        assert chart["role"] == "img"
        assert len(chart["aria-label"]) > 40
    assert sum(found.get("class") == "marks" for found in document.named("svg")) == len(charts)
    assert html.count("window.vegaEmbed=") == 1


def test_specifications_compile_without_a_remark(results):
    import vl_convert

    from pliant.report.page import _figures
    from pliant.report.sections import SECTIONS

    figures = [figure for make in SECTIONS if (section := make(results)) for figure in _figures(section.parts)]
    for figure in figures:
        compiled = vl_convert.vegalite_to_vega(figure.spec)
        assert compiled["marks"]


def test_on_a_narrow_screen_every_cell_can_stand_under_its_columns_name(html, document):
    cells = document.named("td")
    assert {"Worse by, nats/token", "Sensitivity", "Best, tokens"} <= {cell["data-column"] for cell in cells}
    unchanged = [cell for cell in cells if cell["data-column"] == "Sensitivity" and "none" in cell["class"].split()]
    assert len(unchanged) == 2  # of either measure: nothing was changed that could have cost anything
    assert "attr(data-column)" in html


def test_sections_come_in_reading_order(document):
    titles = [data.strip() for tag, data in document.texts if tag == "h2" and data.strip()]
    expected = [
        "Which checkpoint is best",
        "After the change",
        "Sensitivity",
        "Task against generic",
        "Learning-rate schedule",
        "What failed",
        "Records",
        "How this was made",
    ]
    assert [title for title in titles if title in expected] == expected
    assert "the loss is NaN after step 12" in document.text()


def test_every_metric_of_a_measure_is_named_among_the_records(tmp_path):
    ledger = Ledger(tmp_path / "twice", create=True)
    rows = pq.read_table(synthetic_ledger(tmp_path / "once", seeds=[0], samples=4).shards()[0]).to_pylist()
    one = {name: rows[0][name] for name in rows[0]} | {"measure": "m"}
    ledger.write([Record(**one | {"metric": metric}) for metric in ("accuracy", "nll")] + [Record(**one | {"measure": "o", "key": "k"})])
    (section,) = [found for make in SECTIONS if (found := make(gather(ledger))) is not None and found.title == "Records"]
    assert [row[3] for row in section.parts[0].parts[0].rows] == ["m accuracy", "m nll", "o"]


def test_names_and_errors_are_only_ever_text(tmp_path):
    names = {"study": HOSTILE, "name": HOSTILE, "schedule": HOSTILE, "measures": (f"a.b[0]{HOSTILE}", f"c\\d{HOSTILE}")}
    ledger = synthetic_ledger(tmp_path, **names, failed={16_000_000: HOSTILE}, seeds=[0], samples=16)
    html = page(gather(ledger))
    document = Document(html)
    assert_inert(html)
    assert HOSTILE in document.text()


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_no_name_in_a_ledger_does_any_harm(name, tmp_path):
    """Study, checkpoint, schedule, measures, errors and the folder; a Parquet file holds no half characters, the name of a file no NUL."""
    name = name.encode("utf-8", "replace").decode().replace("\0", "")
    folder = tmp_path / name.replace("/", "|")
    ledger = synthetic_ledger(
        folder, study=name, name=name, schedule=name, measures=(name, f"other {name}"), failed={16_000_000: name}, seeds=[0], samples=8,
        tokens=[1_000_000, 16_000_000],
    )  # fmt: skip
    html = page(gather(ledger))
    html.encode()
    assert_inert(html)
    assert_inert(page(gather(Ledger(tmp_path / folder.name / "empty", create=True))))


def test_two_sizes_and_two_schedules_are_shown_apart(tmp_path):
    synthetic_ledger(tmp_path, seeds=[0], samples=16)
    ledger = synthetic_ledger(tmp_path, seeds=[0], samples=16, schedule="constant", name="llama-16x2-constant", final_lr=[0.01] * 6)
    document = Document(page(gather(ledger)))
    assert "llama-16x2-constant, constant schedule" in document.text()
    labels = [found["aria-label"] for found in document.named("div") if "aria-label" in found]
    assert sum("by schedule" in label for label in labels) == 6


def test_tokens_are_rounded_alike_in_tables_maps_and_axes(tmp_path):
    """Budgets are rounded to whole steps of training: 200,704 and 999,424 were asked for as 200k and 1M."""
    ledger = synthetic_ledger(tmp_path, seeds=[0], samples=16, tokens=[200_704, 999_424, 1_430_000])
    document = Document(page(gather(ledger)))
    specs = next(data for tag, data in document.texts if tag == "script" and data.startswith("["))
    drawn = [data.strip() for tag, data in document.texts if tag == "text"]
    for text in (specs, " ".join(drawn), document.text()):
        assert {"200k", "1M", "1.43M"} <= set(re.findall(r"[0-9.]+[kM]", text))
        assert not {"201k", "999k", "1.4M"} & set(re.findall(r"[0-9.]+[kM]", text))


def test_a_ledger_without_a_ladder_is_still_a_report(tmp_path):
    ledger = synthetic_ledger(tmp_path, tokens=[1_000_000], seeds=[0], samples=16)
    document = Document(page(gather(ledger)))
    assert "a ladder needs at least two" in document.text()
    assert not [found for found in document.named("div") if found.get("class") == "chart"]
    assert "Records" in document.text()
    empty = Document(page(gather(Ledger(tmp_path / "empty", create=True))))
    assert "No decision" in empty.text()


def test_the_file_is_written_whole_or_not_at_all(tmp_path, results):
    ledger = synthetic_ledger(tmp_path / "ledger", seeds=[0], samples=16)
    out = report(ledger, tmp_path / "deep" / "report.html")
    assert out.read_text(encoding="utf-8").rstrip().endswith("</html>")
    (tmp_path / "file").write_text("")
    with pytest.raises(PliantError, match="cannot write"):
        report(ledger, tmp_path / "file" / "report.html")
    with pytest.raises(PliantError, match="no ledger"):
        report(tmp_path / "nowhere", tmp_path / "report.html")


# --- the terminal


@pytest.mark.parametrize("width", [80, 120])
def test_the_terminal_shows_every_decision_on_one_line(results, width):
    lines = printed(results, width)
    assert max(map(len, lines)) <= width
    rows = [line for line in lines if re.search(r"  (degrades|improves|plateau)  .*\[[+−]\d+\.\d{3}, [+−]\d+\.\d{3}\]\s*$", line)]
    assert len(rows) == 17
    (three_bits,) = [row for row in rows if row.startswith("3 bits")]
    assert "◂" in three_bits


def test_markup_in_names_is_shown_as_it_is(tmp_path):
    ledger = synthetic_ledger(tmp_path, seeds=[0], samples=16)
    synthetic_ledger(tmp_path, seeds=[0], samples=16, study="[red]x[/red]", name="other")
    assert any("[red]x[/red]" in line for line in printed(gather(ledger), 120))


def printed(results, width):
    from rich.console import Console

    console = Console(width=width, record=True, file=io.StringIO())
    print_report(results, console)
    return console.export_text().splitlines()


# --- a real browser, where there is one


@pytest.mark.slow
def test_a_browser_draws_the_charts_and_complains_of_nothing(html, tmp_path):
    browser = next((found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip("no browser here")
    (tmp_path / "report.html").write_text(html, encoding="utf-8")
    command = [
        browser, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
        "--disable-component-update", "--disable-sync", f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr",
        "--virtual-time-budget=20000", "--dump-dom", f"file://{tmp_path / 'report.html'}",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    charts = [found["class"] for found in Document(done.stdout).named("div") if found.get("class", "").startswith("chart")]
    assert len(charts) >= 8
    assert all(chart.startswith("chart vega-embed") for chart in charts)
    assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
