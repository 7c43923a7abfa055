"""Labelled images: archives, folders of class folders, tables with an image column, data sets of the hub, and `builtin:digits`."""

from __future__ import annotations

import json

from pydantic import Field, field_validator

from pliant.data.augmentation import Augmentation
from pliant.data.image_sources import Columns, found, holds_images, identity, told_names
from pliant.data.located import Located
from pliant.data.pictures import Pictures, built
from pliant.data.selection import Selection
from pliant.data.split import Part
from pliant.errors import PliantError
from pliant.files import cache_folder
from pliant.spec import digest

_FORMAT = 1  # raise it when the same source would give other pixels


class Images(Located):
    """Images with labels; a plain string is its `source`."""

    source: str = Field(
        min_length=1,
        description="An archive (.npz), a folder of class folders, a table (.parquet, .arrow), a glob, builtin:digits, "
        "or hub:owner/name[:config][@revision][[split]]",
    )
    image_column: str | None = Field(default=None, description="Column of a table that holds the images; by default image or img")
    label_column: str | None = Field(default=None, description="Column of a table that holds the labels; by default label")
    size: int | tuple[int, int] | None = Field(
        default=None, description="Pixels of a side, or height and width, that images are brought to; by default they stay as they are"
    )
    skip_bad: bool = Field(
        default=False, description="Leave out, and count, images that cannot be read or have no label, instead of refusing all"
    )
    augment: Augmentation | None = Field(default=None, description="Random crops and flips in training: `{crop: 4, flip: true}`")
    select: Selection | None = Field(default=None, description="Which examples are kept: `{scores: scores.parquet, keep: 0.5}`")

    @field_validator("size")
    @classmethod
    def _positive(cls, size: int | tuple[int, int] | None) -> int | tuple[int, int] | None:
        if size is not None and not all(1 <= side <= 4096 for side in ((size,) if isinstance(size, int) else size)):
            raise PliantError(f"size {size} is no size of an image; between 1 and 4096 pixels a side")
        return size

    @staticmethod
    def recognised(source: str) -> bool:
        """Whether a source holds images, as far as its names and columns tell. Raises PliantError for a table that cannot be read."""
        return holds_images(source)

    def fingerprint(self) -> str:
        """Of what the source holds and how it is read. Raises PliantError for a source that cannot be read."""
        told = [self._decoding(self._size), self.augment.canonical() if self.augment else None]
        return digest(json.dumps([*told, self.select.fingerprint() if self.select else None]))

    def pictures(self, part: Part = "train", size: tuple[int, int] | None = None) -> Pictures:
        """The images of a part, decoded once, as many of them as are selected.

        Args:
            part: Which.
            size: Height and width that a network needs, where these fields do not say another.

        Raises PliantError for a source that cannot be read, and for whatever is wrong with what it holds.
        """
        chosen = self.whole(size).part(part)
        return chosen if self.select is None else chosen.where(self.select.kept(chosen.ids, chosen.labels))

    def whole(self, size: tuple[int, int] | None = None) -> Pictures:
        """The images of all parts, selected or not. Raises as `pictures` does."""
        wanted = self._size or size
        columns = Columns(self.image_column, self.label_column)
        place = cache_folder() / "images" / self._decoding(wanted)
        return built(place, self.source, found(self.source, columns), lambda: told_names(self.source, columns), wanted, self.skip_bad)

    @property
    def _size(self) -> tuple[int, int] | None:
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    def _decoding(self, size: tuple[int, int] | None) -> str:
        """Names what decoding gives."""
        return digest(json.dumps([_FORMAT, identity(self.source), self.image_column, self.label_column, size, self.skip_bad]))
