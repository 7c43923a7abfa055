"""Reports: one self-contained HTML page with interactive charts, and the same answers in the terminal."""

from __future__ import annotations

from pliant.report.page import report
from pliant.report.terminal import print_report

__all__ = ["print_report", "report"]
