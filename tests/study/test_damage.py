"""Whatever happens to the bytes of a ledger is noticed by whoever reads them, in one line that names the file."""

import contextlib
import os
import shutil

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ledger_rows import record

from pliant import PliantError, decide
from pliant.ledger.layout import verify_records
from pliant.ledger.merging import restate
from pliant.report import report
from pliant.study import Ledger

QUANTIZE = '{"bits":4,"kind":"quantize"}'


@pytest.fixture
def ledger(tmp_path):
    """Two checkpoints, each as it is and quantized; one failure; a study that asks for all of it."""
    made = Ledger(tmp_path / "ledger", create=True)
    for base, tokens in (("b0", 1000), ("b1", 2000)):
        made.write([record(base=base, tokens=tokens), record(QUANTIZE, kind="quantize", base=base, tokens=tokens, values=(2.0, 3.0, 5.0))])
    made.write([record(seed=7, status="failed", error="out of memory")])
    made.remember("s", {"name": "s", "questions": ["checkpoint"]}, {row["key"] for row in made.records()})
    return made


READERS = {
    "show": lambda ledger, place: ledger.records(),
    "rises": lambda ledger, place: ledger.rises(),
    "sql": lambda ledger, place: ledger.sql("select count(*) from samples"),
    "plan": lambda ledger, place: ledger.finished(),
    "decide": lambda ledger, place: decide.checkpoint(ledger),
    "report": lambda ledger, place: report(ledger, place / "report.html"),
    "compact": lambda ledger, place: ledger.compact(),
    "restate": lambda ledger, place: restate(ledger, {"some key": {"tokens": 5}}),
    "remember": lambda ledger, place: ledger.remember("s", {"name": "s"}, []),
}


