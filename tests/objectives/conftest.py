import json

import pytest

from small_text import cache, text, text_file

__all__ = ["cache", "text", "text_file"]


@pytest.fixture
def pairs(tmp_path, cache):
    """A table of fourteen chosen and rejected answers, of several lengths."""
    path = tmp_path / "pairs.jsonl"
    records = [{"prompt": f"Is {n} even?", "chosen": "yes" * (1 + n % 3), "rejected": "no" * (1 + n % 4)} for n in range(14)]
    path.write_text("\n".join(map(json.dumps, records)))
    return str(path)
