"""Reading a GGUF file as an ordinary model in full precision.

Idea: transformers unpacks the blocks into plain tensors; what reminds of their packing is taken off the network, so that it is
changed, measured and saved like any other. The weights start out rounded, which matters to whoever rounds them again.
Cost: the file is parsed in Python four times, once to count its parameters; SmolLM2-135M in 4 bits (98 MB) takes about 20 s and
1.2 GB. Save the model once and load that folder, which takes a second.
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pliant.errors import PliantError

if TYPE_CHECKING:
    from pliant.data.tokenizer import Tokenizer


def check_gguf(folder: Path, gguf_file: str) -> None:
    """Raises PliantError when the file, or a package that reads it, is missing."""
    if Path(gguf_file).is_absolute() or ".." in Path(gguf_file).parts:
        raise PliantError(f"{gguf_file!r} would leave the folder {folder}")
    try:
        with (folder / gguf_file).open("rb") as stream:
            magic = stream.read(4)
    except OSError:
        raise PliantError(f"{folder}: no file {gguf_file!r} here") from None
    if magic != b"GGUF":
        raise PliantError(f"{folder / gguf_file}: is not a GGUF file")
    missing = [package for package in ("gguf", "accelerate") if find_spec(package) is None]
    if missing:
        raise PliantError(f"reading GGUF needs the package {' and '.join(missing)}; pip install 'pliant[gguf]'")


def gguf_parameters(path: Path) -> int:
    """Numbers in a GGUF file, tied tensors once; two seconds for a vocabulary of 50,000.

    Raises PliantError when the file, or a package that reads it, is missing, or the file is damaged.
    """
    check_gguf(path.parent, path.name)
    from gguf import GGUFReader

    try:
        return sum(int(tensor.n_elements) for tensor in GGUFReader(str(path)).tensors)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise PliantError(f"{path}: is damaged ({error})") from error


def gguf_arguments(gguf_file: str) -> dict[str, Any]:
    """What tells transformers to read the weights from a GGUF file and to unpack them."""
    from transformers.utils import quantization_config

    config = getattr(quantization_config, "GgufConfig", None)  # older versions always unpack
    return {"gguf_file": gguf_file, **({"quantization_config": config(dequantize=True)} if config is not None else {})}


def gguf_tokenizer(folder: Path, gguf_file: str) -> Tokenizer:
    """The tokenizer inside a GGUF file. Whatever transformers raises is the caller's to explain."""
    from transformers import AutoTokenizer

    from pliant.data.pretrained import PretrainedTokenizer

    return PretrainedTokenizer(AutoTokenizer.from_pretrained(str(folder), gguf_file=gguf_file, local_files_only=True))


@contextlib.contextmanager
def no_unpacking_bar() -> Generator[None]:
    """Keeps the reader's progress bar, which no setting switches off, from the terminal."""
    with contextlib.redirect_stderr(io.StringIO()):
        yield
