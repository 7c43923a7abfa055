"""Changes and measures that go wrong, in a module that worker processes can import."""

import os
import signal
import time
from pathlib import Path

import numpy as np

from pliant import PliantError
from pliant.changes import Change
from pliant.measures import Measure, Reading


class Refuse(Change):
    """Cannot be made while the file `until` is missing; leaves the weights half changed."""

    until: str = "/nonexistent"
    mistake: bool = False

    def apply(self, model, seed, draw, undo):
        next(model.network.parameters()).data.zero_()
        if not Path(self.until).exists():
            raise KeyError("a mistake") if self.mistake else PliantError("this model cannot be changed so")


class Die(Change):
    """Takes the process with it, as the system does when memory runs out."""

    def apply(self, model, seed, draw, undo):
        os.kill(os.getpid(), signal.SIGKILL)


class Wait(Change):
    """Says that it has begun, then takes its time."""

    signal: str
    seconds: float = 60.0

    def apply(self, model, seed, draw, undo):
        Path(self.signal).write_text(str(os.getpid()))
        time.sleep(self.seconds)


class Nonsense(Measure):
    """Reads no number in draw `after` and later."""

    data: str = ""

    def __call__(self, model):
        raise PliantError("the loss is not a number")


class Norm(Measure):
    """The weights' mean square, tensor by tensor."""

    def __call__(self, model):
        named = sorted(model.network.named_parameters())
        values = np.array([float(tensor.detach().double().square().mean()) for _, tensor in named])
        return Reading("norm", "1", [name for name, _ in named], values, np.ones(len(values)), data="weights")
