"""Running studies: what is measured is what measuring by hand gives, failures stay where they are, and nothing runs twice."""

import errno
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from awkward import Nonsense, Norm, Refuse

import pliant.study.pool
from pliant import PliantError
from pliant.changes import Perturb, Quantize
from pliant.measures import MEASURES
from pliant.models import load
from pliant.study.running import run
from pliant.study.study import Study


def rows(runs):
    """Everything that two runs of a study must agree on, samples included."""
    columns = "* exclude (seconds)"
    records = runs.ledger.sql(f"select {columns} from records order by key, draw").to_pylist()
    return records, runs.ledger.sql("select * from samples order by key, draw, sample").to_pylist()


def test_the_ledger_holds_what_measuring_by_hand_gives(form, folders, tmp_path):
    runs = run(form, tmp_path / "ledger", workers=0)
    loss = MEASURES.parse(form["measures"]["generic"])
    model = load(folders / "step2-tokens2M")
    by_hand = {("none", 0, 0): loss(model)}
    with Quantize(bits=3).applied(model):
        by_hand["quantize", 0, 0] = loss(model)
    for seed in (0, 1):
        for draw in (0, 1):
            with Perturb(scale=0.2, draws=2).applied(model, seed, draw):
                by_hand["perturb", seed, draw] = loss(model)
                noisy = model.weights()
    found = runs.ledger.records("tokens = 2000000 and (change_kind <> 'perturb' or (change->>'scale')::float = 0.2::float)")
    assert len(found) == len(by_hand)
    for row in found:
        expected = by_hand[row["change_kind"], row["seed"], row["draw"]]
        assert row["value"] == expected.estimate().value
        assert row["stderr"] == expected.estimate().stderr
        assert (row["n"], row["unit"], row["data"]) == (8, "nats/token", expected.data)
        assert row["base_weights"] == model.weights()
    assert next(row["weights"] for row in found if (row["seed"], row["draw"]) == (1, 1)) == noisy
    rise = by_hand["quantize", 0, 0] - by_hand["none", 0, 0]
    (paired,) = runs.ledger.sql("select rise, stderr from rises where tokens = 2000000 and change_kind = 'quantize'").to_pylist()
    assert paired["rise"] == pytest.approx(rise.estimate().value)
    assert paired["stderr"] == pytest.approx(rise.estimate().stderr)


def test_split_noise_is_two_records_with_every_share_under_its_own_draw(form, folders, tmp_path):
    split = {"perturb": {"scale": 0.2, "draws": 8, "split": True}}
    runs = run(form | {"changes": [split], "seeds": 3}, tmp_path / "ledger", workers=0)
    loss = MEASURES.parse(form["measures"]["generic"])
    model = load(folders / "step2-tokens2M")
    base = loss(model)
    where = "tokens = 2000000 and change_kind = 'perturb'"
    stored = runs.ledger.sql(f"select draw, sample, value, weights from samples where {where}").to_pylist()
    hashes = set()
    for draw in (0, 1):
        readings = []
        for share, part in enumerate(loss.in_shares(model, 4)):
            with Perturb(scale=0.2).applied(model, 3, 2 * share + draw):
                readings += part(model)
                hashes.add(model.weights())
        found = {row["sample"]: row["value"] for row in stored if row["draw"] == draw}
        assert list(found) == list(base.samples)
        assert found == dict(zip(base.samples, np.concatenate([reading.values for reading in readings]), strict=True))
    assert len(hashes) == 8
    assert len({row["weights"] for row in stored} - hashes) == 2  # a record's hash is that of its four shares' hashes
    (row,) = runs.ledger.sql(f"select rise, stderr, n, draws from rises where {where}").to_pylist()
    expected = (Perturb(scale=0.2, draws=8, split=True).measured(model, loss, 3) - base).estimate()
    assert (row["rise"], row["stderr"]) == (pytest.approx(expected.value), pytest.approx(expected.stderr))
    assert (row["n"], row["draws"]) == (8, 8)


def test_noise_that_cannot_be_split_is_a_failure_of_its_measure(form, tmp_path):
    form |= {"changes": [{"perturb": {"scale": 0.1, "draws": 18, "split": True}}], "seeds": 0}
    form["measures"] |= {"more": {"loss": form["measures"]["generic"]["loss"] | {"samples": 9}}, "norm": Norm()}
    runs = run(form, tmp_path / "ledger", workers=0)
    errors = {(row["measure"], row["error"]) for row in runs.failed}
    assert errors == {
        ("generic", "8 samples cannot be shared among 9 pairs of draws; lower `draws` to 16 or read more samples"),
        ("norm", "norm cannot be read in shares; leave out `split`"),
    }
    assert {row["measure"] for row in runs.ledger.rises().to_pylist()} == {"more"}


