"""Labelled images decoded once and memory-mapped: what an image source is to a network.

One array of bytes (images, height, width, channels) in the source's order; beside it each image's label and id, and what was counted.
An id is the hash of the image as it lay in its source (of a file's bytes, or of its pixels), so it stays the same wherever the image
lies, whatever it is resized to. A part is chosen as the documents of a corpus are: by each image's own hash, a tenth of them held out.
Cost: decoding once (a second for a few thousand small JPEGs), then nothing; a byte a value in the cache.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pliant.data.decoded_image import as_channels, decoded_image, resized
from pliant.data.image_sources import Found
from pliant.data.left_out import LeftOut
from pliant.data.once import read_once
from pliant.data.split import Part, Split
from pliant.errors import PliantError
from pliant.spec import digest
from pliant.spec.yaml import read_json

FACTS = "pictures.json"


class Pictures:
    """The images of `folder`, or those of them at `places`. Cheap to send to another process: no pixel travels."""

    def __init__(self, folder: Path, places: NDArray[np.int64] | None = None) -> None:
        self.folder = folder
        facts = read_json(folder / FACTS)
        self.shape: tuple[int, int, int] = tuple(facts["shape"])
        """Height, width and channels of every image."""
        self.classes: tuple[str, ...] = tuple(facts["classes"])
        """What the labels 0, 1, ... are called; all of the source, whatever part this is."""
        self.counts: dict[str, int] = facts["counts"]
        """What became of the source's images."""
        self._left: tuple[dict[str, int], list[str]] = facts["left_out"]
        self._content: str = facts["fingerprint"]
        labels = np.load(folder / "labels.npy", mmap_mode="r")
        ids = np.load(folder / "ids.npy", mmap_mode="r")
        self._pixels = np.memmap(folder / "pixels.bin", np.uint8, mode="r").reshape(len(labels), *self.shape)
        self.places = np.arange(len(labels)) if places is None else places
        self.labels: NDArray[np.int64] = np.asarray(labels[self.places])
        """(images,) the class of each."""
        self.hashes: NDArray[np.uint64] = np.asarray(ids[self.places])
        """(images,) what names each for good, as a number."""

    def __reduce__(self) -> tuple[type[Pictures], tuple[Path, NDArray[np.int64]]]:
        return Pictures, (self.folder, self.places)

    def __len__(self) -> int:
        return len(self.places)

    @cached_property
    def ids(self) -> list[str]:
        """(images,) what names each for good."""
        return [f"{int(number):016x}" for number in self.hashes]

    @cached_property
    def fingerprint(self) -> str:
        """Of the pixels and labels of these images, and of what the labels are called."""
        return digest(json.dumps([self._content, self.hashes.tolist()]))

    @property
    def left_out(self) -> LeftOut:
        """What of the source is none of these images, and where it stands."""
        counts, listed = self._left
        return LeftOut(True, Counter({**counts, "not_asked": self.counts["images"] - len(self)}), list(listed))

    def pixels(self, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
        """(numbers, height, width, channels): a copy of some of the images."""
        return self._pixels[self.places[numbers]]

    def part(self, part: Part) -> Pictures:
        """Those of one part."""
        if part == "all":
            return self
        return self.where(Split.of(self.hashes, np.ones(len(self), np.uint32)).selected(part))

    def where(self, kept: NDArray[np.bool_]) -> Pictures:
        """Those that are marked, (images,)."""
        return Pictures(self.folder, self.places[kept])


def built(
    target: Path,
    name: str,
    found: Iterator[Found],
    names: Callable[[], Sequence[str]],
    size: tuple[int, int] | None,
    skip_bad: bool,
    labelled: bool = True,
) -> Pictures:
    """The images `found`, written to `target` unless they are there whole.

    Args:
        target: Folder in the cache.
        name: Of the source, for messages.
        found: The images.
        names: What the source calls the labels 0, 1, ..., where it says.
        size: Height and width to which images of other sizes are brought; without it, all must have one.
        skip_bad: Leave out, and count, what cannot be read or has no label.
        labelled: Whether labels are looked at; where not, all images are of one class without a name.

    Raises PliantError for what cannot be read (unless it is left out), images of several sizes or kinds, and fewer than two classes.
    """
    return read_once(target, lambda folder: _write(folder, name, found, names() if labelled else None, size, skip_bad), _whole)


def _write(
    folder: Path, name: str, found: Iterator[Found], names: Sequence[str] | None, size: tuple[int, int] | None, skip_bad: bool
) -> None:
    """`names`: None where labels are not looked at."""
    folder.mkdir()
    shape, first = (0, 0, 0), ""
    labels, ids, content = list[int | str](), array("Q"), hashlib.sha256()
    seen: dict[int, int | str] = {}
    counts, left = {"images": 0, "skipped": 0, "repeated": 0}, LeftOut(skip_bad)
    with (folder / "pixels.bin").open("wb") as stream:
        for item in found:
            try:
                number, pixels, label = _decoded(item if names is not None else item._replace(label=0), size)
                if seen.get(number, label) != label:
                    raise PliantError(f"is labelled {label!r}, and {seen[number]!r} where it was before")
            except PliantError as error:
                if not skip_bad:
                    raise PliantError(f"{item.where}: {error}; `skip_bad: true` leaves such images out") from None
                counts["skipped"] += 1
                left.bad(error.within(item.where))
                continue
            if number in seen:
                counts["repeated"] += 1
                left.add("repeated", f"{item.where} is there before, with the id {number:016x}")
                continue
            if not first:
                shape, first = pixels.shape, item.where
            if pixels.shape[:2] != shape[:2]:
                raise PliantError(
                    f"{item.where}: is {_sides(pixels.shape)}, and {first} is {_sides(shape)}; give the `size` that all are brought to"
                )
            seen[number] = label
            written = as_channels(pixels, shape[2]).tobytes()
            stream.write(written)
            content.update(written)
            labels.append(label)
            ids.append(number)
    counts["images"] = len(ids)
    classes, numbers = ([""], np.zeros(len(ids), np.int64)) if names is None and ids else _classes(name, labels, names or (), counts)
    content.update(numbers.tobytes() + json.dumps(classes).encode())
    np.save(folder / "labels.npy", numbers)
    np.save(folder / "ids.npy", np.array(ids, np.uint64))
    facts = {"shape": shape, "classes": classes, "counts": counts, "fingerprint": content.hexdigest()[:16]}
    facts |= {"left_out": [left.counts, left.listed]}
    (folder / FACTS).write_text(json.dumps(facts))


def _decoded(item: Found, size: tuple[int, int] | None) -> tuple[int, NDArray[np.uint8], int | str]:
    """The image's number, its pixels and its label. Raises PliantError for what cannot be read and what has no label."""
    label = _label(item.label)
    content = item.content
    if isinstance(content, Path):
        try:
            content = content.read_bytes()
        except OSError as error:
            raise PliantError(f"cannot be read ({error.strerror or error})") from None
    if isinstance(content, bytes):
        number, pixels = int(digest(content), 16), decoded_image(content)
    else:
        number, pixels = int(digest(f"{content.shape}".encode() + content.tobytes()), 16), content
    return number, pixels if size is None else resized(pixels, *size), label


def _label(label: Any) -> int | str:
    """A whole number or a name. Raises PliantError for anything else, what is missing and NaN included."""
    if isinstance(label, str) and label.strip():
        return label
    if isinstance(label, (bool, int)):
        return int(label)
    if isinstance(label, float) and label.is_integer():
        return int(label)
    raise PliantError(
        f"has the label {str(label)[:40]!r}, which is neither a whole number nor a name" if label not in (None, "") else "has no label"
    )


def _classes(name: str, labels: Sequence[int | str], names: Sequence[str], counts: dict[str, int]) -> tuple[list[str], NDArray[np.int64]]:
    """What the classes are called, in order, and each image's class."""
    if not labels:
        told = f"; {counts['skipped']} could not be read" if counts["skipped"] else ""
        raise PliantError(f"{name}: holds no labelled image{told}")
    different = set(labels)
    if len({type(label) for label in different}) > 1:
        raise PliantError(f"{name}: some labels are numbers and some are names; make them all one or the other")
    if len(different) == 1:
        raise PliantError(f"{name}: all {len(labels)} images are of the class {labels[0]!r}; there is nothing to tell apart")
    numbered = [label for label in different if isinstance(label, int)]
    if numbered and names:
        if not 0 <= min(numbered) <= max(numbered) < len(names):
            raise PliantError(f"{name}: has labels from {min(numbered)} to {max(numbered)}, and names for {len(names)} classes")
        return list(names), np.array(labels, np.int64)
    ordered = sorted(different, key=lambda label: (label, "") if isinstance(label, int) else (0, label))
    places = {label: place for place, label in enumerate(ordered)}
    return [str(label) for label in ordered], np.array([places[label] for label in labels], np.int64)


def _sides(shape: Sequence[int]) -> str:
    return f"{shape[0]} x {shape[1]}"


def _whole(folder: Path) -> Pictures | None:
    """What lies in the cache; none where there is none, or it is damaged."""
    try:
        return Pictures(folder)
    except (PliantError, OSError, ValueError, KeyError, TypeError, EOFError):
        return None
