"""A hub that lies: each lie is one line for its user, nothing outside the caches changes, and nothing half written is left."""

import contextlib
import hashlib
import json
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest
from hub_standin import drips, says, serve

from pliant.errors import PliantError
from pliant.models import HubLadder, build, hub_client, hub_files, hub_listing, hub_patience, hub_store, load, save

WEIGHTS = "model.safetensors"
REFS, INFO = r"/refs$", r"/revision/"
TOKEN = "Bearer hf_secret"


@pytest.fixture(scope="module")
def folder(tmp_path_factory, ascii_tokenizer):
    """A good checkpoint."""
    place = tmp_path_factory.mktemp("good") / "step1"
    save(build("llama-16x2", ascii_tokenizer, seed=0, context=16), place)
    return place


@pytest.fixture(scope="module")
def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Caches of this test's own beside a folder that nobody may touch; little patience; a token."""
    from huggingface_hub import constants

    for name, value in {
        "HF_HUB_OFFLINE": False,
        "HF_HUB_CACHE": str(tmp_path / "hub-cache"),
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": False,
    }.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setattr(hub_patience, "PAUSES", (0.0, 0.0))
    monkeypatch.setattr(hub_client, "PATIENCE", 0.4)
    monkeypatch.setattr(hub_client, "LISTING_PATIENCE", 0.6)
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    (tmp_path / "victim").mkdir()
    (tmp_path / "victim" / "thesis.txt").write_text("years of work")
    return tmp_path


@pytest.fixture
def hub(folder, place):
    with serve({"lab/tiny": {"main": folder, "step1": folder}}) as running:
        yield running
        hub_store.drop_ahead()


def ladder(hub, /, **fields):
    return HubLadder(**{"hub": "lab/tiny", "revisions": ["step1"], "endpoint": hub.url, "batch_tokens": 1, **fields})


def opened(hub, /, **fields):
    with ladder(hub, **fields).rungs()[0].open() as model:
        return model.weights()


@contextlib.contextmanager
def refused(place, *, match):
    """The block raises one printable line, whatever the hub wrote, and leaves no trace."""
    with pytest.raises(PliantError, match=match) as caught:
        yield
    said = str(caught.value)
    assert said.isprintable()
    assert len(said) < 700
    assert {path.name: path.read_text() for path in (place / "victim").iterdir()} == {"thesis.txt": "years of work"}
    assert {path.name for path in place.iterdir()} <= {"cache", "hub-cache", "victim"}
    assert [path for path in place.rglob("*") if path.suffix == ".incomplete"] == []
    assert [path for path in place.glob("cache/hub/*/*") if path.is_dir()] == []


def both_ways(hub, place, match):
    """Refused where downloads are deleted and where they are kept."""
    for keep in (False, True):
        with refused(place, match=match):
            opened(hub, keep=keep)


COMMITS = ["", "main", "a" * 39, "a" * 41, "A" * 40, "a" * 40 + "\n", "../../victim", "../" * 12 + "a"]
COMMITS += [None, 7, ["a" * 40], {"a": 1}, "\u0661" * 40, "\x1b[2J"]


@pytest.mark.parametrize("commit", [*COMMITS, "VICTIM"], ids=repr)
def test_a_commit_is_forty_digits(hub, place, commit):
    commit = str(place / "victim") if commit == "VICTIM" else commit
    hub.lies[REFS] = says({"branches": [{"name": "step1", "targetCommit": commit}], "tags": []})
    both_ways(hub, place, "is no commit")
    with pytest.raises(PliantError, match="is no commit"):
        hub_store.hold(hub_store.Source("lab/tiny", commit, hub.url))
    hub.lies = {INFO: says({"sha": commit, "siblings": []})}
    both_ways(hub, place, "is no commit")
    with refused(place, match="is no commit"):
        hub_files.cached_snapshot("lab/tiny", "step1", endpoint=hub.url)


def test_another_commit_than_asked_for(hub, place):
    hub.lies[INFO] = says({"sha": "b" * 40, "siblings": [{"rfilename": WEIGHTS}]})
    both_ways(hub, place, "another commit")


NAMES = ["../victim/thesis.txt", "/etc/tokenizer.json", "a/../../victim", "tokenizer\\..\\x", "tokenizer\0", "tokenizer\x1b[31m.json"]
NAMES += ["tokenizer.json\n", "vocab\u2028", "vocab\u202etxt", "", ".", "..", "a//b", "a/", None, 5, ["x"], "vocab\ud800", "v" * 1000]