def test_two_runs_agree_and_a_third_has_nothing_to_do(trained, tmp_path, monkeypatch):
    first, second = (run(trained, tmp_path / name, workers=0) for name in "ab")
    assert len(first.records()) == 12
    assert [Study.parse(stored) for stored in first.ledger.studies()] == [Study.parse(trained)]
    assert first.failed == []
    assert rows(first) == rows(second)
    monkeypatch.setattr(pliant.study.pool, "run_here", lambda *arguments: pytest.fail("something was measured again"))
    assert rows(run(trained, tmp_path / "a", workers=0)) == rows(second)


@pytest.mark.parametrize("kind", ["form", "trained"])
def test_an_equal_key_means_equal_bytes(kind, tmp_path, monkeypatch, request):
    """With a clock that stands still (`seconds` is the one column that tells of it), two runs write the same files, byte for byte."""
    monkeypatch.setattr("pliant.study.cell.time", SimpleNamespace(perf_counter=lambda: 0.0))
    study = request.getfixturevalue(kind)
    written = []
    for name in ("one", "two"):
        runs = run(study, tmp_path / name, workers=0, quiet=True)
        assert not runs.failed
        shards = runs.ledger.shards()
        written.append({path.name: path.read_bytes() for path in shards})
    assert written[0] == written[1]
    assert len(written[0]) > 3


def test_trained_checkpoints_are_kept_and_their_facts_recorded(trained, tmp_path):
    runs = run(trained, tmp_path / "ledger", workers=0)
    assert len([path for path in runs.ledger.checkpoints.iterdir() if (path / "model.safetensors").exists()]) == 4
    for row in runs.records():
        assert row["final_lr"] == pytest.approx(0.0)
        assert row["peak_lr"] == pytest.approx(1e-2)
        assert row["training_seed"] == row["seed"]
        assert row["tokens"] in (3968, 4096, 7936, 8064, 8192)
    assert len({row["base_weights"] for row in runs.records()}) == 4


def test_a_cell_that_fails_is_a_row_and_the_next_run_tries_it_again(form, tmp_path):
    ready = tmp_path / "ready"
    form |= {"changes": [Refuse(until=str(ready)), Refuse(mistake=True), Quantize(bits=3)], "seeds": 0}
    study = Study.parse(form)
    runs = run(study, tmp_path / "ledger", workers=0)
    errors = sorted(row["error"] for row in runs.failed)
    assert errors == ["KeyError: 'a mistake'"] * 2 + ["this model cannot be changed so"] * 2
    finished = runs.ledger.records("status = 'ok'")
    assert sorted(row["change_kind"] for row in finished) == ["none", "none", "quantize", "quantize"]
    values = {row["change_kind"]: row["value"] for row in finished}
    assert values["none"] != values["quantize"]  # the half-changed weights were put back
    for row in runs.failed:
        assert (row["value"], row["n"], row["metric"]) == (None, None, None)
        assert row["change"]["kind"] == "refuse"
    ready.touch()
    again = run(study, tmp_path / "ledger", workers=0)
    assert [row["error"] for row in again.failed] == ["KeyError: 'a mistake'"] * 2
    assert len(again.records()) == 8


def test_a_measure_that_fails_spares_the_others(form, tmp_path):
    form |= {"changes": [], "measures": {"norm": Norm(), "nonsense": Nonsense()}, "seeds": 0}
    runs = run(Study.parse(form), tmp_path / "ledger", workers=0)
    assert sorted((row["measure"], row["status"]) for row in runs.records()) == [("nonsense", "failed")] * 2 + [("norm", "ok")] * 2


