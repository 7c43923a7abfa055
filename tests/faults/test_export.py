"""Reports and exported models: whoever opens the page or the folder finds the old one or the new one, whole."""

import shutil

import pytest

pytest.importorskip("fcntl")
from machine import simulated_disk
from schedule import key_of, made
from turns import turns

from pliant.ledger import seal
from pliant.ledger.ledger import Ledger
from pliant.report import page, report


def whole(folder):
    """A folder's files with their content; None where there is no folder."""
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()} if folder.is_dir() else None


def tidy(place, keep):
    """Remove what killed processes left beside `keep`; nobody else may need it."""
    for path in place.iterdir():
        if path not in keep:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


@pytest.mark.slow
def test_a_report_is_the_old_page_or_the_new_one(tmp_path, monkeypatch):
    """What it reads fails in turn, too: a page of half a ledger would be worse than none."""
    monkeypatch.setattr(page, "page", lambda results: f"{len(results.records)} records, {len(results.failures)} failed. " * 1000)
    monkeypatch.setattr(seal, "SETTLED", 10**18)  # nothing is old enough to be trusted unread, so every turn reads the same
    ledger, target = Ledger(tmp_path / "ledger", create=True), tmp_path / "report.html"
    ledger.write([made(0, "a", 0, 1, 1000), made(1, "a", 0, 1, 1000)])
    ledger.write([made(2, "a", 0, 1, 1000, error="out of luck")])
    ledger.remember("s", {"kind": "study", "name": "s", "seeds": [0]}, [key_of(cell, "a") for cell in range(3)])
    report(ledger, target)
    new = target.read_text()
    assert new.startswith(("2 records, 1 failed", "3 records, 1 failed"))

    def prepare():
        target.write_text("the old page")

    with simulated_disk():
        for process in turns(tmp_path, prepare, lambda process: report(tmp_path / "ledger", target)):
            assert target.read_text() in ({new} if process.error is None else {new, "the old page"}), process.operations
            tidy(tmp_path, {target, ledger.folder})


@pytest.mark.slow
def test_an_exported_model_is_the_old_folder_or_the_new_one(tmp_path):
    """Of a kill between two renames the old one lies beside, hidden and whole."""
    import safetensors.torch
    from transformers import modeling_utils

    from pliant.data import load_tokenizer
    from pliant.models import build, save

    place, kept = tmp_path / "place", tmp_path / "kept"
    old, new = (build("llama-16x1", load_tokenizer("ascii"), seed, context=32) for seed in (0, 1))
    save(old, kept)
    save(new, place / "model")
    before, after = whole(kept), whole(place / "model")
    assert before != after

    def prepare():
        shutil.rmtree(place)
        shutil.copytree(kept, place / "model")

    native = [(safetensors.torch, "save_file")] + [(modeling_utils, "safe_save_file")] * hasattr(modeling_utils, "safe_save_file")
    with simulated_disk(*native):
        for process in turns(tmp_path, prepare, lambda process: save(new, place / "model")):
            found = whole(place / "model")
            if process.dead and found is None:
                assert any(whole(path) == before for path in place.rglob(".*")) or any(whole(path) == before for path in place.rglob("old"))
            else:
                right = found == after or (found == before and process.error is not None)
                assert right, "\n".join(process.operations)
        save(new, place / "model")
        assert whole(place / "model") == after
