"""How pixels are made into what a network reads: its size, its channels, and the scale of its numbers.

Idea: what `preprocessor_config.json` says beside the weights, reduced to what every image classifier shares; written beside them again,
so that transformers' image processors read it.
What goes wrong: a network without that file tells its size alone; mean and standard deviation are then taken as 0.5, as ViT has them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pliant.errors import PliantError
from pliant.files import write_atomic
from pliant.spec.yaml import read_json

PROCESSOR = "preprocessor_config.json"


@dataclass(frozen=True)
class ImageInput:
    """Pixels between 0 and 1, scaled to `size`, minus `mean`, over `std`. Raises PliantError for numbers that are none."""

    size: tuple[int, int]
    """Height and width."""
    channels: int = 3
    mean: tuple[float, ...] = (0.5,)
    """Of each channel; one stands for all."""
    std: tuple[float, ...] = (0.5,)
    """Of each channel; one stands for all."""

    def __post_init__(self) -> None:
        for what, numbers in (("mean", self.mean), ("std", self.std)):
            if len(numbers) not in (1, self.channels):
                raise PliantError(f"{what} has {len(numbers)} numbers for {self.channels} channels")
            object.__setattr__(self, what, numbers * self.channels if len(numbers) == 1 else numbers)
        if min(*self.size, self.channels) < 1 or min(self.std) <= 0:
            raise PliantError(
                f"no image has {self.size[0]} x {self.size[1]} pixels of {self.channels} channels and deviation {min(self.std)}"
            )

    @classmethod
    def of(cls, folder: Path, config: Any) -> ImageInput:
        """What lies beside a model's weights, and what its configuration says. Raises PliantError for a file that cannot be read."""
        path = folder / PROCESSOR
        told: Any = read_json(path) if path.exists() else {}
        if not isinstance(told, dict):
            raise PliantError(f"{path}: cannot be read (it is no set of names and values)")
        channels, configured = configured_input(config)
        size = _size(told.get("crop_size") if told.get("do_center_crop") else told.get("size"), configured)
        try:
            mean, std = (_numbers(told.get(name), 0.5) for name in ("image_mean", "image_std"))
            return cls(size, channels, mean, std)
        except (PliantError, TypeError, ValueError) as error:
            raise PliantError(f"{path}: {error}") from None

    def save(self, folder: Path) -> None:
        """Write `preprocessor_config.json`, as transformers' image processors read it."""
        height, width = self.size
        told = {
            "image_processor_type": "ViTImageProcessor",
            "do_resize": True,
            "size": {"height": height, "width": width},
            "do_rescale": True,
            "rescale_factor": 1 / 255,
            "do_normalize": True,
            "image_mean": list(self.mean),
            "image_std": list(self.std),
        }
        write_atomic(folder / PROCESSOR, json.dumps(told, indent=1) + "\n")


def configured_input(config: Any) -> tuple[int, tuple[int, int]]:
    """Channels, and height and width, as a network's configuration has them."""
    vision = getattr(config, "vision_config", config)
    return int(getattr(vision, "num_channels", 3)), _size(None, getattr(vision, "image_size", None))


def _size(told: Any, configured: Any) -> tuple[int, int]:
    """Height and width in any of the forms that processors and configurations have for them; 224 where nothing tells."""
    for form in (told, configured):
        if isinstance(form, int):
            return form, form
        if isinstance(form, Mapping):
            sides = [form.get(name, form.get("shortest_edge")) for name in ("height", "width")]
            if all(isinstance(side, int) for side in sides):
                return sides[0], sides[1]
        if isinstance(form, (list, tuple)) and len(form) == 2 and all(isinstance(side, int) for side in form):
            return form[0], form[1]
    return 224, 224


def _numbers(told: Any, default: float) -> tuple[float, ...]:
    if told is None:
        return (default,)
    return tuple(map(float, told)) if isinstance(told, (list, tuple)) else (float(told),)