@pytest.mark.parametrize("name", NAMES, ids=lambda name: ascii(name)[:40])
def test_a_name_stays_inside_and_can_be_seen(hub, place, content, name):
    siblings = [{"rfilename": file} for file in (*content, name)]
    hub.lies[INFO] = says({"sha": hub.commit("lab/tiny", "step1"), "siblings": siblings})
    both_ways(hub, place, "is no name|is no text")
    hub.lies = {REFS: says({"branches": [{"name": name, "targetCommit": "a" * 40}]})}
    both_ways(hub, place, "is no name|is no text")


@pytest.mark.parametrize("name", ["tokenizer.json.incomplete", "vocab:stream", "vocab.", "vocab ", "vocab?"])
def test_a_name_is_one_that_every_disk_takes(hub, place, content, name):
    hub.lies[INFO] = says({"sha": hub.commit("lab/tiny", "step1"), "siblings": [{"rfilename": file} for file in (*content, name)]})
    both_ways(hub, place, "no file can be called")


def wrong(content):
    """Other bytes of the same length."""
    return content[:-1] + bytes([content[-1] ^ 1])


def lfs(content):
    return {"X-Linked-Etag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Linked-Size": str(len(content)), "ETag": '"opaque"'}


def git(content):
    return {"ETag": f'W/"{hashlib.sha1(b"blob %d" % len(content) + bytes(1) + content).hexdigest()}"'}


def test_what_is_announced_truly_is_taken(hub, place, content):
    hub.announces = True
    honest = opened(hub)
    assert not any(request.startswith("HEAD") for request in hub.requests)
    hub.announces = False
    for headers in (lfs, git):
        hub.lies = {rf"/resolve/.*{name}$": says(body, **headers(body)) for name, body in content.items()}
        assert opened(hub) == honest
    assert (opened(hub, keep=True), opened(hub, keep=True)) == (honest, honest)


@pytest.mark.parametrize("name", [WEIGHTS, "config.json"])
@pytest.mark.parametrize("headers", [lfs, git, lambda _: {}], ids=["lfs", "git", "list"])
def test_wrong_bytes_of_the_right_length(hub, place, content, name, headers):
    hub.announces = headers not in (lfs, git)
    hub.lies[rf"/resolve/.*{name}$"] = says(wrong(content[name]), **headers(content[name]))
    both_ways(hub, place, rf"{name}: its content is not what the hub announced")


def test_wrong_bytes_announced_by_head_alone(hub, place, content):
    hub.lies[rf"HEAD .*{WEIGHTS}$"] = says(content[WEIGHTS], **lfs(content[WEIGHTS]))
    hub.lies[rf"GET .*{WEIGHTS}$"] = says(wrong(content[WEIGHTS]))
    both_ways(hub, place, "its content is not what the hub announced")


def test_sizes_that_differ(hub, place, content):
    body = content[WEIGHTS]
    hub.lies[rf"GET .*{WEIGHTS}$"] = says(body + b"more")
    both_ways(hub, place, "announces .* and then")
    hub.lies[rf"GET .*{WEIGHTS}$"] = says(body + b"more", Content_Length=None)
    both_ways(hub, place, "sends more than")
    hub.lies[rf"GET .*{WEIGHTS}$"] = says(body[:-4], Content_Length=None)
    both_ways(hub, place, "where the hub announced")
    hub.announces = True
    hub.lies = {rf"GET .*{WEIGHTS}$": says(body[:-4])}
    both_ways(hub, place, "announces .* and then")


def test_another_part_than_asked_for(hub, place, content):
    hub.breaks[f"step1/{WEIGHTS}"] = [9000]
    hub.repositories["lab/tiny"] = {"step1": hub.repositories["lab/tiny"]["step1"]}
    stop = len(content[WEIGHTS]) - 9000

    def shifted(handler):
        if handler.headers.get("Range"):
            return says(content[WEIGHTS][:stop], 206, Content_Range=f"bytes 0-{stop - 1}/{len(content[WEIGHTS])}")(handler)
        return handler.file("lab/tiny", "step1", WEIGHTS)

    hub.lies[rf"GET .*{WEIGHTS}$"] = shifted
    with refused(place, match="another part"):
        opened(hub)


ENDLESS = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"


def test_a_body_ends_where_it_was_announced(hub, place, monkeypatch, content):
    hub.lies[rf"GET .*{WEIGHTS}$"] = drips(ENDLESS + b"\r\n", bytes(65536), pause=0)
    both_ways(hub, place, "sends more than")
    hub.lies[rf"HEAD .*{WEIGHTS}$"] = says(b"", Content_Length=None)
    monkeypatch.setattr(hub_files, "LARGEST_OTHER", 10**6)
    both_ways(hub, place, "sends more than the 1,000,000 bytes")
    assert sum(path.stat().st_size for path in place.rglob("*") if path.is_file()) < 10**6


