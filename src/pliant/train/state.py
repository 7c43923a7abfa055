"""The state of an unfinished run, in one safetensors file: a killed run goes on as if nothing had happened.

It holds the network, the optimizer's moments, the methods' tensors, the losses so far and torch's random state; data order needs
nothing, being a function of (seed, step). What run it belongs to stands in its header. Cost: three times the weights on disk.
What goes wrong: resumed runs equal uninterrupted ones bit for bit only on the same device, thread count and torch version.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pliant.errors import PliantError
from pliant.files import atomic_path

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from pliant.methods import MethodState, Run

STATE_FILE = "state.safetensors"


class State:
    """Where the state of one run is kept, when it was last saved, and how long the run has taken.

    Without a folder nothing is ever saved. `run_identity` names what the first so many steps of the run depend on.
    """

    def __init__(self, folder: str | Path | None, run_identity: Callable[[int], str], every: float) -> None:
        self.path = None if folder is None else Path(folder) / STATE_FILE
        self.run_identity = run_identity
        self.every = every
        self._before = 0.0  # seconds of the processes that worked on the run earlier
        self._start = self._saved = time.monotonic()

    @property
    def seconds(self) -> float:
        """Wall time of the run so far, over all the processes that worked on it."""
        return self._before + time.monotonic() - self._start

    def due(self) -> bool:
        """Whether it is time to save: `every` seconds after the last time."""
        return self.path is not None and time.monotonic() - self._saved >= self.every

    def save(self, run: Run, optimizer: Optimizer, states: Sequence[MethodState], losses: Sequence[float]) -> None:
        """Write everything, replacing what was there in one step.

        Saving is never allowed to take more than about a twentieth of the time. Raises PliantError when the disk is full
        or read-only.
        """
        import torch
        from safetensors.torch import save_file

        if self.path is None:
            return
        start = time.monotonic()
        tensors = {name: tensor.detach().contiguous() for name, tensor in _tensors(run, optimizer, states)}
        tensors["losses"] = torch.tensor(losses, dtype=torch.float64)
        tensors |= {f"random.{name}": value for name, value in _random_states(run).items()}
        header = {"run": self.run_identity(len(losses)), "seconds": repr(self.seconds)}
        with atomic_path(self.path) as temporary:
            save_file(tensors, temporary, metadata=header)
        self._saved = time.monotonic()
        self.every = max(self.every, 20 * (self._saved - start))

    def load(self, run: Run, optimizer: Optimizer, states: Sequence[MethodState]) -> list[float]:
        """Put everything back, and return the losses so far; none where nothing was saved.

        Raises PliantError when the file cannot be read, is damaged, belongs to another run, or to one that went on for longer.
        """
        import torch
        from safetensors import SafetensorError, safe_open

        if self.path is None or not self.path.exists():
            return []
        if not self.path.is_file():
            raise PliantError(f"{self.path}: is not a file; remove it to start the run afresh")
        try:
            with safe_open(self.path, framework="pt") as stored:
                header = stored.metadata() or {}
                tensors = {name: stored.get_tensor(name) for name in stored.keys()}  # noqa: SIM118 (it is no mapping)
        except (SafetensorError, OSError) as error:
            raise PliantError(f"{self.path}: cannot be read ({error}); remove it to start the run afresh") from None
        losses = tensors.get("losses")
        if header.get("run") != self.run_identity(0 if losses is None else losses.numel()):
            raise PliantError(f"{self.path}: is of another run (recipe, data, seed or first weights differ); remove it to start afresh")
        if damage := _damage(run, header, tensors):
            raise PliantError(f"{self.path}: {damage}; remove it to start the run afresh")
        self._before = float(header["seconds"])
        _put_back(run, optimizer, states, tensors)
        torch.set_rng_state(tensors["random.cpu"])
        if "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"], run.model.device)
        return [float(loss) for loss in tensors["losses"]]


def is_whole(path: Path) -> bool:
    """Whether a state is there and ends where its header says."""
    return steps_made(path) is not None


def steps_made(path: Path) -> int | None:
    """How many steps a state comes after; None where there is none that is whole."""
    from safetensors import SafetensorError, safe_open

    try:
        if path.is_file():
            with safe_open(path, framework="pt") as stored:
                return stored.get_slice("losses").get_shape()[0] if "losses" in stored.keys() else None  # noqa: SIM118 (it is no mapping)
    except (SafetensorError, OSError):
        pass
    return None


def _damage(run: Run, header: Mapping[str, str], tensors: Mapping[str, Tensor]) -> str:
    """What keeps a state from being put back; nothing where it can be."""
    import torch

    from pliant.models.model import stored_tensors

    losses, random = tensors.get("losses"), tensors.get("random.cpu")
    if not re.fullmatch(r"[0-9.e+-]{1,40}", header.get("seconds", "")) or losses is None or random is None or losses.dim() != 1:
        return "is damaged (parts are missing)"
    if len(losses) > run.steps:
        return f"is of a run that made {len(losses)} steps, more than the {run.steps} of this one"
    if not bool(losses.isfinite().all()):
        return "is damaged (a loss is not a number)"
    if (random.dtype, random.shape) != (torch.uint8, torch.get_rng_state().shape):
        return "is damaged, or of another version of torch (the random state differs in length)"
    parameters = [(f"optimizer.{moment}.{name}", p) for name, p in run.parameters().items() for moment in ("exp_avg", "exp_avg_sq")]
    shapes = {name: tensor.shape for name, tensor in parameters if name in tensors}
    shapes |= {f"network.{name}": tensor.shape for name, tensor in stored_tensors(run.network)}
    wrong = [name for name, shape in shapes.items() if name not in tensors or tensors[name].shape != shape]
    return f"is damaged ({wrong[0]} is missing or of another shape)" if wrong else ""


def _tensors(run: Run, optimizer: Optimizer, states: Sequence[MethodState]) -> Iterator[tuple[str, Tensor]]:
    """Every tensor that changes during a run, by the name it has in the file."""
    from pliant.models.model import stored_tensors

    for name, tensor in stored_tensors(run.network):
        yield f"network.{name}", tensor
    for name, parameter in run.parameters().items():
        for moment, value in optimizer.state[parameter].items():
            yield f"optimizer.{moment}.{name}", value
    for number, state in enumerate(states):
        for name, tensor in state.tensors.items():
            yield f"method.{number}.{name}", tensor


def _put_back(run: Run, optimizer: Optimizer, states: Sequence[MethodState], tensors: dict[str, Tensor]) -> None:
    import torch

    from pliant.models.model import stored_tensors

    with torch.no_grad():
        for name, tensor in stored_tensors(run.network):
            tensor.copy_(tensors[f"network.{name}"])
    device = run.model.device
    moments = {name.split(".")[1] for name in tensors if name.startswith("optimizer.")}
    for name, parameter in run.parameters().items():
        found = {moment: tensors.get(f"optimizer.{moment}.{name}") for moment in moments}
        optimizer.state[parameter] = {moment: value.to(device) for moment, value in found.items() if value is not None}
    for number, state in enumerate(states):
        prefix = f"method.{number}."
        saved = {name.removeprefix(prefix): tensor.to(device) for name, tensor in tensors.items() if name.startswith(prefix)}
        state.tensors.clear()
        state.tensors.update(saved)


def _random_states(run: Run) -> dict[str, Tensor]:
    import torch

    states = {"cpu": torch.get_rng_state()}
    if run.model.device.type == "cuda":
        states["cuda"] = torch.cuda.get_rng_state(run.model.device)
    return states
