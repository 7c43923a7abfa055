"""The ledger: nothing lost, nothing doubled, nothing else readable."""

import errno
import json
import multiprocessing
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ledger_rows import NONE, record

from pliant import PliantError
from pliant.ledger.checking import examined
from pliant.ledger.ledger import VERSION, Ledger
from pliant.statistics import clustered_error, weighted_mean

QUANTIZE = '{"bits":4,"kind":"quantize"}'


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger", create=True)


def count(ledger):
    return ledger.sql("select count(*) as n from records")["n"][0].as_py()


def test_what_is_written_is_what_is_read(ledger):
    ledger.write([record(), record(measure="task", values=(3.0, 5.0), final_lr=1e-4)])
    generic, task = ledger.records()
    assert generic["change"] == {"kind": "none"}
    assert (generic["value"], generic["n"], generic["unit"], generic["status"]) == (pytest.approx(17 / 6), 3, "nats/token", "ok")
    assert (task["measure"], task["final_lr"], task["value"]) == ("task", 1e-4, pytest.approx(13 / 3))
    samples = ledger.sql("select sample, value, weight from samples where measure = 'task' order by sample").to_pylist()
    assert samples == [{"sample": "doc0:0", "value": 3.0, "weight": 1.0}, {"sample": "doc1:0", "value": 5.0, "weight": 2.0}]


PROMISED = ["study", "checkpoint", "weights", "params", "params_non_embedding", "tokens", "final_lr", "change", "measure", "metric"]
PROMISED += ["value", "stderr", "n", "unit", "seed", "status"]


def test_the_promised_columns_are_there(ledger):
    ledger.write([record()])
    assert set(PROMISED) <= set(ledger.records()[0])
    assert {*PROMISED, "change_kind", "change_json"} <= set(ledger.sql("select * from records").column_names)
    assert {"weights", "change_json", "measure", "sample", "value", "weight"} <= set(ledger.sql("select * from samples").column_names)


def test_an_empty_ledger_has_the_same_columns(ledger):
    assert ledger.records() == []
    assert ledger.finished() == set()
    assert set(PROMISED) <= set(ledger.sql("select * from records").column_names)
    assert ledger.rises().num_rows == 0


def test_change_can_be_asked_for_its_fields(ledger):
    ledger.write([record(QUANTIZE, kind="quantize")])
    assert ledger.sql("select (change->>'bits')::int as bits from records").to_pylist() == [{"bits": 4}]


cells = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans(), st.integers(1, 2)), min_size=1, max_size=12)


@given(cells, st.data())
@settings(max_examples=25, deadline=None)
def test_any_history_of_writes_merges_and_failures_keeps_each_record_once(tmp_path_factory, history, data):
    ledger = Ledger(tmp_path_factory.mktemp("history"), create=True)
    expected: dict[str, str] = {}
    for seed, base, works, draws in history:
        made = [record(seed=seed, base=f"b{base}", draw=draw, status="ok" if works else "failed") for draw in range(draws if works else 1)]
        if expected.get(made[0].key) == "ok":
            continue  # a plan never runs what is finished
        ledger.write(made)
        ledger.write(made)
        expected[made[0].key] = made[0].status
        if data.draw(st.booleans()):
            ledger.compact()
    found = ledger.sql("select key, status, count(distinct draw) = count(*) as once from records group by all").to_pylist()
    assert {row["key"]: row["status"] for row in found} == expected
    assert len(found) == len(expected)
    assert all(row["once"] for row in found)
    assert ledger.finished() == {key for key, status in expected.items() if status == "ok"}


def test_a_merge_killed_before_it_tidies_up_doubles_nothing(ledger, monkeypatch):
    for seed in range(4):
        ledger.write([record(seed=seed), record(seed=seed, measure="task")])
    before = ledger.records()

    def killed(self, missing_ok=False):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", killed)
        with pytest.raises(KeyboardInterrupt):
            ledger.compact()
    assert len(list(ledger.folder.glob("records/[!.]*"))) == 5
    assert ledger.records() == before
    ledger.compact()
    assert len(list(ledger.folder.glob("records/[!.]*"))) == 1
    assert ledger.records() == before