def test_a_file_larger_than_can_be(hub, place):
    hub.lies[rf"/resolve/.*{WEIGHTS}$"] = says(b"", Content_Length=str(10**17))
    both_ways(hub, place, "free some disk")
    hub.lies = {r"/resolve/.*config.json$": says(b"", Content_Length=str(10**10))}
    both_ways(hub, place, "larger .* than such a file can be")


@pytest.mark.parametrize("path", [REFS, INFO, rf"HEAD .*{WEIGHTS}$", rf"GET .*{WEIGHTS}$"])
@pytest.mark.parametrize(
    "start",
    [b"", b"HTTP/1.1 200 OK\r\nX-Slow: ", b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n", ENDLESS + b"\r\n"],
    ids=["silent", "header", "body", "endless"],
)
def test_a_hub_that_keeps_its_callers_waiting(hub, place, content, path, start):
    if path.startswith("HEAD") and start.endswith(b"\r\n\r\n"):
        pytest.skip("such an answer has no body")
    start = start.replace(b"%d", b"%d" % len(content[WEIGHTS]))
    hub.lies[path] = drips(start, seconds=5) if start else drips(piece=b"", seconds=5)
    with refused(place, match="did not answer|less than|did not finish|cannot be reached.*Timeout"):
        opened(hub)


JSON = {
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "number": b'{"branches": 1e999, "sha": 1e999}',
    "text": b"<html>\x1b[31mno hub</html>",
    "bytes": b"\xff\xfe\x00",
    "empty": b"",
    "list": b"[]",
    "null": b"null",
    "entries": b'{"branches": {"a": 1}, "siblings": {"a": 1}, "sha": "%s"}' % (b"a" * 40),
    "entry": b'{"branches": ["a"], "siblings": ["a"], "sha": "%s"}' % (b"a" * 40),
    "size": b'{"branches": 3, "sha": "%s", "siblings": [{"rfilename": "a", "size": -1}]}' % (b"a" * 40),
    "size text": b'{"branches": 3, "sha": "%s", "siblings": [{"rfilename": "a", "size": "1"}]}' % (b"a" * 40),
    "hash": b'{"branches": 3, "sha": "%s", "siblings": [{"rfilename": "a", "lfs": {"size": 1, "sha256": "../x"}}]}' % (b"a" * 40),
}


@pytest.mark.parametrize("body", JSON.values(), ids=JSON)
def test_an_answer_that_is_no_hubs(hub, place, body):
    match = "not valid JSON|no hub|no possible|not a hub"
    hub.lies[REFS] = says(body)
    both_ways(hub, place, match)
    hub.lies = {"/api/models/lab/tiny/revision/": says(body.replace(b"a" * 40, hub.commit("lab/tiny", "step1").encode()))}
    both_ways(hub, place, match)


def test_lists_have_an_end(hub, place, monkeypatch):
    monkeypatch.setattr(hub_listing, "MOST_ENTRIES", 50)
    commit = hub.commit("lab/tiny", "step1")
    hub.lies[REFS] = says({"branches": [{"name": f"step{number}", "targetCommit": commit} for number in range(51)]})
    both_ways(hub, place, "lists 51 entries")
    hub.lies = {INFO: says({"sha": commit, "siblings": [{"rfilename": f"{number}.txt"} for number in range(51)]})}
    both_ways(hub, place, "lists 51 entries")
    monkeypatch.setattr(hub_files, "MOST_FILES", 10)
    hub.lies = {INFO: says({"sha": commit, "siblings": [{"rfilename": f"model-{number}-of-20.safetensors"} for number in range(20)]})}
    both_ways(hub, place, "20 files of one model")
    monkeypatch.setattr(hub_client, "SIZE_LIMIT", 10**6)
    hub.lies = {REFS: drips(ENDLESS + b"\r\n[", b" " * 65536, pause=0)}
    both_ways(hub, place, "sends more than the 1,000,000 bytes")


def test_an_answer_that_is_packed(hub, place):
    hub.lies[REFS] = says(b"\x1f\x8b", Content_Encoding="gzip\x1b[31m")
    both_ways(hub, place, "packed")


@pytest.mark.parametrize("location", ["file:///etc/passwd", "ftp://x/y", "javascript:1", "/lab/tiny/loop", "http://[", "\x1b[31m"])
def test_sent_where_nothing_is(hub, place, location):
    hub.lies[rf"/resolve/.*{WEIGHTS}$|/loop$"] = says(b"", 302, Location=location)
    with refused(place, match="not safe|without end|cannot be reached|vanished"):
        opened(hub)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 416, 418, 429, 500, 503])
def test_an_error_page_is_not_printed(hub, place, status):
    hub.lies[r"/resolve/"] = says(b"\x1b[31mrun this\n" * 10**4, status, X_Error_Message="\x1b[31mrun this", X_Error_Code="\x1b]0;x\x07")
    for lied in (r"/resolve/", REFS, INFO):
        hub.lies = {lied: hub.lies.popitem()[1]}
        with refused(place, match=r"^lab/tiny"):
            opened(hub)


