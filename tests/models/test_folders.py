import json
import os
import pickle
import re
import shutil

import pytest
import torch

from pliant.errors import PliantError
from pliant.models import FolderLadder, build, load, save
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
        assert [rung.checkpoint.steps for rung in (first, second)] == [2, 4]
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
    assert read_trainer_state(tmp_path) == ({"steps": 10, "tokens": 77, "peak_lr": 0.5, "final_lr": 0.1}, None)
    assert read_trainer_state(tmp_path, batch_tokens=3) == ({"steps": 10, "tokens": 30, "peak_lr": 0.5, "final_lr": 0.1}, None)
    write_state(tmp_path)
    assert read_trainer_state(tmp_path) == ({"steps": 10}, None)
    assert read_trainer_state(tmp_path / "elsewhere") == ({}, None)


def test_losses_that_are_no_numbers_are_the_trainers_own_way_of_writing(tmp_path):
    text = '{"global_step": 4, "log_history": [{"loss": NaN, "grad_norm": Infinity, "learning_rate": 0.5}], "best_metric": -Infinity}'
    (tmp_path / "trainer_state.json").write_text(text)
    assert read_trainer_state(tmp_path, batch_tokens=3) == ({"steps": 4, "tokens": 12, "peak_lr": 0.5, "final_lr": 0.5}, None)


RATE = '{"global_step": 4, "log_history": [{"learning_rate": 0.5}, {"learning_rate": %s}]}'
ODD = [
    ('{"global_step": 100, "log_hist', {}),
    ("", {}),
    ("[]", {}),
    ("[" * 100_000, {}),
    ('{"a":' * 100_000, {}),
    ('{"global_step": "x", "log_history": []}', {}),
    ('{"global_step": -1, "log_history": []}', {}),
    ('{"global_step": 1' + "0" * 400 + ', "log_history": []}', {}),
    ('{"global_step": 1e999, "log_history": []}', {}),
    ('{"global_step": 9223372036854775807, "log_history": []}', {"steps": 2**63 - 1}),  # times the batch, more than a column holds
    ('{"log_history": 3}', {}),
    ('{"global_step": 4}', {"steps": 4, "tokens": 12}),
    ('{"global_step": 4.0, "log_history": [5]}', {"steps": 4, "tokens": 12}),
    *((RATE % rate, {"steps": 4, "tokens": 12, "peak_lr": 0.5}) for rate in ("null", "NaN", "1e999", '"fast"', "[1]", "-1", "true")),
]


@pytest.mark.parametrize(("text", "known"), ODD, ids=[text[:70] for text, _ in ODD])
def test_an_odd_state_tells_what_it_can_and_a_note_names_it(tmp_path, text, known):
    (tmp_path / "trainer_state.json").write_text(text)
    facts, note = read_trainer_state(tmp_path, batch_tokens=3)
    assert facts == known
    assert str(tmp_path / "trainer_state.json") in note
    assert len(note) < 400
    assert "\n" not in note


def test_a_state_that_is_no_file_is_a_note(tmp_path):
    os.mkfifo(tmp_path / "trainer_state.json")
    assert "pipe" in read_trainer_state(tmp_path)[1]


@pytest.mark.parametrize("name", ["trainer_state.json", "pliant.json"])
def test_damaged_facts_do_not_keep_whole_weights_from_being_read(saved, tmp_path, tiny, capsys, name):
    folder = series(saved, tmp_path, "checkpoint-100") / "checkpoint-100"
    (folder / "pliant.json").unlink()
    write_state(folder, global_step=100)
    (folder / name).write_text('{"global_step": 100, "log_hist')
    (rung,) = FolderLadder(folders=[str(tmp_path)], batch_tokens=1000).rungs()
    assert str(folder / name) in rung.damage
    assert rung.checkpoint.tokens == 100_000  # from the step in the folder's name, or the other file
    assert rung.checkpoint.params == 8784
    with rung.open() as model:
        assert model.weights() == tiny.weights()
        assert model.checkpoint.tokens == 100_000
    assert str(folder / name) in capsys.readouterr().err


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
    folder = series(saved, tmp_path, "good", "cut")
    content = (folder / "cut" / "model.safetensors").read_bytes()
    (folder / "cut" / "model.safetensors").write_bytes(content[:-1])
    rungs = dict(zip(("cut", "good"), FolderLadder(folders=[f"{folder}/*"]).rungs(), strict=True))
    with rungs["good"].open() as model:
        assert model.checkpoint.params == 8784
    with pytest.raises(PliantError, match="truncated"), rungs["cut"].open():
        pass
    with pytest.raises(PliantError, match="truncated"):
        rungs["cut"].identity  # noqa: B018


