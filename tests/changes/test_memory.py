"""What rounding a model needs beside its weights must not grow with its depth: one block, whatever the number of blocks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="peak memory is read from Linux's /proc"),
]

SCRIPT = """
import sys, torch
from contextlib import ExitStack
from pathlib import Path
from transformers import AutoModelForCausalLM, LlamaConfig
from pliant.changes import Quantize
from pliant.quantization import inputs
from pliant.quantization import stacks
from pliant.data import load_tokenizer
from pliant.models import Checkpoint, Model

def model(layers):
    config = LlamaConfig(
        vocab_size=128, hidden_size=256, intermediate_size=1024, num_hidden_layers=layers, num_attention_heads=4, max_position_embeddings=64
    )
    return Model(AutoModelForCausalLM.from_config(config), load_tokenizer("ascii"), Checkpoint(name="random"))

def megabytes(key):
    return int(next(line for line in open("/proc/self/status") if line.startswith(key)).split()[1]) / 1024

torch.set_num_threads(1)
layers, how, recollect = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "recollect"
inputs.KEEP_BYTES, stacks.WAITING = 2**20, 2**20  # less than one block has: what a large model meets
change = Quantize(bits=4, method="gptq", tensors="linear", calibration=sys.argv[4], samples=16, length=64, recollect=recollect)
with change.applied(model(1)):
    pass  # libraries and text are loaded by now
subject = model(layers)
Path("/proc/self/clear_refs").write_text("5")
before = megabytes("VmRSS")
if how == "in place":
    change.apply(subject, 0, 0, ExitStack())
else:
    with change.applied(subject):
        pass
print(megabytes("VmHWM") - before)
"""

BLOCK = 4 * (4 * 256**2 + 3 * 256 * 1024) / 2**20
"""Megabytes of one block's weights in float32: 4."""


def peak(layers: int, corpus: Path, how: str = "in place", recollect: str = "once") -> float:
    """Megabytes beside the weights, at most, while a network of that many blocks is rounded."""
    command = [sys.executable, "-c", SCRIPT, str(layers), how, recollect, str(corpus)]
    given_back = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "65536"}  # freed memory does not count
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | given_back | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    return float(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("text") / "text.txt"
    path.write_text("\n\n".join(f"Line {number} tells of {number * 7919 % 1000} foxes and {number % 13} hens." for number in range(2000)))
    return path


@pytest.mark.parametrize("recollect", ["once", "recollect"])
def test_it_does_not_grow_with_depth(corpus: Path, recollect: str) -> None:
    shallow, deep = peak(2, corpus, recollect=recollect), peak(14, corpus, recollect=recollect)
    assert abs(deep - shallow) < BLOCK, "with twelve blocks more"


def test_a_change_that_is_to_be_undone_needs_a_copy_of_the_weights(corpus: Path) -> None:
    """The control: the measurement sees twelve blocks where there are twelve."""
    shallow, deep = peak(2, corpus, "undone"), peak(14, corpus, "undone")
    assert 10 * BLOCK < deep - shallow < 14 * BLOCK
