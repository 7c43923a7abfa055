"""`pliant check`: what it finds, and how it ends; and ledgers under locales without UTF-8."""

import json
import os
import shutil
import subprocess
import sys

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pliant import PliantError
from pliant.ledger.seal import write_sealed
from pliant.study import Ledger
from synthetic_ledger import synthetic_ledger


@pytest.fixture
def ledger(tmp_path):
    return synthetic_ledger(tmp_path / "ledger", seeds=[0], samples=4, failed={1_000_000: "out of memory"})


def test_a_whole_ledger_is_verified(ledger, pliant):
    code, out, errors = pliant("check", ledger.folder, "--json")
    answer = json.loads(out)
    counts = [answer[state] for state in ("verified", "unverified", "damaged")]
    assert (code, counts, errors) == (0, [len(answer["files"]), 0, 0], "")
    names = {finding["file"].partition("/")[0] for finding in answer["files"]}
    assert names == {"ledger.json", "records", "failures", "studies"}
    assert pliant("check", ledger.folder)[:2] == (0, f"{ledger.folder}: {counts[0]} verified, 0 unverified, 0 damaged\n")


def test_files_from_before_seals_are_unverified_and_no_fault(ledger, pliant):
    (shard,) = ledger.shards()
    shard.rename(shard.with_name("0123456789abcdef.parquet"))
    code, out, _ = pliant("check", ledger.folder, "--json")
    (finding,) = (finding for finding in json.loads(out)["files"] if finding["state"] != "verified")
    assert code == 0
    assert (finding["file"], finding["state"]) == ("records/0123456789abcdef.parquet", "unverified")
    assert "unverified" in pliant("check", ledger.folder)[1]
    assert pliant("show", ledger.folder)[2].count("unverified") == 0


def test_everything_damaged_is_named_at_once(ledger, pliant):
    (shard,), (failure, *_), (study,) = ledger.shards(), ledger.failures(), list(ledger.folder.glob("studies/*.json"))
    shard.write_bytes(shard.read_bytes()[:-100])
    failure.write_bytes(b"")
    study.write_text("{}")
    (ledger.folder / "ledger.json").write_text("[]")
    (ledger.folder / ".lock").symlink_to("elsewhere")
    (ledger.folder / "records" / "notes.txt").write_text("mine")
    code, out, errors = pliant("check", ledger.folder, "--json")
    damaged = [finding for finding in json.loads(out)["files"] if finding["state"] == "damaged"]
    names = {str(path.relative_to(ledger.folder)) for path in (shard, failure, study)}
    assert (code, errors) == (1, "")
    assert {finding["file"] for finding in damaged} == {*names, "ledger.json", ".lock", "records/notes.txt"}
    assert all(finding["problem"] and "move" in finding["remedy"] for finding in damaged)
    code, out, _ = pliant("check", ledger.folder)
    assert (code, all(name in out for name in names), f"{len(damaged)} damaged" in out) == (1, True, True)


def test_a_record_in_two_files_is_named(ledger, pliant):
    (shard,) = ledger.shards()
    shutil.copy(shard, shard.with_name(f"copy-{shard.name.rpartition('-')[2]}"))
    code, out, _ = pliant("check", ledger.folder)
    assert (code, "as well" in out, "move one of the two away" in out) == (1, True, True)


def test_a_seal_does_not_make_nonsense_right(ledger, pliant):
    """Whoever alters a file and gives it a fitting name is still found out here."""
    (shard,) = ledger.shards()
    table = pq.ParquetFile(shard).read()
    table = table.set_column(table.schema.get_field_index("tokens"), table.schema.field("tokens"), pa.array([-1] * len(table), pa.int64()))
    pq.write_table(table, shard.parent / "x")
    write_sealed(shard.parent, "x", (shard.parent / "x").read_bytes())
    (shard.parent / "x").unlink()
    shard.unlink()
    code, out, _ = pliant("check", ledger.folder)
    assert (code, "a negative number in 'tokens'" in out) == (1, True)


@pytest.mark.parametrize("what", ["missing", "file", "other", "newer"])
def test_where_there_is_no_ledger_it_ends_with_2(tmp_path, pliant, what):
    place = tmp_path / what
    if what == "file":
        place.write_text("")
    elif what != "missing":
        place.mkdir()
    if what == "newer":
        (place / "ledger.json").write_text('{"format": "pliant ledger", "version": 99}')
    code, out, errors = pliant("check", place)
    assert (code, out, len(errors.splitlines())) == (2, "", 1)
    assert ("newer pliant" if what == "newer" else "no ledger here") in errors


READERS = [["show", "LEDGER"], ["show", "LEDGER", "--sql", "select count(*) from records where measure <> 'mäß'"], ["check", "LEDGER"]]
READERS += [["decide", "checkpoint", "--ledger", "LEDGER"], ["report", "LEDGER", "-o", "OUT"]]


EACH = """
import sys
from pliant.cli import main
words = sys.argv[1:]
while words:
    end = words.index("END")
    sys.argv, words = ["pliant", *words[:end]], words[end + 1 :]
    try:
        main()
    except SystemExit as ended:
        print("ended with", ended.code)
"""


@pytest.mark.slow
def test_a_locale_without_utf8_reads_any_ledger(tmp_path):
    folder = tmp_path / "übung 日本"
    synthetic_ledger(folder, seeds=[0], samples=4, study="étude", measures=("größe", "mäß"))
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "utf-8"}
    calls = [[{"LEDGER": str(folder), "OUT": str(tmp_path / "out.html")}.get(word, word) for word in words] for words in READERS]
    given = [word for call in calls for word in (*call, "END")]
    ended = subprocess.run([sys.executable, "-c", EACH, *given], capture_output=True, env=environment, check=False)
    assert ended.stdout.decode().count("ended with 0") == len(calls), ended.stderr.decode()


def test_a_folder_whose_name_is_no_text_is_one_line(tmp_path):
    for create in (False, True):
        with pytest.raises(PliantError, match="must be UTF-8 text"):
            Ledger(tmp_path / os.fsdecode(b"bytes \xff\xfe"), create=create)
    assert list(tmp_path.iterdir()) == []
