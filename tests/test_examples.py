"""The examples and the demo are studies that parse, and the README's claims about them hold."""

from pathlib import Path

import pytest

from pliant.study import Study

ROOT = Path(__file__).parents[1]
STUDIES = sorted([*(ROOT / "examples").glob("*.yaml"), *(ROOT / "src" / "pliant" / "cli" / "studies").glob("*.yaml")])


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.name)
def test_a_shipped_study_parses_and_asks_for_the_checkpoint(path):
    study = Study.read(path)
    assert [question.kind for question in study.questions] == ["checkpoint"]
    assert len(study.changes) > 5
    assert {"generic", "task"} <= set(study.measures)


def test_there_are_three_examples():
    assert len(list((ROOT / "examples").glob("*.yaml"))) == 3


def test_what_the_readme_points_to_is_there():
    import re

    for target in re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text()):
        assert (ROOT / target).exists(), target
