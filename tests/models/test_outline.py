"""Outlines: the names and shapes that the weights will have, and no numbers."""

import json

import pytest
from safetensors import safe_open

from pliant.models import FolderLadder, build
from pliant.models.outline import folder_outline, preset_outline


def shapes(network):
    return {name: tuple(parameter.shape) for name, parameter in network.named_parameters()}


@pytest.mark.parametrize("preset", ["llama-16x2", "gpt-neox-16x1"])
def test_a_presets_outline_has_the_shapes_of_what_is_built(preset, ascii_tokenizer):
    outline = preset_outline(preset, ascii_tokenizer, 32)
    assert shapes(outline) == shapes(build(preset, ascii_tokenizer, context=32).network)
    assert {parameter.device.type for parameter in outline.parameters()} == {"meta"}


def test_a_folders_outline_has_the_shapes_of_its_weights(saved):
    (rung,) = FolderLadder(folders=[str(saved)]).rungs()
    with safe_open(saved / "model.safetensors", "pt") as stored:
        assert shapes(rung.outline()) == {name: tuple(stored.get_slice(name).get_shape()) for name in stored.keys()}  # noqa: SIM118
    assert rung.outline() is folder_outline(saved)  # built once


@pytest.mark.parametrize(
    "content", [None, "{", "[]", "{}", {"model_type": "mystery"}, {"hidden_size": "wide"}, {"num_hidden_layers": 10**9}]
)
def test_what_cannot_be_known_is_nothing(saved, tmp_path, content):
    config = json.loads((saved / "config.json").read_text())
    if content is not None:
        (tmp_path / "config.json").write_text(content if isinstance(content, str) else json.dumps({**config, **content}))
    assert folder_outline(tmp_path) is None
