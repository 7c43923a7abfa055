"""Calibration: the second moments and mean magnitudes of every linear layer's inputs, collected once a model and text.

Idea: what GPTQ and AWQ need to know of the text depends neither on bits, nor on granularity, nor on the method. So it is read off the
unquantized model once and serves a whole sweep. Published GPTQ collects it again behind each quantized block (sequential
calibration); what that brings is in docs/log.md.
Cost: one forward pass over the text (see `streaming`), and what is kept of it (see `inputs`).
What goes wrong: text unlike the use to come; too few tokens for wide layers (see `gptq` on damping).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from pliant.errors import PliantError
from pliant.quantization.inputs import Calibration, Inputs
from pliant.quantization.streaming import block_by_block

if TYPE_CHECKING:
    from pliant.data.corpus import Corpus
    from pliant.models import Model

_kept: dict[tuple[object, ...], Calibration] = {}


def calibrate(model: Model, windows: Sequence[Sequence[int]], head: bool = False) -> Calibration:
    """Run equally long `windows` of token ids through `model` and collect every linear layer's inputs; see `block_by_block`."""
    calibration = Calibration()
    for shared, collected in block_by_block(model, windows, head):
        calibration.add(shared, collected)
    return calibration


def calibration_of(model: Model, corpus: Corpus, samples: int, length: int, head: bool = False) -> Calibration:
    """`calibrate` on `windows_of` the corpus; the last one is kept, for sweeps over one base."""
    key = (model.weights(), model.tokenizer.fingerprint, corpus.fingerprint(), samples, length, head)
    if key not in _kept:
        windows = windows_of(model, corpus, samples, length)
        _kept.clear()
        _kept[key] = calibrate(model, windows, head)
    return _kept[key]


def windows_of(model: Model, corpus: Corpus, samples: int, length: int) -> list[list[int]]:
    """`samples` random windows of the corpus's training part, always the same, of `length` tokens or the model's context.

    Raises PliantError when the text is too short for them.
    """
    from pliant.data.packed import packed

    length = min(length, model.context)
    tokens = packed(corpus, model.tokenizer, "train")
    if len(tokens) < samples * (length + 1):
        have = f"calibration text {corpus.label()} has {len(tokens)} tokens, fewer than {samples} windows of {length}"
        raise PliantError(f"{have}; give more text, or lower samples or length")
    return tokens.batch(0, samples, length, seed=0)[:, :-1].tolist()


def sequentially(
    model: Model, corpus: Corpus, samples: int, length: int, head: bool = False
) -> Iterator[Iterator[tuple[list[str], Inputs]]]:
    """The groups of one block after the other (see `Calibration.groups`): each is to be quantized before the next is asked for."""
    for shared, collected in block_by_block(model, windows_of(model, corpus, samples, length), head, sequential=True):
        block = Calibration()
        block.add(shared, collected)
        yield block.groups()
