"""`pliant compare` and `pliant decide items` as a user types them."""

import json
import re
from statistics import NormalDist

import pytest


def write(path, right):
    path.write_text("item,value\n" + "".join(f"{n},{int((n * 7919 + 31) % 97 < right)}\n" for n in range(400)))
    return path


@pytest.fixture
def files(tmp_path):
    return write(tmp_path / "a.csv", 40), write(tmp_path / "b.csv", 60)


def test_the_answer_comes_first(pliant, files):
    code, out, _ = pliant("compare", *files)
    assert code == 0
    assert out.startswith("b is better than a, over all: +0.2")
    assert "one run of each" in out


def test_json_and_a_page(pliant, files, tmp_path):
    page = tmp_path / "page.html"
    _, out, _ = pliant("compare", *files, "--json", "-o", page)
    row, last = json.loads(out)
    assert (row["verdict"], last["task"]) == ("better", "over all")
    assert "<h1>b is better than a" in page.read_text()


def test_names_are_escaped_on_the_page(pliant, tmp_path):
    a, b = write(tmp_path / "<b>a.csv", 40), write(tmp_path / "b.csv", 60)
    page = tmp_path / "page.html"
    assert pliant("compare", a, b, "-o", page)[0] == 0
    assert "<b>a" not in page.read_text()


@pytest.mark.parametrize(("content", "said"), [(None, "no such file"), ("", "empty"), ("item,value\n1,x", "not a number")])
def test_bad_input_is_one_line(pliant, files, tmp_path, content, said):
    path = tmp_path / "c.csv"
    if content is not None:
        path.write_text(content)
    code, _, told = pliant("compare", files[0], path)
    assert code == 2
    assert re.search(said, told)
    assert len(told.splitlines()) <= 2


def test_how_many_items_it_takes(pliant, files):
    """Every flip goes one way here: a share f of the items, so that an item's difference has variance f - f^2, in steps of one item."""
    _, out, _ = pliant("decide", "items", "--effect", "0.05", "--from", files[0], "--from", files[1], "--json")
    answer = json.loads(out)["answer"]
    flipped = sum(40 <= (n * 7919 + 31) % 97 < 60 for n in range(400)) / 400
    quantiles = NormalDist().inv_cdf(0.95) + NormalDist().inv_cdf(0.8)
    wanted = next(n for n in range(2, 9999) if quantiles * ((flipped - flipped**2) / n) ** 0.5 + 1 / (2 * n) <= 0.05)
    assert answer["items"] == pytest.approx(wanted, rel=0.03)
    assert answer["threshold"] == pytest.approx(0.05 * NormalDist().inv_cdf(0.95) / quantiles, rel=0.02)
    assert answer["seeds"] == 1


def test_a_single_system_gives_a_bound(pliant, files):
    both = json.loads(pliant("decide", "items", "--effect", "0.05", "--from", files[0], "--from", files[1], "--json")[1])
    alone = json.loads(pliant("decide", "items", "--effect", "0.05", "--from", files[0], "--json")[1])
    assert alone["answer"]["items"] > both["answer"]["items"]
    assert "by chance" in alone["assumes"]
    assert pliant("decide", "items", "--effect", "0", "--from", files[0])[0] == 2
