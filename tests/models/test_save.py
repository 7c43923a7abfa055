import errno

import pytest

from pliant.errors import PliantError
from pliant.models import build, load, save


def test_a_model_takes_the_place_of_a_model(tiny, saved, tmp_path, ascii_tokenizer):
    target = tmp_path / "model"
    save(tiny, target)
    (target / "old-notes.txt").write_text("x")
    other = build("llama-16x2", ascii_tokenizer, seed=9, context=32)
    save(other, target)
    assert load(target).weights() == other.weights() != tiny.weights()
    assert not (target / "old-notes.txt").exists()
    save(load(target), target)  # onto the folder it came from
    assert load(target).weights() == other.weights()


def test_other_folders_are_left_alone(tiny, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(PliantError, match="something other than a model"):
        save(tiny, tmp_path)
    with pytest.raises(PliantError, match="something other than a model"):
        save(tiny, tmp_path / "thesis.tex")
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_what_no_file_can_hold_is_not_saved(tiny, tmp_path):
    tiny.transforms.append("activation rounding, 8 bits")
    with pytest.raises(PliantError, match="activation rounding"):
        save(tiny, tmp_path / "model")
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("failure", [OSError(errno.ENOSPC, "No space left on device"), RuntimeError("I/O error: (os error 28)")])
def test_a_full_disk_leaves_the_old_model_and_no_rubbish(tiny, tmp_path, monkeypatch, ascii_tokenizer, failure):
    target = tmp_path / "model"
    save(tiny, target)
    other = build("llama-16x2", ascii_tokenizer, seed=9, context=32)

    def fail(folder):
        raise failure

    monkeypatch.setattr(other.network, "save_pretrained", fail)
    with pytest.raises(PliantError, match="no space left"):
        save(other, target)
    assert load(target).weights() == tiny.weights()
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


def test_a_folder_that_cannot_be_made_is_one_line(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PliantError, match="cannot write"):
        save(tiny, tmp_path / "file" / "model")
