"""Data sets of the hub, read with the real `datasets` library from a stand-in of the hub on this machine."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pyarrow
import pytest
from pyarrow import parquet

from pliant.data.hub import hub_files
from pliant.errors import PliantError

FILE = "train-00000-of-00001.parquet"
COMMIT = "a" * 40


class StandIn(BaseHTTPRequestHandler):
    """One data set, `owner/name`, of one Parquet file in the folder `data`."""

    content = b""

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        tree = f"/api/datasets/owner/name/tree/{COMMIT}"
        if path == tree:
            self.answer([{"type": "directory", "path": "data", "size": 0, "oid": "b" * 40}])
        elif path == f"{tree}/data" or path.startswith("/api/datasets/owner/name/paths-info"):
            self.answer([{"type": "file", "path": f"data/{FILE}", "size": len(self.content), "oid": "c" * 40}])
        elif path.startswith("/api/datasets/owner/name"):
            self.answer({"id": "owner/name", "sha": COMMIT, "private": False, "tags": [], "siblings": [{"rfilename": f"data/{FILE}"}]})
        elif path.endswith(FILE):
            self.answer(self.content)
        else:
            self.answer({"error": "not found"}, 404, "EntryNotFound" if "owner/name" in path else "RepoNotFound")

    do_HEAD = do_GET

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.do_GET()

    def answer(self, content: object, status: int = 200, error: str = "") -> None:
        body = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        if error:
            self.send_header("X-Error-Code", error)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def endpoint() -> Iterator[str]:
    pytest.importorskip("datasets")
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table({"text": [f"row {number}" for number in range(50)]}), buffer)
    StandIn.content = buffer.getvalue()
    server = ThreadingHTTPServer(("127.0.0.1", 0), StandIn)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


READ = """
import sys
from pliant.data import Corpus
from pliant.errors import PliantError
for source in sys.argv[1:]:
    try:
        documents = list(Corpus.parse(source).documents("all"))
        print(source, len(documents), documents[0].text, documents[-1].text)
    except PliantError as error:
        print(error)
"""


@pytest.mark.slow
def test_a_data_set_and_what_is_not_there(endpoint: str, tmp_path: Path) -> None:
    sources = ["hub:owner/name", "hub:owner/name@main", "hub:owner/nothing", "hub:owner/name:other", "hub:owner/name[test]"]
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "0"}
    done = subprocess.run([sys.executable, "-c", READ, *sources], env=environment, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[:2] == ["hub:owner/name 50 row 0 row 49", "hub:owner/name@main 50 row 0 row 49"]
    for line, (source, reason) in zip(lines[2:], [(sources[2], "doesn't exist"), (sources[3], "other"), (sources[4], "test")], strict=True):
        assert line.startswith(f"{source}: cannot be loaded")
        assert reason in line


def test_what_a_server_says_is_short_and_visible(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **settings: object) -> None:
        raise ValueError("\x1b[31mrun this\u2028\x00" + "x" * 10_000 + "\nand more")

    monkeypatch.setitem(sys.modules, "datasets", SimpleNamespace(load_dataset=refuse))
    with pytest.raises(PliantError) as caught:
        hub_files("owner/hostile")
    said = str(caught.value)
    assert said.startswith("hub:owner/hostile: cannot be loaded (?[31mrun this")
    assert said.isprintable()
    assert len(said) < 400
