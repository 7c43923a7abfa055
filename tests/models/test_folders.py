import json
import pickle
import shutil

import pytest
import torch

from pliant.errors import PliantError
from pliant.models import FolderLadder, build, save
from pliant.models.trainer_state import read_trainer_state


def write_state(folder, **state):
    (folder / "trainer_state.json").write_text(json.dumps({"global_step": 10, "log_history": [], **state}))


def series(saved, tmp_path, *names):
    for name in names:
        shutil.copytree(saved, tmp_path / name)
    return tmp_path


def names(rungs):
    return [rung.path.rsplit("/", 1)[-1] for rung in rungs]


@pytest.fixture(scope="module")
def trainer_run(tmp_path_factory, ascii_tokenizer):
    """Four steps of the transformers Trainer itself, saved at 2 and 4."""
    pytest.importorskip("accelerate")
    from transformers import Trainer, TrainingArguments

    folder = tmp_path_factory.mktemp("trainer")
    network = build("llama-16x1", ascii_tokenizer, context=8).network
    rows = [{"input_ids": list(range(start, start + 8)), "labels": list(range(start, start + 8))} for start in range(16)]
    arguments = TrainingArguments(
        output_dir=str(folder), max_steps=4, save_steps=2, logging_steps=1, per_device_train_batch_size=3, learning_rate=1e-3,
        lr_scheduler_type="linear", include_num_input_tokens_seen=True, report_to=[], disable_tqdm=True, use_cpu=True,
    )  # fmt: skip
    Trainer(network, arguments, train_dataset=rows).train()
    for checkpoint in folder.glob("checkpoint-*"):
        ascii_tokenizer.save(checkpoint)
    return folder


def test_a_real_trainer_run_tells_tokens_and_learning_rates(trainer_run):
    assert (trainer_run / "checkpoint-2" / "training_args.bin").exists()  # a pickle, left alone
    for ladder in (FolderLadder(folders=[f"{trainer_run}/checkpoint-*"]), FolderLadder(folders=[str(trainer_run)])):
        first, second = ladder.rungs()
        assert [rung.checkpoint.tokens for rung in (first, second)] == [2 * 3 * 8, 4 * 3 * 8]
        assert first.checkpoint.peak_lr == pytest.approx(1e-3)
        # linear decay from 1e-3 to 0 in four steps; the rate is logged when the step has been taken
        logged = [
            entry["learning_rate"] for entry in json.loads((trainer_run / "checkpoint-4/trainer_state.json").read_text())["log_history"]
        ]
        assert logged == pytest.approx([1e-3, 0.75e-3, 0.5e-3, 0.25e-3])
        assert (first.checkpoint.final_lr, second.checkpoint.final_lr) == pytest.approx((0.75e-3, 0.25e-3))
        with second.open() as model:
            assert model.checkpoint.tokens == 96
            assert model.checkpoint.final_lr == pytest.approx(0.25e-3)
            assert model.checkpoint.params == second.checkpoint.params == 128 * 16 + 13 * 256 + 3 * 16


def test_steps_become_tokens_where_the_batch_is_given(saved, tmp_path):
    folder = series(saved, tmp_path, "checkpoint-1000", "checkpoint-500")
    for path in folder.iterdir():
        (path / "pliant.json").unlink()
        write_state(path, global_step=int(path.name.split("-")[1]), num_input_tokens_seen=0)
    pattern = f"{folder}/checkpoint-*"
    without = FolderLadder(folders=[pattern]).rungs()
    assert names(without) == ["checkpoint-500", "checkpoint-1000"]
    assert [rung.checkpoint.tokens for rung in without] == [None, None]
    given = FolderLadder(folders=[pattern], batch_tokens="2k").rungs()
    assert [rung.checkpoint.tokens for rung in given] == [10**6, 2 * 10**6]


def test_the_states_fields(tmp_path):
    history = [{"step": 1, "learning_rate": 0.5}, {"step": 2, "loss": 1.0}, {"step": 3, "learning_rate": 0.1}, {"eval_loss": 3.0}]
    write_state(tmp_path, num_input_tokens_seen=77, log_history=history)
    assert read_trainer_state(tmp_path) == {"tokens": 77, "peak_lr": 0.5, "final_lr": 0.1}
    assert read_trainer_state(tmp_path, batch_tokens=3) == {"tokens": 30, "peak_lr": 0.5, "final_lr": 0.1}
    write_state(tmp_path)
    assert read_trainer_state(tmp_path) == {}
    for damage in ("{", "[]", '{"global_step": "x", "log_history": []}', '{"log_history": 3}'):
        (tmp_path / "trainer_state.json").write_text(damage)
        with pytest.raises(PliantError, match=r"trainer_state\.json"):
            read_trainer_state(tmp_path)
    assert read_trainer_state(tmp_path / "elsewhere") == {}


