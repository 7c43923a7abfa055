"""Data sets of the hub: downloaded by the `datasets` library, then read as the Arrow files it keeps."""

from __future__ import annotations

import importlib
import re
from functools import cache
from pathlib import Path

from pliant.errors import PliantError

_ADDRESS = re.compile(r"(?P<name>[\w.-]+(?:/[\w.-]+)?)(?::(?P<config>[\w.-]+))?(?:@(?P<revision>[\w./-]+))?(?:\[(?P<split>\w+)\])?")


@cache  # a process asks the hub once
def hub_files(address: str) -> list[Path]:
    """The Arrow files of a data set, downloaded on first use: `owner/name[:config][@revision][[split]]`, split `train` by default.

    Raises PliantError when the extra is not installed, the hub cannot be reached, or there is no such data set.
    """
    match = _ADDRESS.fullmatch(address)
    if match is None:
        raise PliantError(f"hub:{address}: is no address of a data set; write hub:owner/name[:config][@revision][[split]]")
    try:
        datasets = importlib.import_module("datasets")
    except ImportError:
        raise PliantError(f"hub:{address}: reading data sets of the hub needs the extra: pip install 'pliant[hub]'") from None
    name, config, revision, split = match.group("name", "config", "revision", "split")
    try:
        loaded = datasets.load_dataset(name, config, revision=revision, split=split or "train")
    except Exception as error:  # the library lets through whatever the network, the file system or a format raises
        said = (str(error).strip() or type(error).__name__).splitlines()[0][:300]
        reason = "".join(one if one.isprintable() else "?" for one in said)  # part of it may be a server's
        raise PliantError(f"hub:{address}: cannot be loaded ({reason})") from None
    return [Path(file["filename"]) for file in loaded.cache_files]
