"""The outline of a network: the names and shapes of its tensors, without a number in them.

Idea: a configuration says all of it, so that what cannot be done to a network (groups that do not divide its rows, patterns that
match no tensor) is known before anything is loaded. PyTorch's device `meta` builds networks of any size in no memory.
Cost: the import of transformers, then some hundredths of a second for each configuration, once.
What goes wrong: architectures that come with code of their own, or need packages that are not here, have no outline; for them
the same is found out when their turn comes.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError
from pliant.models.configuration import check_counts, plain
from pliant.models.load import quiet
from pliant.models.presets import Preset, unfilled
from pliant.spec.yaml import parse_json, read_text

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from pliant.data.tokenizer import Tokenizer

MOST_LAYERS = 10_000
"""Beyond it a configuration is not believed."""


def folder_outline(folder: Path) -> PreTrainedModel | None:
    """The network that the folder's `config.json` describes, or None where that is not to be known without its weights."""
    try:
        return _of_configuration(read_text(folder / "config.json"))
    except PliantError:
        return None


def preset_outline(preset: str, tokenizer: Tokenizer, context: int) -> PreTrainedModel:
    """The network that `build` makes of these. Raises PliantError for an unknown preset."""
    import torch

    with torch.device("meta"):
        return unfilled(Preset.parse(preset), tokenizer, context)


@cache
def _of_configuration(text: str) -> PreTrainedModel | None:
    """The same object for the same text. Raises PliantError for text that is no JSON."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    described: Any = parse_json(text, "config.json")
    try:
        check_counts(described, "config.json")
        config = CONFIG_MAPPING[described["model_type"]].from_dict(plain(described))
        if config.num_hidden_layers > MOST_LAYERS:
            return None
        with quiet(), torch.device("meta"):
            return AutoModelForCausalLM.from_config(config)
    except Exception:  # an architecture's own code: anything can come out of it
        return None
