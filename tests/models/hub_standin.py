"""A stand-in of the hub's HTTP interface on loopback, for huggingface-hub's real client.

It serves folders as the revisions of repositories: references, file trees, revision info, and files with ETag,
X-Repo-Commit, Content-Length and Range. It can break a transfer off after some bytes, answer with an error for a while, and
keeps a list of the requests it was sent. It can also lie: `lies` are answers given in place of the true ones.
"""

import contextlib
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit


@dataclass
class StandIn:
    """What is served and what happened."""

    repositories: dict[str, dict[str, Path]]  # name -> revision -> folder
    breaks: dict[str, list[int]] = field(default_factory=dict)  # "revision/file" -> bytes after which each transfer breaks off
    failures: dict[str, int] = field(default_factory=dict)  # "revision/file" -> how often it answers 503
    lies: dict[str, Callable] = field(default_factory=dict)  # pattern of "METHOD path" -> what answers instead, given the handler
    announces: bool = False  # whether the list of files has sizes and hashes, as the public hub's has
    requests: list[str] = field(default_factory=list)  # "METHOD path range"
    tokens: list[str | None] = field(default_factory=list)  # the Authorization of each request
    url: str = ""

    def commit(self, name, revision):
        return hashlib.sha1(f"{name} {revision}".encode()).hexdigest()

    def downloads(self, file):
        """The revisions of which `file` was asked for, in that order."""
        found = (re.search(rf"GET /.+/resolve/(\w+)/{re.escape(file)}", request) for request in self.requests)
        names = {self.commit(name, revision): revision for name, revisions in self.repositories.items() for revision in revisions}
        return [names[match[1]] for match in found if match]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: StandIn

    def log_message(self, *arguments):
        pass

    def handle_one_request(self):
        self.close_connection = True
        with contextlib.suppress(ConnectionError):  # the client has gone
            super().handle_one_request()

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        self.answer()

    def answer(self):
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append(f"{self.command} {path} {self.headers.get('Range', '')}".strip())
        self.hub.tokens.append(self.headers.get("Authorization"))
        for pattern, lie in self.hub.lies.items():
            if re.search(pattern, f"{self.command} {path}"):
                with contextlib.suppress(OSError):  # nobody listens any more
                    return lie(self)
                self.close_connection = True
                return None
        for pattern, action in (
            (r"/api/models/(?P<name>.+)/refs", self.refs),
            (r"/api/models/(?P<name>.+)/tree/(?P<revision>[^/]+)", self.tree),
            (r"/api/models/(?P<name>.+)/revision/(?P<revision>[^/]+)", self.info),
            (r"/(?P<name>.+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)", self.file),
            (r"/api/models/(?P<name>.+)", lambda name: self.info(name, "main")),
        ):
            match = re.fullmatch(pattern, path)
            if match:
                return action(**match.groupdict())
        return self.refuse(404, "RepoNotFound")

    def found(self, name, revision=None):
        """The folder of a revision (name or commit) with its two names, or None after an error was sent."""
        if name not in self.hub.repositories:
            return self.refuse(404, "RepoNotFound")
        for label, folder in self.hub.repositories[name].items():
            if revision in (label, self.hub.commit(name, label)):
                return folder, label, self.hub.commit(name, label)
        return self.refuse(404, "RevisionNotFound")

    def refs(self, name):
        if name not in self.hub.repositories:
            return self.refuse(404, "RepoNotFound")
        branches = [
            {"name": label, "ref": f"refs/heads/{label}", "targetCommit": self.hub.commit(name, label)}
            for label in self.hub.repositories[name]
        ]
        return self.send({"branches": branches, "tags": [], "converts": []})

    def tree(self, name, revision):
        found = self.found(name, revision)
        if found:
            files = [
                {"type": "file", "path": path.name, "size": path.stat().st_size, "oid": etag(path)}
                for path in sorted(found[0].iterdir())
                if path.is_file()
            ]
            self.send(files)

    def info(self, name, revision):
        found = self.found(name, revision)
        if found:
            siblings = [self.sibling(path) for path in sorted(found[0].iterdir())]
            self.send({"id": name, "modelId": name, "sha": found[2], "private": False, "tags": [], "downloads": 0, "siblings": siblings})

    def sibling(self, path):
        if not self.hub.announces:
            return {"rfilename": path.name}
        content = path.read_bytes()
        blob = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
        large = {"sha256": hashlib.sha256(content).hexdigest(), "size": len(content), "pointerSize": 130}
        return {"rfilename": path.name, "size": len(content)} | (
            {"blobId": "a" * 40, "lfs": large} if path.suffix == ".safetensors" else {"blobId": blob}
        )

    def file(self, name, revision, file):
        found = self.found(name, revision)
        if found:
            self.send_file(file, *found)

    def send_file(self, file, folder, label, commit):
        key = f"{label}/{file}"
        if self.hub.failures.get(key, 0) and self.command == "GET":
            self.hub.failures[key] -= 1
            return self.refuse(503, "")
        path = folder / file
        if not path.is_file():
            return self.refuse(404, "EntryNotFound", commit)
        content = path.read_bytes()
        match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        start = int(match[1]) if match else 0
        headers = {"ETag": f'"{etag(path)}"', "X-Repo-Commit": commit, "Accept-Ranges": "bytes"}
        if match:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self.send_headers(206 if match else 200, len(content) - start, headers)
        if self.command == "GET":
            stops = self.hub.breaks.get(key) or []
            stop = stops.pop(0) if stops else None
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                self.wfile.write(content[start:] if stop is None else content[start : start + stop])
            if stop is not None:
                self.close_connection = True
        return None

    def send(self, value):
        body = json.dumps(value).encode()
        self.send_headers(200, len(body), {"Content-Type": "application/json"})
        if self.command == "GET":
            self.wfile.write(body)

    def refuse(self, status, code, commit=None):
        body = b"{}"
        headers = {"X-Error-Code": code} if code else {}
        self.send_headers(status, len(body), headers | ({"X-Repo-Commit": commit} if commit else {}))
        if self.command == "GET":
            self.wfile.write(body)

    def send_headers(self, status, length, headers):
        self.send_response(status)
        for header, value in {**headers, "Content-Length": str(length)}.items():
            self.send_header(header, value)
        self.end_headers()


def says(content, status=200, **headers):
    """A lie: this content (bytes, or what becomes JSON) with these headers, an underscore for each hyphen; None leaves one out."""
    body = content if isinstance(content, bytes) else json.dumps(content).encode()

    def answer(handler):
        told = {"Content-Length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
        handler.send_response(status)
        for name, value in told.items():
            if value is not None:
                handler.send_header(name, value)
        handler.end_headers()
        if handler.command == "GET":
            handler.wfile.write(body)
        handler.close_connection = told["Content-Length"] is None

    return answer


def drips(before=b"", piece=b"x", pause=0.05, seconds=20.0):
    """A lie: bytes that never end, `piece` after `piece`; before them a finished part of an answer. Gives up after a while."""

    def answer(handler):
        handler.close_connection = True
        handler.wfile.write(before)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            handler.wfile.write(piece)
            handler.wfile.flush()
            time.sleep(pause)

    return answer


def etag(path):
    return hashlib.sha1(path.read_bytes()).hexdigest()


@contextlib.contextmanager
def serve(repositories):
    """A running stand-in; its address is `.url`."""
    hub = StandIn(repositories)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    hub.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
