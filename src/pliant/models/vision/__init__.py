"""Small image classifiers that transformers does not have, as networks of transformers: one file each.

`register` makes transformers' auto classes know them, so that `save_pretrained`, `from_pretrained` and `pliant.load` work as for any
other. Their model types begin with `pliant-`; who loads them with transformers alone calls `register` first (`LOADING`). transformers' own
ResNet is another network (a pooled stem, shortcuts with parameters), so that these weights fit none of its classes; `vit` is its own.
"""

from __future__ import annotations

from functools import cache

OWN = "pliant-"
"""How the model types of the networks here begin."""

LOADING = "from pliant.models.vision import register; register()"
"""What goes before transformers' own `from_pretrained`."""


@cache
def register() -> None:
    """Tell transformers of the networks here. Whatever reads a configuration calls it; once is enough."""
    from transformers import AutoConfig, AutoModelForImageClassification

    from pliant.models.vision.cnn import SmallCnnConfig, SmallCnnForImageClassification
    from pliant.models.vision.mlp import PixelMlpConfig, PixelMlpForImageClassification
    from pliant.models.vision.resnet import CifarResNetConfig, CifarResNetForImageClassification

    for config, network in (
        (CifarResNetConfig, CifarResNetForImageClassification),
        (SmallCnnConfig, SmallCnnForImageClassification),
        (PixelMlpConfig, PixelMlpForImageClassification),
    ):
        AutoConfig.register(config.model_type, config)
        AutoModelForImageClassification.register(config, network)