def test_names_of_folders_are_read_like_revisions(saved, tmp_path):
    folder = series(saved, tmp_path, "step3000-tokens12B", "step20-tokens1B", "final")
    for path in folder.iterdir():
        (path / "pliant.json").unlink()
    rungs = FolderLadder(folders=[f"{folder}/*"]).rungs()
    assert names(rungs) == ["step20-tokens1B", "step3000-tokens12B", "final"]
    assert [rung.checkpoint.tokens for rung in rungs] == [10**9, 12 * 10**9, None]


def test_what_the_user_says_wins(saved, tmp_path, tiny):
    folder = series(saved, tmp_path, "b", "a")
    rungs = FolderLadder(folders=[str(folder)], tokens={"a": "2M", "b": "1M"}).rungs()
    assert [(name, rung.checkpoint.tokens) for name, rung in zip(names(rungs), rungs, strict=True)] == [("b", 10**6), ("a", 2 * 10**6)]
    with rungs[0].open() as model:
        assert model.checkpoint.tokens == 10**6
        assert model.checkpoint.seed == 0  # from pliant.json
        assert model.weights() == tiny.weights()
    with pytest.raises(PliantError, match="'c' is none of the folders"):
        FolderLadder(folders=[str(folder)], tokens={"c": 1}).rungs()


def test_a_damaged_rung_does_not_hide_the_others(saved, tmp_path):
    folder = series(saved, tmp_path, "good", "cut", "pickled")
    content = (folder / "cut" / "model.safetensors").read_bytes()
    (folder / "cut" / "model.safetensors").write_bytes(content[:-1])
    (folder / "pickled" / "model.safetensors").unlink()
    (folder / "pickled" / "pytorch_model.bin").write_bytes(pickle.dumps({}))
    rungs = dict(zip(("cut", "good", "pickled"), FolderLadder(folders=[f"{folder}/*"]).rungs(), strict=True))
    with rungs["good"].open() as model:
        assert model.checkpoint.params == 8784
    for name, message in (("cut", "truncated"), ("pickled", "pickled")):
        with pytest.raises(PliantError, match=message), rungs[name].open():
            pass
        with pytest.raises(PliantError, match=message):
            rungs[name].identity  # noqa: B018


def test_identity_is_of_the_content_and_of_how_it_is_read(saved, tmp_path, ascii_tokenizer):
    folder = series(saved, tmp_path, "one", "two")
    save(build("llama-16x2", ascii_tokenizer, seed=1, context=32), folder / "three")
    one, three, two = FolderLadder(folders=[f"{folder}/*"]).rungs()
    assert one.identity == two.identity != three.identity
    (folder / "two" / "README.md").write_text("notes")
    assert one.identity == two.identity
    half = FolderLadder(folders=[f"{folder}/one"], dtype="bfloat16").rungs()[0]
    assert half.identity != one.identity
    config = json.loads((folder / "two" / "config.json").read_text())
    (folder / "two" / "config.json").write_text(json.dumps({**config, "rms_norm_eps": 1e-3}))
    assert one.identity != two.identity


def test_options_reach_the_model_and_rungs_travel(saved, tmp_path):
    rung = FolderLadder(folders=[str(saved)], dtype="bfloat16", tokenizer="ascii").rungs()[0]
    with pickle.loads(pickle.dumps(rung)).open() as model:
        assert model.network.dtype == torch.bfloat16
    assert rung.cost == 0


def test_short_forms_and_empty_places(saved, tmp_path):
    assert FolderLadder.parse(str(saved)) == FolderLadder.parse([str(saved)]) == FolderLadder.parse({"folders": str(saved)})
    for form, message in (
        ([], "folders"),
        (str(tmp_path / "nowhere"), "no such folder"),
        (str(tmp_path / "nowhere*"), "matches no checkpoint"),
        ({"folder": "x"}, "did you mean 'folders'"),
    ):
        with pytest.raises(PliantError, match=message):
            FolderLadder.parse(form).rungs()