def test_a_failure_superseded_just_before_a_kill_is_not_shown(ledger):
    ledger.write([record(status="failed", error="out of memory")])
    kept = {path.name: path.read_bytes() for path in ledger.failures()}
    assert [row["status"] for row in ledger.records()] == ["failed"]
    ledger.write([record()])
    for name, content in kept.items():  # as if the kill had come before the failure was removed
        (ledger.folder / "failures" / name).write_bytes(content)
    assert [row["status"] for row in ledger.records()] == ["ok"]


def test_rises_are_paired_and_their_errors_clustered(ledger):
    base, changed = np.array([1.0, 2.0, 4.0]), [np.array([1.5, 2.25, 5.0]), np.array([1.75, 2.5, 4.5])]
    ledger.write([record(values=base)])
    ledger.write([record(QUANTIZE, kind="quantize", values=values, draw=draw, seed=1) for draw, values in enumerate(changed)])
    (row,) = ledger.rises().to_pylist()
    weights = np.array([1.0, 2.0, 3.0])
    mean = (changed[0] + changed[1]) / 2 - base
    means = [weighted_mean(values - base, weights) for values in changed]
    between_draws = (means[0] - means[1]) ** 2 / 2 / 2  # the variance of two numbers, over two draws
    assert row["rise"] == pytest.approx(weighted_mean(mean, weights))
    assert row["base"] + row["rise"] == pytest.approx(row["value"])
    assert row["stderr"] == pytest.approx(np.sqrt(clustered_error(mean, weights) ** 2 + between_draws))
    assert (row["n"], row["draws"], row["seed"]) == (3, 2, 1)
    assert ledger.sql("select change_kind, rise from rises").to_pylist() == [{"change_kind": "quantize", "rise": row["rise"]}]


def test_mirrored_draws_of_noise_count_as_one(ledger):
    """A large linear term of opposite sign in each pair must not pass for spread between draws."""
    base = np.array([1.0, 2.0, 4.0])
    curve, slope = [np.array([0.2, 0.1, 0.3]), np.array([0.4, 0.2, 0.1])], np.array([5.0, -3.0, 9.0])
    mirrored = [base + bend + sign * slope for bend in curve for sign in (1, -1)]
    noise = '{"kind":"perturb","scale":0.1}'
    ledger.write([record(values=base)])
    ledger.write([record(noise, kind="perturb", values=values, draw=draw) for draw, values in enumerate(mirrored)])
    (row,) = ledger.rises().to_pylist()
    weights = np.array([1.0, 2.0, 3.0])
    means = [weighted_mean(bend, weights) for bend in curve]
    between_pairs = (means[0] - means[1]) ** 2 / 2 / 2
    expected = np.sqrt(clustered_error((curve[0] + curve[1]) / 2, weights) ** 2 + between_pairs)
    assert row["rise"] == pytest.approx(sum(means) / 2)
    assert row["stderr"] == pytest.approx(expected)


def test_windows_of_one_document_are_one_cluster(ledger):
    ids = ["a:0", "a:64", "b:0", "b:64"]
    ledger.write([record(values=(1, 1, 1, 1), sample_ids=ids, sample_weights=np.ones(4))])
    ledger.write([record(QUANTIZE, kind="quantize", values=(2, 2, 4, 4), sample_ids=ids, sample_weights=np.ones(4))])
    (row,) = ledger.rises().to_pylist()
    assert (row["rise"], row["stderr"]) == (2.0, 1.0)  # two documents with rises 1 and 3: sd sqrt(2), over sqrt(2)


