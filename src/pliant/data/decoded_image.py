"""One image file's bytes as numbers: eight bits, one channel (grey) or three (red, green, blue)."""

from __future__ import annotations

import importlib
import io
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pliant.errors import PliantError, first_line

FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""What is decoded. Formats that are programs (PostScript) are not."""
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
LARGEST = 1 << 26
"""Pixels; a small file can claim any number of them."""
_GREY = ("1", "L", "LA")
_SAID = {
    "UnidentifiedImageError": "is no image that can be read",
    "DecompressionBombError": f"claims more than twice the {LARGEST} pixels that an image may have",
}
_DEEP = ("I", "F")  # the beginning of the names of modes whose values do not fit eight bits


def decoded_image(content: bytes) -> NDArray[np.uint8]:
    """(height, width, channels), turned the way its camera was held; transparency is dropped, of an animation the first frame is taken.

    Raises PliantError for what is no whole image in one of `FORMATS`, is larger than `LARGEST`, or has more than eight bits.
    """
    images = pillow()
    try:
        with warnings.catch_warnings(action="ignore"), images.open(io.BytesIO(content), formats=FORMATS) as image:
            if image.width * image.height > LARGEST:
                raise PliantError(f"is an image of {image.width} x {image.height} pixels, more than {LARGEST} are taken for a mistake")
            if image.mode.startswith(_DEEP):
                raise PliantError("has more than eight bits a channel; convert it to eight")
            ops = importlib.import_module("PIL.ImageOps")
            upright: Any = ops.exif_transpose(image)
            return as_channels(np.asarray(upright.convert("L" if image.mode in _GREY else "RGB")))
    except PliantError:
        raise
    except Exception as error:  # a decoder's own errors are of every kind, one for each way a file is damaged
        raise PliantError(_SAID.get(type(error).__name__) or f"is damaged ({first_line(error)})") from None


def resized(pixels: NDArray[np.uint8], height: int, width: int) -> NDArray[np.uint8]:
    """The same picture in another size, whatever its proportions: bilinear, over all the pixels that one of the result covers."""
    if pixels.shape[:2] == (height, width):
        return pixels
    images = pillow()
    grey = pixels.shape[2] == 1
    image = images.fromarray(np.ascontiguousarray(pixels[:, :, 0] if grey else pixels))
    return as_channels(np.asarray(image.resize((width, height), images.Resampling.BILINEAR)))


def as_channels(pixels: NDArray[np.uint8], channels: int | None = None) -> NDArray[np.uint8]:
    """Images (..., height, width, channels) with one channel or three: grey ones repeated, coloured ones by their brightness.

    Without `channels`, one image of (height, width) gets its channel, and others stay as they are.
    """
    if channels is None:
        return pixels[..., None] if pixels.ndim == 2 else pixels
    if pixels.shape[-1] == channels:
        return pixels
    if channels == 3:
        return np.repeat(pixels, 3, axis=-1)
    weights = np.array([19595, 38470, 7471], np.uint32)  # ITU-R 601, as Pillow weighs them
    return ((pixels.astype(np.uint32) @ weights + 0x8000) >> 16).astype(np.uint8)[..., None]


def pillow() -> Any:
    """The decoder. Raises PliantError where it is not installed."""
    try:
        return importlib.import_module("PIL.Image")
    except ImportError:
        raise PliantError("decoding images needs the extra: pip install 'pliant[vision]'") from None
