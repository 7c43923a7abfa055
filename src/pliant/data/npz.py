"""Images in NumPy archives: arrays of pixels, or the bytes of image files joined together.

An archive holds `x` (or `images`, `data`) and `y` (or `labels`, ...); or `jpeg` (or `png`, `bytes`), all files' bytes in one array, with
`sizes`, how many each has. `classes` names the labels where they are numbers. Nothing in it is unpickled.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pliant.data.content import regular
from pliant.errors import PliantError, first_line

PIXELS = ("x", "images", "image", "data", "x_train", "x_test")
LABELS = ("y", "labels", "label", "targets", "target", "y_train", "y_test")
ENCODED = ("jpeg", "png", "bytes")
LARGEST = 1 << 34
"""Bytes that an archive may unpack to; a small file can claim any number of them."""


def archive(path: Path, *names: str) -> dict[str, NDArray[Any]]:
    """The arrays of an archive, or those of these names that it has.

    Raises PliantError for what is none, is damaged or too large, and for arrays of Python objects.
    """
    regular(path)
    try:
        with zipfile.ZipFile(path) as packed:
            size = sum(entry.file_size for entry in packed.infolist())
        if size > LARGEST:
            raise PliantError(f"{path}: would unpack to {size / 1e9:.0f} GB; split it into archives of at most {LARGEST / 1e9:.0f} GB")
        with np.load(path, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files if not names or name in names}
    except PliantError:
        raise
    except ValueError as error:
        if "pickle" in str(error):
            raise PliantError(f"{path}: holds Python objects, which are never unpickled; store plain arrays of numbers or text") from None
        raise PliantError(f"{path}: is damaged or no NumPy archive ({first_line(error)})") from None
    except Exception as error:  # zlib's, zipfile's, NumPy's and the file system's own
        raise PliantError(f"{path}: is damaged or no NumPy archive ({first_line(error)})") from None


def examples(path: Path, labelled: bool = True) -> Iterator[tuple[str, NDArray[np.uint8] | bytes, Any]]:
    """Where each image stands, the image (height, width, channels) or a file's bytes, and its label; see `class_names` for their names.

    Raises PliantError for an archive without images, without labels unless `labelled` is false, and for lengths that differ.
    """
    arrays = archive(path)
    labels = _labels(path, arrays) if labelled or any(name in arrays for name in LABELS) else None
    encoded = next((name for name in ENCODED if name in arrays and "sizes" in arrays), None)
    if encoded is None:
        pixels = _pixels(path, arrays)
        labels = [None] * len(pixels) if labels is None else labels
        if len(pixels) != len(labels):
            raise PliantError(f"{path}: holds {len(pixels)} images and {len(labels)} labels")
        for number, label in enumerate(labels):
            yield f"{path} image {number}", pixels[number], label
        return
    content, sizes = arrays[encoded], arrays["sizes"]
    if content.dtype != np.uint8 or content.ndim != 1 or sizes.ndim != 1 or sizes.dtype.kind not in "iu" or (sizes < 0).any():
        raise PliantError(f"{path}: {encoded} must be a list of bytes, and sizes how many of them each image has")
    labels = [None] * len(sizes) if labels is None else labels
    if len(sizes) != len(labels) or int(sizes.sum(dtype=np.int64)) != len(content):
        raise PliantError(
            f"{path}: {encoded} has {len(content)} bytes, sizes {len(sizes)} images of {sizes.sum()}, and there are {len(labels)} labels"
        )
    ends = np.cumsum(sizes, dtype=np.int64)
    for number, (end, size, label) in enumerate(zip(ends.tolist(), sizes.tolist(), labels, strict=True)):
        yield f"{path} image {number}", content[end - size : end].tobytes(), label


def class_names(path: Path) -> list[str]:
    """What the archive calls the labels 0, 1, ...; nothing where it does not say."""
    names = archive(path, "classes").get("classes", np.array([], "<U1"))
    return [str(name) for name in names.tolist()] if names.ndim == 1 and names.dtype.kind == "U" else []


def _labels(path: Path, arrays: Mapping[str, NDArray[Any]]) -> list[Any]:
    name = next((name for name in LABELS if name in arrays), None)
    if name is None:
        raise PliantError(f"{path}: has no labels; an archive of images holds x and y, not {', '.join(arrays) or 'nothing'}")
    labels = arrays[name]
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]
    if labels.ndim != 1 or labels.dtype.kind not in "biufU":
        raise PliantError(f"{path}: {name} must be one number or name an image, not {labels.dtype} of shape {labels.shape}")
    return labels.tolist()


def _pixels(path: Path, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
    """(images, height, width, channels) in eight bits."""
    name = next((name for name in PIXELS if name in arrays), None)
    if name is None:
        raise PliantError(f"{path}: has no images; an archive of images holds x and y, not {', '.join(arrays) or 'nothing'}")
    found = arrays[name]
    side = math.isqrt(found.shape[1]) if found.ndim == 2 else 0
    if side and side * side == found.shape[1]:
        found = found.reshape(len(found), side, side)
    if found.ndim == 3:
        found = found[..., None]
    elif found.ndim == 4 and found.shape[-1] not in (1, 3) and found.shape[1] in (1, 3):
        found = found.transpose(0, 2, 3, 1)
    if found.ndim != 4 or found.shape[-1] not in (1, 3) or 0 in found.shape[1:]:
        raise PliantError(
            f"{path}: {name} has the shape {arrays[name].shape}; images are (number, height, width), "
            "(number, height, width, 1 or 3) or (number, 1 or 3, height, width)"
        )
    return eight_bits(found, f"{path}: {name}")


def eight_bits(values: NDArray[Any], where: str) -> NDArray[np.uint8]:
    """Numbers from 0 to 255, or from 0 to 1 where they are fractions, as bytes. Raises PliantError for any other."""
    if values.dtype == np.uint8:
        return values
    if values.dtype.kind not in "biuf":
        raise PliantError(f"{where} holds {values.dtype}, not numbers")
    if not len(values):
        return values.astype(np.uint8)
    least, most = float(values.min()), float(values.max())
    if not (least >= 0 and most <= 255):  # also where one is not a number
        raise PliantError(f"{where} runs from {least:g} to {most:g}; pixels are 0 to 255, or fractions from 0 to 1")
    scale = 255.0 if values.dtype.kind in "bf" and most <= 1 else 1.0
    return np.rint(values.astype(np.float32) * scale).astype(np.uint8)
