"""The page of findings: what one run says replaces what was said of that finding, and nothing else."""

from __future__ import annotations

import json
from datetime import date

from pliant.cli.findings import with_outcome

ROW = {"finding": "beta", "verdict": "reproduced", "claim": "C", "paper": "P", "published": "F", "rule": "R", "ours": "O", "size": "laptop"}


def row(**changed):
    return {**ROW, "checks": {"it holds": True}, **changed}


def test_sections_are_replaced_one_at_a_time_and_keep_their_dates():
    page = with_outcome("", row(), date(2026, 1, 2))
    page = with_outcome(page, row(finding="alpha", verdict="not at this scale", checks={"it holds": False}), date(2026, 1, 3))
    assert page.index("## alpha: not at this scale") < page.index("## beta: reproduced")
    assert "Run: 2026-01-02, size laptop" in page
    assert "- did not hold: it holds" in page
    again = with_outcome(page, row(ours="N"), date(2026, 1, 4))
    assert "Run: 2026-01-02" not in again
    assert again.count("Run: 2026-01-03") == again.count("Run: 2026-01-04") == again.count("# Findings\n\nWritten") == 1
    assert with_outcome(again, row(ours="N"), date(2026, 1, 4)) == again


def test_the_command_keeps_what_the_file_says_of_others(tmp_path, pliant):
    out = tmp_path / "page.md"
    out.write_text(with_outcome("", row(), date(2026, 1, 2)))
    code, told, _ = pliant("findings", "linear_network", "--folder", str(tmp_path), "-o", str(out), "--json")
    assert code == 0
    assert json.loads(told)[0]["verdict"] == "reproduced"
    assert "## beta: reproduced" in out.read_text()
    assert "## linear_network: reproduced" in out.read_text()