def test_split_draws_count_by_share(ledger):
    """Four documents of two windows in two shares: two clusters, whose windows have noise in common. Mirrored draws are averaged."""
    split = '{"draws":4,"kind":"perturb","scale":0.1,"split":true}'
    ids, weights = [f"{name}:{offset}" for name in "abcd" for offset in (0, 64)], np.arange(1.0, 9.0)
    base, slope, bend = np.linspace(1, 2, 8), np.array([9.0, -4, 2, 7, -3, 1, 8, -6]), np.array([0.2, 0.3, 0.1, 0.2, 0.6, 0.5, 0.4, 0.7])
    ledger.write([record(values=base, sample_ids=ids)])
    mirrored = [base + bend + sign * slope for sign in (1, -1)]
    ledger.write([record(split, kind="perturb", values=values, draw=draw, sample_ids=ids) for draw, values in enumerate(mirrored)])
    (row,) = ledger.rises().to_pylist()
    rise = weighted_mean(bend, weights)
    residual = (weights * (bend - rise)).reshape(2, 4).sum(axis=1)
    assert row["rise"] == pytest.approx(rise)
    assert row["stderr"] == pytest.approx(np.sqrt(2 * (residual**2).sum()) / 36)
    assert (row["n"], row["draws"]) == (8, 4)


def test_samples_count_with_what_their_records_say(ledger):
    """Groups that a measure stated count, and what the changed record ties besides, where a single seed shows nothing of its draws."""
    ids, rise = [f"{name}:0" for name in "abcdef"], np.array([1.0, 2, 4, 8, 16, 32])
    given = {"sample_ids": ids, "sample_weights": np.ones(6)}
    ledger.write([record(values=np.zeros(6), **given, sample_clusters=[0, 0, 1, 1, 2, 2])])
    ledger.write([record(QUANTIZE, kind="quantize", values=rise, **given, sample_clusters=[0, 0, 0, 1, 2, 2])])
    (row,) = ledger.rises().to_pylist()
    assert row["stderr"] == pytest.approx(clustered_error(rise, np.ones(6), [0, 0, 0, 0, 1, 1]))
    ledger.write([record(QUANTIZE, kind="quantize", values=rise + 1, seed=1, **given, sample_clusters=[0, 0, 0, 1, 2, 2])])
    (both,) = ledger.differences().to_pylist()
    between = np.var([rise.mean(), rise.mean() + 1], ddof=1) / 2
    assert both["stderr"] == pytest.approx(np.sqrt(clustered_error(rise, np.ones(6), [0, 0, 1, 1, 2, 2]) ** 2 + between))


def test_metrics_of_one_measure_are_records_of_their_own(ledger):
    for change, kind, shift in ((NONE, "none", 0.0), (QUANTIZE, "quantize", 1.0)):
        moved = {"a": shift, "b": 3 * shift}
        ledger.write([record(change, kind=kind, metric=metric, values=np.arange(3.0) + more) for metric, more in moved.items()])
    with pytest.raises(PliantError, match="a record twice"):
        ledger.write([record(seed=5), record(seed=5)])
    assert {row["metric"]: row["rise"] for row in ledger.differences().to_pylist()} == {"a": pytest.approx(1), "b": pytest.approx(3)}
    assert [finding.problem for finding in examined(ledger.folder) if finding.state == "damaged"] == []


def test_a_rise_over_other_samples_is_null(ledger):
    ledger.write([record()])
    ledger.write([record(QUANTIZE, kind="quantize", sample_ids=["doc0:0", "doc1:0", "other:0"])])
    (row,) = ledger.rises().to_pylist()
    assert row["rise"] is None
    assert row["change_kind"] == "quantize"


def test_one_document_has_no_standard_error(ledger):
    ledger.write([record(values=(1.0,))])
    ledger.write([record(QUANTIZE, kind="quantize", values=(1.5,))])
    (row,) = ledger.rises().to_pylist()
    assert (row["rise"], row["stderr"]) == (0.5, None)


