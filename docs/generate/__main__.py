"""Writes docs/reference.md, and between the markers of docs/architecture.md, from the code. Run by `make docs`.

`tests/test_docs.py` fails when a file and the code disagree.
"""

from __future__ import annotations

import sys
from pathlib import Path

from architecture import architecture
from reference import reference

DOCS = Path(__file__).parents[1]

if __name__ == "__main__":
    sys.path.insert(0, str(DOCS.parent / "src"))
    (DOCS / "reference.md").write_text(reference(), encoding="utf-8")
    told = DOCS / "architecture.md"
    told.write_text(architecture(told.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote {DOCS / 'reference.md'} and the rooms and interfaces of {told}")
