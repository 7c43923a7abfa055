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
from pliant.models.checkpoint import Checkpoint
from pliant.models.configuration import check_counts, plain
from pliant.models.heads import fitted
from pliant.models.load import quiet
from pliant.models.model import Model
from pliant.models.presets.preset import Given, Preset
from pliant.models.tasks import Needs, configured_task
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


def preset_outline(preset: str, tokenizer: Tokenizer, context: int, needs: Needs | None = None) -> PreTrainedModel:
    """The network that `build` makes of these, with the head that is needed. Raises PliantError for an unknown preset."""
    import torch

    labels, images = (needs.labels, needs.images) if needs is not None else (None, None)
    with torch.device("meta"):
        network = Preset.parse(preset).network(Given(tokenizer, context, images, labels))
    return fitted(Model(network, tokenizer, Checkpoint(name=preset)), needs).network


@cache
def _of_configuration(text: str) -> PreTrainedModel | None:
    """The same object for the same text. Raises PliantError for text that is no JSON."""
    import torch
    from transformers import CONFIG_MAPPING

    described: Any = parse_json(text, "config.json")
    try:
        check_counts(described, "config.json")
        task = configured_task(described)
        config = CONFIG_MAPPING[described["model_type"]].from_dict(plain(described))
        if task is None or getattr(config.get_text_config(), "num_hidden_layers", 0) > MOST_LAYERS:
            return None
        with quiet(), torch.device("meta"):
            return task.auto_class.from_config(config)
    except Exception:  # an architecture's own code: anything can come out of it
        return None