def test_a_checkpoint_that_cannot_be_loaded_fails_its_cells_only(form, folders, tmp_path):
    import shutil

    shutil.copytree(folders, tmp_path / "all")
    broken = tmp_path / "all" / "step1-tokens1M" / "model.safetensors"
    good = broken.read_bytes()
    broken.write_bytes(good[:1000])
    form |= {"checkpoints": [str(tmp_path / "all" / "step*")], "seeds": 0}
    runs = run(form, tmp_path / "ledger", workers=0)
    assert {row["tokens"]: row["status"] for row in runs.records()} == {1_000_000: "failed", 2_000_000: "ok"}
    assert all("model.safetensors" in row["error"] or "step1" in row["error"] for row in runs.failed)
    broken.write_bytes(good)
    again = run(form, tmp_path / "ledger", workers=0)
    assert again.failed == []
    assert {row["tokens"]: row["status"] for row in again.records()} == {1_000_000: "ok", 2_000_000: "ok"}


def test_a_disk_that_fills_up_ends_the_run_and_keeps_what_is_finished(form, tmp_path, monkeypatch):
    real, written = Path.write_bytes, []

    def filling(self, content):
        if "records" in self.parts:
            written.append(self)
            if len(written) > 3:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(self, content)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", filling)
        with pytest.raises(PliantError, match="no space left"):
            run(form, tmp_path / "ledger", workers=0)
    complete = run(form, tmp_path / "other", workers=0)
    kept = run(form, tmp_path / "ledger", workers=0)
    assert rows(kept) == rows(complete)


def test_a_ledger_that_cannot_be_written_says_so(form, tmp_path, monkeypatch):
    def refuse(*arguments, **settings):
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(PliantError, match="cannot write"):
        run(form, tmp_path / "ledger", workers=0)


def test_interrupted_studies_keep_what_is_finished(form, tmp_path, monkeypatch):
    from pliant.ledger.ledger import Ledger

    real, written = Ledger.write, []

    def interrupting(self, records):
        real(self, records)
        written.append(records)
        if len(written) == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Ledger, "write", interrupting)
        with pytest.raises(KeyboardInterrupt):
            run(form, tmp_path / "ledger", workers=0)
    finished = Ledger(tmp_path / "ledger").finished()
    assert finished == {record.key for records in written for record in records}
    assert rows(run(form, tmp_path / "ledger", workers=0)) == rows(run(form, tmp_path / "other", workers=0))


def test_ray_is_asked_for_only_where_it_is_installed(form, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(PliantError, match=r"pliant\[scale\]"):
        run(form, tmp_path / "ledger", executor="ray")


def test_a_ray_cluster_measures_the_same(form, tmp_path):
    pytest.importorskip("ray", reason="ray is not installed (extra scale)")
    alone = run(form, tmp_path / "alone", workers=0)
    assert rows(run(form, tmp_path / "cluster", workers=2, executor="ray")) == rows(alone)


def test_kinds_defined_in_a_notebook_run_in_this_process(form, tmp_path, monkeypatch):
    monkeypatch.setattr(Norm, "__module__", "__main__")
    monkeypatch.setattr("pliant.study.staffing.SOON", 0.0)
    form |= {"changes": [], "measures": {"norm": Norm()}}
    with pytest.raises(PliantError, match="Norm is defined in a notebook"):
        run(form, tmp_path / "ledger", workers=2)
    assert len(run(form, tmp_path / "ledger").records()) == 2


def test_dtype_is_of_stored_checkpoints(form, trained, tmp_path):
    form |= {"changes": [], "seeds": 0}
    assert {row["dtype"] for row in run(form, tmp_path / "ledger", workers=0, dtype="bfloat16").records()} == {"bfloat16"}
    assert {row["dtype"] for row in run(form, tmp_path / "ledger", workers=0).records()} == {"float32"}
    with pytest.raises(PliantError, match="trained here"):
        run(trained, tmp_path / "ledger", workers=0, dtype="bfloat16")
    with pytest.raises(PliantError, match="did you mean 'bfloat16'"):
        run(form, tmp_path / "ledger", workers=0, dtype="bloat16")


@pytest.mark.parametrize("device", ["cuda:99", "nonsense"])
def test_a_device_that_is_not_there_is_named_before_anything_runs(form, tmp_path, device):
    with pytest.raises(PliantError, match=device):
        run(form, tmp_path / "ledger", workers=0, device=device)
    assert not (tmp_path / "ledger").exists()


def test_runs_offer_tables(form, tmp_path):
    form |= {"seeds": 0}
    runs = run(form, tmp_path / "ledger", workers=0)
    assert runs.table().num_rows == len(runs.records()) == 12
    assert set(np.unique(runs.rises()["change_kind"])) == {"perturb", "quantize"}
    assert runs.rises().num_rows == 6