def test_a_line_that_is_no_http(hub, place):
    hub.lies[REFS] = drips(b"\x1b[31mHELLO\r\n\x00\x00\r\n\r\n", seconds=0)
    with refused(place, match="cannot be reached, or broke off"):
        opened(hub)


def test_the_token_stays_at_home(hub, place, monkeypatch):
    from huggingface_hub import constants

    def asked():
        hub.tokens.clear()
        opened(hub)
        return set(hub.tokens)

    assert asked() == {None}  # an endpoint that a study names
    hub.tokens.clear()
    opened(hub, token=True)
    assert set(hub.tokens) == {TOKEN}  # asked for by name
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    assert asked() == {TOKEN}  # the hub of the environment
    hub.tokens.clear()
    load("lab/tiny@step1")
    assert set(hub.tokens) == {TOKEN}
    monkeypatch.setattr(constants, "ENDPOINT", hub.url.replace("http:", "https:"))
    assert asked() == {None}


def test_a_token_that_was_asked_for_must_be_there(hub, place, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr("huggingface_hub.utils._headers.get_token", lambda: None)
    with refused(place, match="there is no token"):
        opened(hub, token=True)


def test_the_token_does_not_follow_to_another_host(hub, place, content, folder):
    with serve({"lab/tiny": {"step1": folder}}) as store:
        there = f"{store.url}/lab/tiny/resolve/{store.commit('lab/tiny', 'step1')}/{WEIGHTS}"
        hub.lies[rf"/resolve/.*{WEIGHTS}$"] = says(b"", 302, Location=there, **lfs(content[WEIGHTS]))
        opened(hub, token=True)
        assert set(hub.tokens) == {TOKEN}
        assert set(store.tokens) == {None}
        store.lies[WEIGHTS] = says(wrong(content[WEIGHTS]))
        both_ways(hub, place, "its content is not what the hub announced")


def test_a_repository_that_was_renamed_is_followed(hub, place):
    hub.lies[r"/old/tiny"] = lambda handler: says(b"", 307, Location=handler.path.replace("/old/", "/lab/"))(handler)
    assert opened(hub, hub="old/tiny", token=True) == opened(hub)
    assert hub.tokens.index(None) == hub.tokens.count(TOKEN)  # all of the first, none of the second


def test_two_at_once_do_not_write_the_same_file(hub, place, content):
    source = hub_store.Source("lab/tiny", hub.commit("lab/tiny", "step1"), hub.url)
    with ThreadPoolExecutor(4) as pool:
        held = list(pool.map(hub_store.hold, [source] * 4))
    assert {path.name: path.read_bytes() for path in source.folder.iterdir()} == {
        name: body for name, body in content.items() if (source.folder / name).exists()
    }
    assert hub.downloads(WEIGHTS) == ["step1"]
    for one in held:
        assert source.folder.is_dir()
        one.release()
    assert not source.folder.exists()


def test_an_endpoint_does_not_fill_the_hubs_own_cache(hub, place):
    opened(hub, keep=True)
    assert not (place / "hub-cache").exists()
    hub.repositories.clear()
    with refused(place, match="lab/tiny"):
        load("lab/tiny@step1")


def test_a_revision_that_moved_is_measured_as_it_was_listed(hub, place, folder, tmp_path):
    (rung,) = ladder(hub, keep=True).rungs()
    moved = shutil.copytree(folder, tmp_path / "cache" / "moved")
    (moved / "config.json").write_text(json.dumps({**json.loads((folder / "config.json").read_text()), "rms_norm_eps": 0.5}))
    hub.repositories["lab/tiny"] = {"step1": moved, "old": folder}
    hub.commit = lambda name, revision: "c" * 40 if revision == "step1" else rung.source.commit
    with rung.open() as model:
        assert model.network.config.rms_norm_eps != 0.5


def test_only_the_stores_own_folders_are_deleted(hub, place):
    source = hub_store.Source("lab/tiny", hub.commit("lab/tiny", "step1"), hub.url)
    source.store.mkdir(parents=True)
    (source.store / "b").mkdir()
    (source.store / ("b" * 40)).symlink_to(place / "victim")
    (source.store / ("c" * 40)).mkdir()
    (source.store / ("c" * 40 + ".dead.lock")).touch()
    assert opened(hub) is not None
    assert (place / "victim" / "thesis.txt").read_text() == "years of work"
    assert {path.name for path in source.store.iterdir() if path.suffix != ".lock"} == {"b", "b" * 40}
    assert [path.name for path in source.store.glob("*.*.lock")] == []
