"""Compiling the network of a run, where that is worth its while.

Idea: a compiled network does the work of many small kernels in few. It rounds otherwise than the plain one, so a compiled run is another
run: a state that a plain one left is not gone on from.
When to use it: long runs on a CUDA device, with `compile: auto`; everywhere else that does nothing, and the plan says why.
Cost: about a minute before the first step, and again for new shapes; `LONG_ENOUGH` steps repay it where each gains some 20 ms.
What goes wrong: methods put layers and hooks of their own into the network, so a run with any stays plain. Written without a GPU at hand:
the path is tested with PyTorch's own tracing on a CPU, its speed is not measured.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from torch import nn

Compile = Literal["never", "auto"]

LONG_ENOUGH = 5_000
"""Steps of a run that repays compiling."""
COMPILERS = ("cc", "gcc", "clang")


def why_plain(choice: Compile, steps: int | None, methods: Sequence[Any], device: str | None = None) -> str:
    """Why a run is not compiled, in words; empty where it is.

    `steps` is None where its length is not known, `device` the type of the device it runs on, where that is known.
    """
    import torch

    if choice == "never":
        return "nobody asks for it"
    if not torch.cuda.is_available() or device not in (None, "cuda"):
        return f"only CUDA repays it, and the device is {device}" if device not in (None, "cuda") else "there is no CUDA device"
    if importlib.util.find_spec("triton") is None or not any(map(shutil.which, (os.environ.get("CC", "cc"), *COMPILERS))):
        return "it needs Triton and a C compiler"
    if methods:
        return "methods alter the network"
    if steps is not None and steps < LONG_ENOUGH:
        return f"a run of {steps:,} steps is shorter than the {LONG_ENOUGH:,} that repay it"
    return ""


def remarks(choice: Compile, steps: int | None, methods: Sequence[Any]) -> list[str]:
    """A line for the plan of a run that asks for compiling and gets none."""
    reason = "" if choice == "never" else why_plain(choice, steps, methods)
    return [f"compile: auto compiles nothing here: {reason}"] if reason else []


def compiled(network: nn.Module) -> Any:
    """The network as it is called in training; its parameters are the very same."""
    import torch

    return torch.compile(network)