@pytest.mark.parametrize(
    "query",
    [
        "copy records to '{folder}/out.parquet'",
        "with stolen as (copy records to '{shard}' (use_tmp_file false)) select * from stolen",
        "select 1) ; copy records to '{shard}' (use_tmp_file false); from (select 1",
        "select * from read_csv('{secret}')",
        "select * from read_text('{secret}')",
        "select * from glob('/*')",
        "select * from '{secret}'",
        "attach '{folder}/other.db'",
        "set enable_external_access = true",
        "create table t as select 1",
        "install httpfs",
        "select 1; select 2",
        "select nothing from records",
        "selec",
        "",
    ],
)
def test_sql_reads_the_ledger_and_nothing_else(ledger, tmp_path, query):
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,2\n")
    ledger.write([record()])
    (shard,) = ledger.shards()
    content, files = shard.read_bytes(), sorted(tmp_path.rglob("*"))
    with pytest.raises(PliantError) as caught:
        ledger.sql(query.format(folder=tmp_path, shard=shard, secret=secret))
    assert len(str(caught.value).splitlines()) == 1
    assert shard.read_bytes() == content
    assert sorted(tmp_path.rglob("*")) == files


@pytest.mark.parametrize(
    "query", ["from records", "select n from records -- all", "select 1 as x;", "describe records", "summarize records"]
)
def test_sql_accepts_the_forms_of_select(ledger, query):
    ledger.write([record()])
    assert ledger.sql(query).num_rows >= 1


def test_variables_of_python_are_not_tables(ledger):
    import pyarrow as pa

    mine = pa.table({"a": [1]})
    with pytest.raises(PliantError, match="mine"):
        ledger.sql("select * from mine")
    assert mine.num_rows == 1


NEWER = json.dumps({"version": VERSION + 1})


@pytest.mark.parametrize(("content", "message"), [(NEWER, "newer"), ("{}", "not a file"), ("no json", "not a file")])
def test_a_ledger_that_cannot_be_read_says_so(tmp_path, content, message):
    (tmp_path / "ledger.json").write_text(content)
    for create in (False, True):
        with pytest.raises(PliantError, match=message):
            Ledger(tmp_path, create=create)


def test_a_folder_without_a_ledger_says_so(tmp_path):
    with pytest.raises(PliantError, match="no ledger here"):
        Ledger(tmp_path / "missing")
    (tmp_path / "file").write_text("")
    with pytest.raises(PliantError, match="no ledger here"):
        Ledger(tmp_path / "file")
    with pytest.raises(PliantError, match="cannot write"):
        Ledger(tmp_path / "file", create=True)


def test_a_damaged_shard_is_named(ledger):
    ledger.write([record()])
    (shard,) = ledger.shards()
    shard.write_bytes(shard.read_bytes()[:100])
    for read in (ledger.records, ledger.finished):
        with pytest.raises(PliantError, match=shard.name):
            read()


