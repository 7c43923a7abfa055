"""The hub's real client against a stand-in of its HTTP interface on loopback."""

import contextlib
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from hub_standin import serve

from pliant.errors import PliantError
from pliant.models import HubLadder, build, hub_patience, hub_store, load, save
from pliant.models.hub_files import chosen_files

STEPS = [f"step{1000 * number}" for number in range(1, 11)]
WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def folders(tmp_path_factory, ascii_tokenizer):
    """Ten checkpoints, and what `weights()` says of each."""
    root, hashes = tmp_path_factory.mktemp("series"), {}
    for seed, name in enumerate(STEPS):
        model = build("llama-16x2", ascii_tokenizer, seed=seed, context=16)
        hashes[name] = model.weights()
        save(model, root / name)
        (root / name / "pliant.json").unlink()  # as others publish
    return root, hashes


@pytest.fixture
def online(tmp_path, monkeypatch):
    """The client switched on (the tests' own setting is offline), with caches of this test's own and no patience."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    monkeypatch.setattr(hub_patience, "PAUSES", (0.0, 0.0))
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    yield tmp_path
    hub_store.drop_ahead()


@pytest.fixture
def hub(folders, online):
    root, _ = folders
    with serve({"lab/tiny": {"main": root / STEPS[-1], **{name: root / name for name in STEPS}}}) as running:
        yield running
        hub_store.drop_ahead()


def ladder(hub, revisions="step*", **fields):
    return HubLadder(hub="lab/tiny", revisions=revisions, endpoint=hub.url, **{"batch_tokens": 2048, **fields})


def on_disk(place):
    """Bytes below the store, while others write and delete in it."""
    sizes = 0
    for folder, _, names in os.walk(place / "cache"):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                sizes += os.stat(os.path.join(folder, name)).st_size  # noqa: PTH116, PTH118
    return sizes


@contextlib.contextmanager
def watched(place):
    """Samples `on_disk` all the while; the yielded list ends up holding the largest."""
    peak, stop = [0], threading.Event()

    def watch():
        while not stop.wait(0.001):
            peak[0] = max(peak[0], on_disk(place))

    thread = threading.Thread(target=watch)
    thread.start()
    yield peak
    stop.set()
    thread.join()


def wait_for_ahead():
    if hub_store._ahead is not None:
        hub_store._ahead._thread.join()


def revision_folders(place):
    return [path for path in place.glob("cache/hub/*/*") if path.is_dir()]


def size_of(folder):
    return sum(path.stat().st_size for path in folder.iterdir())


def test_a_series_needs_the_disk_of_two(hub, folders, online):
    root, hashes = folders
    found = {}
    with watched(online) as peak:
        for rung in ladder(hub).rungs():
            with rung.open() as model:
                wait_for_ahead()
                assert len(revision_folders(online)) <= 2
                found[rung.checkpoint.revision] = model.weights()
                assert model.checkpoint.params == 8784
                assert model.checkpoint.tokens == 2048 * int(rung.checkpoint.revision.removeprefix("step"))
    assert found == hashes
    assert list(found) == STEPS
    assert hub.downloads(WEIGHTS) == STEPS  # each exactly once, in order
    one = size_of(root / STEPS[0])
    assert one < peak[0] < 2.2 * one  # two, with the client's own notes beside them
    assert revision_folders(online) == []


def test_the_watcher_would_notice_a_third(hub, folders, online):
    with watched(online) as peak, contextlib.ExitStack() as stack:
        for rung in ladder(hub).rungs()[:3]:
            stack.enter_context(rung.open())
        wait_for_ahead()
        time.sleep(0.05)
    assert peak[0] > 2.9 * size_of(folders[0] / STEPS[0])
    assert hub.downloads(WEIGHTS) == STEPS[:3]  # nothing more was fetched ahead


def test_the_next_is_fetched_while_one_is_measured(hub, online):
    first, second, *_ = ladder(hub).rungs()
    with first.open():
        wait_for_ahead()
        assert hub.downloads(WEIGHTS) == STEPS[:2]
    with second.open():
        assert hub.downloads(WEIGHTS)[:2] == STEPS[:2]


def test_another_order_works_too(hub, folders, online):
    rungs = ladder(hub).rungs()
    for index in (7, 2, 2):
        with rungs[index].open() as model:
            assert model.weights() == folders[1][STEPS[index]]
    hub_store.drop_ahead()
    assert revision_folders(online) == []


def test_a_download_that_breaks_off_goes_on_where_it_stopped(hub, folders):
    hub.breaks[f"step1000/{WEIGHTS}"] = [9000]
    hub.failures[f"step1000/{WEIGHTS}"] = 1
    with ladder(hub, "step1000").rungs()[0].open() as model:
        assert model.weights() == folders[1]["step1000"]
    ranges = [request.split(" ")[-1] for request in hub.requests if request.endswith("-") and WEIGHTS in request]
    assert ranges == ["bytes=9000-"]


def test_a_hub_that_keeps_failing_is_one_line_and_leaves_nothing(hub, online):
    hub.failures[f"step1000/{WEIGHTS}"] = 1000
    rungs = ladder(hub, ["step1000", "step2000"]).rungs()
    with pytest.raises(PliantError, match="answered 503"), rungs[0].open():
        pass
    assert revision_folders(online) == []
    with rungs[1].open():
        pass


def test_a_missing_branch_is_an_error_of_its_rung_only(hub, folders):
    rungs = ladder(hub, ["step2000", "step1500", "step1000"]).rungs()
    assert [rung.checkpoint.revision for rung in rungs] == ["step1000", "step1500", "step2000"]
    with pytest.raises(PliantError, match=r"lab/tiny@step1500: .*no such revision"), rungs[1].open():
        pass
    with pytest.raises(PliantError, match="no such revision"):
        rungs[1].identity  # noqa: B018
    for index in (0, 2):
        with rungs[index].open() as model:
            assert model.weights() == folders[1][rungs[index].checkpoint.revision]


def test_a_branch_that_vanishes_between_listing_and_opening(hub):
    first, second = ladder(hub, ["step1000", "step2000"]).rungs()
    del hub.repositories["lab/tiny"]["step2000"]
    with first.open():
        wait_for_ahead()
    with pytest.raises(PliantError, match="no such revision"), second.open():
        pass


def test_only_one_set_of_safetensors_is_fetched(hub, folders, tmp_path):
    rich = shutil.copytree(folders[0] / "step1000", tmp_path / "rich")
    for name in (
        "pytorch_model.bin",
        "model-00001-of-00001.safetensors",
        "tf_model.h5",
        "optimizer.pt",
        "modeling.py",
        "training_args.bin",
    ):
        (rich / name).write_bytes(b"x" * 100)
    hub.repositories["lab/tiny"] = {"step5": rich}
    with ladder(hub).rungs()[0].open():
        fetched = {match[1] for request in hub.requests if (match := re.search(r"GET .*/resolve/\w+/(.*)", request))}
    assert fetched == {"config.json", "generation_config.json", WEIGHTS, "tokenizer.json", "tokenizer_config.json"}


def test_pickled_weights_are_refused_before_anything_is_fetched(hub, folders, tmp_path):
    pickled = shutil.copytree(folders[0] / "step1000", tmp_path / "pickled")
    (pickled / WEIGHTS).rename(pickled / "pytorch_model.bin")
    hub.repositories["lab/tiny"] = {"step5": pickled}
    with pytest.raises(PliantError, match=r"pickled \(pytorch_model.bin\)"), ladder(hub).rungs()[0].open():
        pass
    assert not any("/resolve/" in request for request in hub.requests)


def test_a_file_that_is_broken_on_the_hub(hub, folders, tmp_path, online):
    cut = shutil.copytree(folders[0] / "step1000", tmp_path / "cut")
    (cut / WEIGHTS).write_bytes((cut / WEIGHTS).read_bytes()[:-10])
    hub.repositories["lab/tiny"] = {"step5": cut}
    with pytest.raises(PliantError, match=r"lab/tiny@step5: .*truncated"), ladder(hub).rungs()[0].open():
        pass
    assert revision_folders(online) == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"revisions": "ste*x"}, "no revision matches 'ste\\*x'"),
        ({"revisions": ["step1000", "main"]}, "how many tokens stand behind revision 'main'"),
        ({"revisions": ["step1000", "stage2-step1000-tokens1B"], "batch_tokens": None}, "batch_tokens"),
        ({"tokens": {"step5": 1}}, "'step5'"),
        ({"hub": "lab/other"}, "no such repository"),
        ({"hub": "not a name"}, "not a hub name"),
    ],
)
def test_what_cannot_be_listed_is_one_line(hub, fields, message):
    with pytest.raises(PliantError, match=message) as caught:
        HubLadder(**{"hub": "lab/tiny", "revisions": "step*", "batch_tokens": 1, "endpoint": hub.url, **fields}).rungs()
    assert len(str(caught.value).splitlines()) == 1


def test_steps_stand_in_for_tokens_that_nobody_tells(hub):
    rungs = ladder(hub, batch_tokens=None).rungs()
    facts = [rung.checkpoint for rung in rungs]
    assert [(known.revision, known.tokens, known.steps) for known in facts] == [(name, None, int(name[4:])) for name in STEPS]
    assert rungs[0].ladder.along(facts) == "steps"
    assert rungs[0].ladder.remarks(facts) == ["tokens unknown: ordered by steps; give batch_tokens for tokens"]
    with rungs[0].open() as model:
        assert (model.checkpoint.tokens, model.checkpoint.steps) == (None, facts[0].steps)
    told = ladder(hub).rungs()
    assert [(rung.checkpoint.tokens, rung.checkpoint.steps) for rung in told] == [(2048 * known.steps, known.steps) for known in facts]
    assert told[0].ladder.along([rung.checkpoint for rung in told]) == "tokens"
    assert ladder(hub, axis="steps").along([rung.checkpoint for rung in told]) == "steps"
    assert ladder(hub, axis="steps").remarks(facts) == []  # they were asked for


def test_a_single_revision_needs_no_tokens(hub):
    (rung,) = ladder(hub, "main").rungs()
    assert rung.checkpoint.tokens is None
    with rung.open() as model:
        assert model.checkpoint.address == "lab/tiny@main"


def test_a_name_that_is_neither_a_folder_nor_reachable_is_asked_for_once(online, monkeypatch):
    from huggingface_hub import constants

    waits = []
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(time, "sleep", waits.append)
    with pytest.raises(PliantError, match=r"lab/tiny@step1: not a folder here, and the hub at .* cannot be reached"):
        load("lab/tiny@step1")
    assert waits == []


def test_no_hub_is_one_line(hub, monkeypatch):
    rungs = ladder(hub).rungs()
    nobody = "http://127.0.0.1:9"
    with pytest.raises(PliantError, match=f"{nobody} cannot be reached") as caught:
        HubLadder(hub="lab/tiny", revisions="step*", endpoint=nobody).rungs()
    assert len(str(caught.value).splitlines()) == 1
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    for attempt in (ladder(hub).rungs, lambda: rungs[0].open().__enter__()):
        with pytest.raises(PliantError, match="HF_HUB_OFFLINE"):
            attempt()


def test_kept_downloads_serve_again_without_a_hub(hub, folders, online, monkeypatch):
    from huggingface_hub import constants

    kept = ladder(hub, ["step1000"], keep=True)
    with kept.rungs()[0].open() as model:
        assert model.weights() == folders[1]["step1000"]
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    (rung,) = kept.rungs()
    with rung.open() as model:
        assert model.weights() == folders[1]["step1000"]
    assert rung.identity == ladder(hub, ["step1000"], keep=True).rungs()[0].identity
    with pytest.raises(PliantError, match="HF_HUB_OFFLINE"):
        load("lab/tiny@step1000")  # an endpoint named in a study does not fill the public hub's cache
    monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    with ladder(hub, ["step1000"], keep=True).rungs()[0].open():
        pass
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert load("lab/tiny@step1000").weights() == folders[1]["step1000"]
    assert hub.downloads(WEIGHTS) == ["step1000"] * 2
    with pytest.raises(PliantError, match="HF_HUB_OFFLINE"):
        load("lab/tiny@step2000")


def test_identity_is_the_commit_and_how_it_is_read(hub):
    rungs = ladder(hub).rungs()
    assert len({rung.identity for rung in rungs}) == len(rungs)
    assert [rung.identity for rung in ladder(hub).rungs()] == [rung.identity for rung in rungs]
    assert ladder(hub, dtype="bfloat16").rungs()[0].identity != rungs[0].identity
    assert pickle.loads(pickle.dumps(rungs[0])) == rungs[0]


def in_another_process(code, *arguments):
    """Runs `code` with the store of this test; the caller talks to it through its streams."""
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "HF_HUB_OFFLINE": "0"},
    )


HOLD = """
import sys
from pliant.models.hub_store import Source, hold
held = hold(Source("lab/tiny", sys.argv[1], sys.argv[2]))
print("held", flush=True)
sys.stdin.readline()
held.release()
print("released", flush=True)
"""


def test_two_processes_share_a_download_and_the_last_deletes_it(hub, online):
    commit = hub.commit("lab/tiny", "step1000")
    mine = hub_store.hold(hub_store.Source("lab/tiny", commit, hub.url))
    with in_another_process(HOLD, commit, hub.url) as other:
        assert other.stdout.readline() == "held\n"
        assert hub.downloads(WEIGHTS) == ["step1000"]
        mine.release()
        assert [path.name for path in revision_folders(online)] == [commit]
        print("go", file=other.stdin, flush=True)
        assert other.stdout.readline() == "released\n"
    assert revision_folders(online) == []


def test_what_a_killed_process_left_is_deleted(hub, folders, online):
    commit = hub.commit("lab/tiny", "step1000")
    with in_another_process(HOLD, commit, hub.url) as other:
        assert other.stdout.readline() == "held\n"
        other.send_signal(signal.SIGKILL)
    assert [path.name for path in revision_folders(online)] == [commit]
    with ladder(hub, "step3000").rungs()[0].open() as model:
        assert [path.name for path in revision_folders(online)] == [hub.commit("lab/tiny", "step3000")]
        assert model.weights() == folders[1]["step3000"]


def test_a_process_that_ends_tidies_up_after_its_killed_workers(hub, online):
    commit = hub.commit("lab/tiny", "step1000")
    with in_another_process(HOLD, commit, hub.url) as worker:
        assert worker.stdout.readline() == "held\n"
        worker.send_signal(signal.SIGKILL)
    assert [path.name for path in revision_folders(online)] == [commit]
    listing = "import sys; from pliant.models import HubLadder; HubLadder(hub='lab/tiny', endpoint=sys.argv[1]).rungs()"
    with in_another_process(listing, hub.url):
        pass
    assert revision_folders(online) == []


def test_whole_files_of_a_killed_download_are_used_and_half_ones_are_not(hub, folders, online):
    commit = hub.commit("lab/tiny", "step1000")
    with in_another_process(HOLD, commit, hub.url) as other:
        assert other.stdout.readline() == "held\n"
        other.send_signal(signal.SIGKILL)
    (left,) = revision_folders(online)
    (left / WEIGHTS).unlink()
    half = left / f"{WEIGHTS}.incomplete"
    half.write_bytes(b"half")
    hub.requests.clear()
    with ladder(hub, "step1000").rungs()[0].open() as model:
        assert model.weights() == folders[1]["step1000"]
        assert not half.exists()
    assert hub.downloads(WEIGHTS) == ["step1000"]
    assert hub.downloads("tokenizer.json") == []


def test_files_are_chosen_by_what_is_there():
    config = ["config.json", "tokenizer.json"]
    sharded = ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors", "model.safetensors.index.json"]
    assert chosen_files([*config, *sharded, "onnx/model.safetensors", "README.md"], "x") == sorted([*config, *sharded])
    assert chosen_files([*config, *sharded, WEIGHTS], "x") == sorted([*config, WEIGHTS])
    assert chosen_files([*config, "a.gguf", "b.gguf"], "x", gguf_file="a.gguf") == sorted([*config, "a.gguf"])
    assert chosen_files([*config, WEIGHTS, "modeling.py"], "x", code=True) == sorted([*config, WEIGHTS, "modeling.py"])
    for names, message in (([*config, "onnx/model.safetensors"], "no weights"), (["a.gguf"], "gguf_file='a.gguf'")):
        with pytest.raises(PliantError, match=message):
            chosen_files(names, "x")


def test_the_short_form():
    short = HubLadder.parse("EleutherAI/pythia-70m@step*")
    assert short == HubLadder(hub="EleutherAI/pythia-70m", revisions=("step*",))
    assert HubLadder.parse("gpt2").revisions == ("main",)


FROM_THE_ENVIRONMENT = """
from transformers import AutoModelForCausalLM
from pliant.models import HubLadder, Model, load
theirs = AutoModelForCausalLM.from_pretrained("lab/tiny", revision="step2000")
mine = load("lab/tiny@step2000")
print(Model(theirs, mine.tokenizer, mine.checkpoint).weights(), mine.weights())
for rung in HubLadder.parse({"hub": "lab/tiny", "revisions": "step[12]000", "batch_tokens": 1}).rungs():
    with rung.open() as model:
        print(model.weights())
"""


@pytest.mark.slow
def test_the_address_of_the_hub_comes_from_the_environment(hub, folders, tmp_path):
    settings = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_HOME": str(tmp_path / "home"), "PLIANT_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(
        [sys.executable, "-c", FROM_THE_ENVIRONMENT], capture_output=True, text=True, env={**os.environ, **settings}, check=False
    )
    assert done.returncode == 0, done.stderr
    hashes = folders[1]
    assert done.stdout.split() == [hashes["step2000"]] * 2 + [hashes["step1000"], hashes["step2000"]]
    assert revision_folders(tmp_path) == []
