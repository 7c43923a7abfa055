"""Images that findings put together from others, as archives that any objective and measure reads."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pliant.data.images import Images
from pliant.files import atomic_path


def archive(path: Path, pixels: NDArray[np.uint8], labels: NDArray[np.int64], classes: Sequence[str]) -> Images:
    """Images (images, height, width, channels) with labels into `classes`, written to `path`; what is there is replaced."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary, temporary.open("wb") as stream:
        np.savez(stream, x=pixels, y=labels, classes=np.array(classes))
    return Images(source=str(path))