LEFT_OUT = {
    "fsdp": (["pytorch_model_fsdp_0/__0_0.distcp", "pytorch_model_fsdp_0/.metadata", "optimizer_0/x", "trainer_state.json"], "FSDP.*merge"),
    "dcp": (["__0_0.distcp", ".metadata"], "FSDP.*merge"),
    "deepspeed": (["global_step300/mp_rank_00_model_states.pt", "zero_to_fp32.py", "latest"], "DeepSpeed.*zero_to_fp32"),
    "global_step300": (["zero_pp_rank_0_mp_rank_00_optim_states.pt", "mp_rank_00_model_states.pt"], "DeepSpeed.*zero_to_fp32"),
    "adapter": (["adapter_config.json", "adapter_model.bin", "optimizer.pt"], "adapter.*save it with safetensors"),
    "half": (["config.json", "tokenizer.json", "trainer_state.json"], "no weights"),
    "no-weights": (["config.json", "tokenizer.json"], "cut short"),
    "pickled": (["config.json", "pytorch_model.bin", "training_args.bin"], r"pickled \(pytorch_model.bin\).*save_pretrained"),
    "shards": (["config.json", "pytorch_model-00001-of-00002.bin", "pytorch_model.bin.index.json"], "pickled"),
    "optimizer": (["optimizer.pt", "scheduler.pt", "rng_state_0.pth", "training_args.bin"], "only the state of an optimizer"),
    "gguf": (["model.gguf"], r"holds checkpoints.*gguf/\*"),
    "empty": ([], "is empty"),
    "logs": (["events.out.tfevents.1"], "no weights"),
    "nested": (["checkpoint-1/model.safetensors", "checkpoint-1/config.json"], r"holds checkpoints.*nested/\*"),
    "tmp-checkpoint-300": (["model.safetensors", "config.json"], "cut short.*rename it to checkpoint-300"),
}


@pytest.mark.parametrize("form", ["{}", "{}/*"])
def test_every_folder_that_is_matched_is_measured_or_named_with_what_to_do(saved, tmp_path, form):
    folder = series(saved, tmp_path, "checkpoint-100", "checkpoint-200")
    for name, (files, _) in LEFT_OUT.items():
        (folder / name).mkdir()
        for file in files:
            (folder / name / file).parent.mkdir(parents=True, exist_ok=True)
            (folder / name / file).write_text("x")
    (folder / "gone").symlink_to("nowhere")
    (folder / ".hidden").mkdir()
    (folder / "notes.txt").write_text("x")
    ladder = FolderLadder(folders=[form.format(folder)])
    skipped = ladder.skipped()
    assert names(ladder.rungs()) == ["checkpoint-100", "checkpoint-200"]
    assert set(skipped) == {str(folder / name) for name in (*LEFT_OUT, "gone")}
    for name, (_, reason) in LEFT_OUT.items():
        assert re.search(reason, skipped[str(folder / name)]), name
        assert "\n" not in skipped[str(folder / name)]
    assert "link" in skipped[str(folder / "gone")]


def test_where_all_is_left_out_the_reason_is_the_answer(tmp_path):
    for step in (100, 200):
        (tmp_path / f"checkpoint-{step}" / "pytorch_model_fsdp_0").mkdir(parents=True)
    with pytest.raises(PliantError, match=r"checkpoint-100: .*FSDP.*1 more"):
        FolderLadder(folders=[f"{tmp_path}/checkpoint-*"]).rungs()
    (rung,) = FolderLadder(folders=[f"{tmp_path}/checkpoint-100"]).rungs()  # named, so that it is in the plan
    with pytest.raises(PliantError, match="FSDP"), rung.open():
        pass


def test_tokens_may_be_told_of_what_is_left_out(saved, tmp_path):
    folder = series(saved, tmp_path, "a")
    (folder / "b").mkdir()
    (rung,) = FolderLadder(folders=[f"{folder}/*"], tokens={"a": 1, "b": 2}).rungs()
    assert rung.checkpoint.tokens == 1


def test_a_path_that_exists_is_no_pattern(saved, tmp_path):
    folder = series(saved, tmp_path / "run[lr=1e-4,bs=8]", "checkpoint-100", "checkpoint-200")
    series(saved, tmp_path, "run1")
    for forms in ([f"{folder}/checkpoint-*"], [f"{folder}/checkpoint-100", f"{folder}/checkpoint-200"], [str(folder)]):
        assert names(FolderLadder(folders=forms).rungs()) == ["checkpoint-100", "checkpoint-200"]
    assert load(folder / "checkpoint-100").checkpoint.params == 8784


def test_what_is_no_folder_is_one_line(tmp_path):
    (tmp_path / "weights.txt").write_text("x")
    for name, message in (("weights.txt", "a checkpoint is a folder"), ("weights.*", "matches no checkpoint"), ("a\0b", "no such folder")):
        with pytest.raises(PliantError, match=message):
            FolderLadder(folders=[f"{tmp_path}/{name}"]).rungs()


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