def test_a_full_disk_keeps_what_is_finished(ledger, monkeypatch):
    ledger.write([record()])

    def full(self, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(PliantError, match="no space left"):
            ledger.write([record(seed=1)])
    assert count(ledger) == 1
    assert list(ledger.folder.glob("records/.*")) == []
    ledger.write([record(seed=1)])
    assert count(ledger) == 2


def test_a_full_disk_stops_a_merge_and_harms_nothing(ledger, monkeypatch):
    import pyarrow.parquet as pq

    ledger.write([record()])
    ledger.write([record(seed=1)])

    def full(self, table):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(pq.ParquetWriter, "write_table", full)
        with pytest.raises(PliantError, match="no space left"):
            ledger.compact()
    assert count(ledger) == 2


def _hold(folder, ready, done):
    with Ledger(folder).lock():
        ready.set()
        done.wait(20)


def test_only_one_run_writes_at_a_time(ledger):
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    holder = context.Process(target=_hold, args=(ledger.folder, ready, done))
    holder.start()
    try:
        assert ready.wait(20)
        with pytest.raises(PliantError, match=f"another run \\(process {holder.pid}\\)"), ledger.lock():
            pass
    finally:
        holder.kill()
        holder.join()
    with ledger.lock():  # the holder was killed and the lock went with it
        pass


def test_the_lock_follows_no_link(ledger, tmp_path):
    target = tmp_path / "precious"
    target.write_text("of value")
    for place in (target, tmp_path / "new"):
        (ledger.folder / ".lock").symlink_to(place)
        with pytest.raises(PliantError, match=r"\.lock: is a link, which cannot be a lock; remove it"), ledger.lock():
            pass
        (ledger.folder / ".lock").unlink()
    (ledger.folder / ".lock-holder").symlink_to(target)
    with ledger.lock():
        assert not (ledger.folder / ".lock-holder").is_symlink()
    assert (target.read_text(), (tmp_path / "new").exists()) == ("of value", False)
    (ledger.folder / ".lock").unlink()
    (ledger.folder / ".lock").mkdir()
    with pytest.raises(PliantError, match="is no file"), ledger.lock():
        pass


WITHOUT_FCNTL = """
import sys
sys.modules["fcntl"] = None
from pliant import PliantError
from pliant.study import Ledger
one, other = Ledger(sys.argv[1]), Ledger(sys.argv[1])
with one.lock():
    try:
        with other.lock():
            print("both")
    except PliantError as error:
        print(error)
with other.lock():
    print("again")
"""


def test_the_lock_works_on_systems_without_fcntl(ledger):
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT_FCNTL, str(ledger.folder)]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    refused, again = ended.stdout.splitlines()
    assert f"{ledger.folder}: another run (process " in refused, ended.stderr
    assert again == "again"


def test_what_killed_writers_left_is_tidied_in_time(ledger):
    ledger.write([record()])
    old, new = ledger.folder / "records" / ".x.parquet.abc.tmp", ledger.folder / "records" / ".y.parquet.abc.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (0, 0))
    with ledger.lock():
        assert (old.exists(), new.exists()) == (False, True)  # another writer may still be at the new one
    assert count(ledger) == 1


def test_studies_are_remembered(ledger):
    ledger.remember("one", {"name": "one", "questions": ["checkpoint"]}, [])
    ledger.remember("one", {"name": "one", "questions": []}, [])
    ledger.remember("two", {"name": "two"}, [])
    assert sorted(json.dumps(study) for study in ledger.studies()) == ['{"name": "one", "questions": []}', '{"name": "two"}']


def test_only_what_a_study_asks_for_is_shown(ledger):
    old, new, other = record(), record(QUANTIZE, kind="quantize"), record(study="other", base="b1")
    broken = record(seed=7, status="failed", error="no such file")
    ledger.write([old, broken])
    ledger.remember("s", {"name": "s"}, [new.key])
    ledger.write([new])
    ledger.write([other])
    assert {row["key"] for row in ledger.records()} == {new.key, other.key}
    assert ledger.sql("select distinct key from samples order by key")["key"].to_pylist() == sorted([new.key, other.key])
    assert ledger.finished() == {old.key, new.key, other.key}  # the study may take its old form again, and has nothing to measure
    ledger.remember("s", {"name": "s"}, [old.key, broken.key])
    assert {row["key"] for row in ledger.records()} == {old.key, broken.key, other.key}


def test_a_reader_survives_a_merge_between_listing_and_reading(ledger, monkeypatch):
    for seed in range(3):
        ledger.write([record(seed=seed)])
    listed, calls = ledger.shards(), []
    real = Ledger.shards

    def stale(self):
        calls.append(1)
        if len(calls) == 1:
            ledger.compact()
            return listed
        return real(self)

    monkeypatch.setattr(Ledger, "shards", stale)
    assert count(ledger) == 3