def files(ledger):
    return {path: path.read_bytes() for path in sorted(ledger.folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("where", ["data", "footer", "length", "magic", "short", "empty"])
@pytest.mark.parametrize("kind", ["records", "failures", "merged"])
def test_a_damaged_file_stops_every_reader_with_one_line(ledger, tmp_path, where, kind):
    if kind == "merged":
        ledger.compact()
    victim = (ledger.failures() if kind == "failures" else ledger.shards())[0]
    whole = victim.read_bytes()
    position = {"data": 40, "footer": -500, "length": -6, "magic": -2}.get(where, 0)
    damaged = bytearray(whole)
    damaged[position] ^= 4
    victim.write_bytes({"short": whole[: len(whole) // 2], "empty": b""}.get(where, bytes(damaged)))
    before = files(ledger)
    for name, read in READERS.items():
        if kind == "failures" and name in ("compact", "plan", "restate"):
            continue  # these have no use for failures
        with pytest.raises(PliantError) as caught:
            read(Ledger(ledger.folder), tmp_path)
        message = str(caught.value)
        assert len(message.splitlines()) == 1, name
        assert (str(victim) in message, "is damaged" in message, "move it away and run the study again" in message) == (True,) * 3, name
    assert files(ledger) == before  # and nobody made it worse


def test_every_flipped_bit_of_a_shard_is_noticed(ledger):
    shard = ledger.shards()[0]
    whole = shard.read_bytes()
    generator = np.random.default_rng(0)
    with shard.open("r+b", buffering=0) as stream:
        for position, byte in enumerate(whole):
            os.pwrite(stream.fileno(), bytes([byte ^ (1 << int(generator.integers(8)))]), position)
            with pytest.raises(PliantError, match="is damaged"):
                verify_records(shard)
            os.pwrite(stream.fileno(), bytes([byte]), position)
    verify_records(shard)
    for length in range(0, len(whole), 7):
        shard.write_bytes(whole[:length])
        with pytest.raises(PliantError, match="is damaged"):
            verify_records(shard)
    shard.write_bytes(whole + b"\0")
    with pytest.raises(PliantError, match="is damaged"):
        verify_records(shard)


def test_damage_after_a_first_look_is_noticed(ledger):
    """A file is read again as soon as it may have changed, also where its size and time say that it has not."""
    shard = ledger.shards()[0]
    for age in (0, 3600):
        status = shard.stat()
        os.utime(shard, ns=(status.st_atime_ns, status.st_mtime_ns - age * 10**9))
        ledger.records()
        status, whole = shard.stat(), shard.read_bytes()
        with shard.open("r+b", buffering=0) as stream:
            os.pwrite(stream.fileno(), bytes([whole[50] ^ 1]), 50)
        os.utime(shard, ns=(status.st_atime_ns, status.st_mtime_ns))
        with pytest.raises(PliantError, match="is damaged"):
            ledger.records()
        shard.write_bytes(whole)


def test_what_a_damaged_file_held_is_all_that_is_lost(ledger):
    victim, other = ledger.shards()
    kept = {row["key"] for row in pq.ParquetFile(other).read(["key"]).to_pylist()}
    victim.write_bytes(b"")
    victim.rename(victim.with_suffix(".away"))
    assert ledger.finished() == kept


@pytest.mark.parametrize("name", ["ledger.json", "studies"])
def test_every_flipped_bit_of_a_side_file_is_noticed(ledger, name):
    (path,) = [ledger.folder / name] if name.endswith("json") else list((ledger.folder / name).glob("*.json"))
    whole = path.read_bytes()
    for position, byte in enumerate(whole):
        for bit in range(8):
            path.write_bytes(whole[:position] + bytes([byte ^ (1 << bit)]) + whole[position + 1 :])
            with pytest.raises(PliantError) as caught:
                Ledger(ledger.folder).outdated()
            assert len(str(caught.value).splitlines()) == 1
    path.write_bytes(whole)
    assert len(ledger.records()) == 5


ODD = ["", "[]", "null", "1", '"x"', "[" * 100_000, '{"study": {"name": "s"}}', '{"study": 1, "outdated": []}']
ODD += [
    '{"study": {"name": "s"}, "outdated": ' + rest + "}"
    for rest in ("[1]", "{}", "NaN", '[], "sha256": null, "more": 1', '[], "sha256": 5')
]
ODD += ['{"study": {}, "outdated": []}']


@pytest.mark.parametrize("content", ODD)
def test_a_side_file_of_another_kind_is_one_line(ledger, content):
    (path,) = (ledger.folder / "studies").glob("*.json")
    path.write_text(content, encoding="utf-8")
    for read in (ledger.records, ledger.studies, ledger.outdated):
        with pytest.raises(PliantError) as caught:
            read()
        message = str(caught.value)
        assert (message.startswith(f"{path}: is damaged"), len(message.splitlines()), len(message) < 500) == (True, 1, True)
    path.unlink()
    ledger.remember("s", {"name": "s"}, [])  # as the next run does
    assert len(ledger.outdated()) == 5


@pytest.mark.parametrize("kind", ["folder", "pipe", "link"])
@pytest.mark.parametrize("name", ["records/{:064}.parquet", "failures/x.parquet", "studies/x.json", "ledger.json"])
def test_what_is_no_file_is_one_line(ledger, kind, name):
    path = ledger.folder / name.format(0)
    path.unlink(missing_ok=True)
    {"folder": path.mkdir, "pipe": lambda: os.mkfifo(path), "link": lambda: path.symlink_to("nowhere")}[kind]()
    with pytest.raises(PliantError) as caught:
        Ledger(ledger.folder).records()
    assert len(str(caught.value).splitlines()) == 1


# --- files without a seal


def unsealed(ledger, table=None):
    """The ledger's first shard as pliant wrote it before there were seals, with other content where a table is given."""
    shard = ledger.shards()[0]
    path = shard.with_name(f"{shard.name[:16]}.parquet")
    table = pq.ParquetFile(shard).read() if table is None else table
    shard.unlink()
    pq.write_table(table, path, compression="lz4")
    return path


def test_a_ledger_from_before_seals_opens_and_the_next_merge_seals_it(ledger):
    before = ledger.records()
    path = unsealed(ledger)
    assert ledger.records() == before
    ledger.compact(at_least=256)
    (shard,) = ledger.shards()
    assert not path.exists()
    assert len(shard.stem.rpartition("-")[2]) == 64
    assert ledger.records() == before
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(PliantError, match="is damaged"):
        ledger.records()


def test_a_record_measured_again_takes_the_place_of_one_without_a_seal(ledger):
    before = ledger.records()
    shard, content = ledger.shards()[0], ledger.shards()[0].read_bytes()
    unsealed(ledger)
    shard.write_bytes(content)
    assert ledger.records() == before
    ledger.compact()
    assert ledger.records() == before


def test_a_damaged_file_without_a_seal_is_never_a_traceback(ledger):
    path = unsealed(ledger)
    whole, generator = path.read_bytes(), np.random.default_rng(1)
    messages: list[str] = []
    for _ in range(300):
        damaged = bytearray(whole)
        damaged[int(generator.integers(len(whole)))] ^= 1 << int(generator.integers(8))
        path.write_bytes(damaged)
        with contextlib.suppress(PliantError):
            verify_records(path)
            continue
        with pytest.raises(PliantError) as caught:
            verify_records(path)
        messages.append(str(caught.value))
    assert len(messages) > 50
    assert all(message.startswith(f"{path}: is damaged") and len(message.splitlines()) == 1 for message in messages)


def replaced(table, column, values):
    field = table.schema.field(column)
    return table.set_column(table.schema.get_field_index(column), field, pa.array(values, field.type))


def retyped(table, column, kind):
    return table.set_column(table.schema.get_field_index(column), column, table[column].cast(kind))


LISTS = [["doc0:0", "doc1:0", "doc2:0"]] * 2
WRONG = {
    "a value that is no number in 'value'": lambda table: replaced(table, "value", [1.0, float("nan")]),
    "a value that is no number in 'stderr'": lambda table: replaced(table, "stderr", [float("inf"), None]),
    "a value that is no number in 'sample_values'": lambda table: replaced(table, "sample_values", [[1.0, float("nan"), 2.0]] * 2),
    "a negative number in 'tokens'": lambda table: replaced(table, "tokens", [1, -1]),
    "a negative number in 'sample_weights'": lambda table: replaced(table, "sample_weights", [[1.0, -1.0, 1.0]] * 2),
    "a negative number in 'sample_clusters'": lambda table: replaced(table, "sample_clusters", [[0, -1, 1], None]),
    "a null among 'sample_clusters'": lambda table: replaced(table, "sample_clusters", [None, [0, None, 1]]),
    "or answers of samples in unequal numbers": lambda table: replaced(table, "sample_clusters", [None, [0, 1]]),
    "unknown status 'done'": lambda table: replaced(table, "status", ["ok", "done"]),
    "status 'failed' is not for this folder": lambda table: replaced(table, "status", ["failed"] * 2),
    "a sample twice in one record": lambda table: replaced(table, "sample_ids", [["a:0", "a:0", "b:0"], LISTS[0]]),
    "a record twice": lambda table: pa.concat_tables([table, table]),
    "a null in 'checkpoint'": lambda table: replaced(table, "checkpoint", ["a", None]),
    "a null in 'change_json'": lambda table: replaced(table, "change_json", [None, None]),
    "a null in 'sample_ids'": lambda table: replaced(table, "sample_ids", [LISTS[0], None]),
    "a null among 'sample_values'": lambda table: replaced(table, "sample_values", [[1.0, None, 2.0]] * 2),
    "a null in 'value' of a finished record": lambda table: replaced(table, "value", [1.0, None]),
    "a null in 'unit' of a finished record": lambda table: replaced(table, "unit", ["nats", None]),
    "samples in unequal numbers": lambda table: replaced(table, "sample_weights", [[1.0, 2.0]] * 2),
    "'n' is not the number of samples": lambda table: replaced(table, "n", [3, 4]),
    "change_json: is not valid JSON": lambda table: replaced(table, "change_json", ["{", "{"]),
    "measure_json without a `kind`": lambda table: replaced(table, "measure_json", ["[]", "{}"]),
    "without the column 'cell'": lambda table: table.drop_columns(["cell"]),
    "unknown or repeated columns: new": lambda table: table.append_column("new", table["cell"]),
    "column 'tokens' is double": lambda table: retyped(table, "tokens", pa.float64()),
    "column 'value' is string": lambda table: retyped(table, "value", pa.string()),
    "column 'sample_ids' is": lambda table: retyped(table, "sample_ids", pa.list_(pa.large_string())),
}


@pytest.mark.parametrize("problem", WRONG)
def test_records_that_cannot_be_are_refused(ledger, problem):
    table = pq.ParquetFile(ledger.shards()[0]).read()
    path = unsealed(ledger, WRONG[problem](table))
    with pytest.raises(PliantError) as caught:
        ledger.records()
    message = str(caught.value)
    assert (str(path) in message, problem in message, len(message.splitlines())) == (True, True, 1), message


@pytest.mark.parametrize(
    "fields",
    [
        {"value": float("nan")},
        {"value": None},
        {"tokens": -1},
        {"tokens": 10**30},
        {"status": "done"},
        {"sample_ids": ["a:0", "a:0", "b:0"]},
        {"sample_ids": ["a:0"]},
        {"change_json": "nonsense"},
        {"checkpoint": None},
        {"peak_lr": "fast"},
    ],
)
def test_such_records_are_not_written_either(ledger, fields):
    before = files(ledger)
    with pytest.raises(PliantError, match="cannot be kept"):
        ledger.write([record(seed=9, **fields)])
    assert files(ledger) == before


def test_names_may_hold_anything(tmp_path):
    odd = "a\u2028b\nc\x1b[31m'\"%;--\u00fc"
    ledger = Ledger(tmp_path / odd.replace("/", "") / "run[lr=1e-4,bs=8]" / "a*?=b", create=True)
    named = {"study": odd, "checkpoint": f"{odd}@1", "measure": odd, "measure_json": '{"kind":"loss"}'}
    ledger.write([record(**named)])
    ledger.write([record(QUANTIZE, kind="quantize", **named)])
    ledger.remember(odd, {"name": odd}, {row["key"] for row in ledger.records()})
    assert {(row["study"], row["checkpoint"], row["measure"]) for row in ledger.records()} == {(odd, f"{odd}@1", odd)}
    ledger.compact()
    assert ledger.rises()["rise"].to_pylist() == [0.0]
    shutil.copytree(ledger.folder, tmp_path / "x=1" / "copy")
    assert Ledger(tmp_path / "x=1" / "copy").records() == ledger.records()
    assert ledger.studies() == [{"name": odd}]


def test_names_from_a_locale_without_utf8_are_kept_as_text(ledger):
    """There, Python spells the bytes of arguments and paths as halves of characters; what is neither is spelled out."""
    ledger.write([record(seed=9, study="caf\udcc3\udca9", checkpoint="a/\udcff", phase="\ud800")])
    (row,) = ledger.sql("select study, checkpoint, phase from records where study = 'caf\udcc3\udca9'").to_pylist()
    assert row == {"study": "café", "checkpoint": "a/\\xff", "phase": "\\ud800"}
    ledger.remember("caf\udcc3\udca9", {"name": "café"}, [])
    assert len(ledger.outdated()) == 1


def test_a_file_of_zeros_of_any_size_is_damaged(ledger):
    """As a crash can leave it: so large that reading it through would take hours."""
    victim = ledger.shards()[0]
    os.truncate(victim, 0)
    os.truncate(victim, 2**41)
    with pytest.raises(PliantError, match="is damaged"):
        ledger.records()
