"""GPTQ loses less than rounding to nearest at 3 and 4 bits (arXiv 2210.17323).

Both round the linear layers of the same annealed checkpoints, one grid an output channel; GPTQ and, beside it, AWQ are calibrated on
the pretraining text. Losses are paired on the same held-out samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from pliant.data import Corpus
from pliant.findings.arms import readings, run_arm
from pliant.findings.finding import Finding, Outcome, verdict

BITS = (3, 4)
WORTH = 0.01
"""Nats/token that rounding to nearest must add for a checkpoint to be counted: below it there is nothing to save."""


class GptqUnderRtn(Finding):
    """Looking at calibration text makes rounding to few bits cheaper."""

    paper: ClassVar[str] = "GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers, arXiv 2210.17323"
    claim: ClassVar[str] = "At 3 and 4 bits GPTQ adds less loss than rounding every weight to its nearest value."
    published: ClassVar[str] = "lower perplexity than round-to-nearest at 3 and 4 bits on every model tested (OPT and BLOOM, up to 176B)"
    rule: ClassVar[str] = (
        "reproduced when, at 3 and at 4 bits, the loss after GPTQ minus the loss after round-to-nearest, averaged over the checkpoints "
        "of the ladder, has its 90% interval (over seeds and documents) below zero, and GPTQ is lower on at least three quarters of the "
        "checkpoints to which round-to-nearest adds 0.01 or more; contradicted when one of the two intervals lies above zero"
    )

    corpus: Corpus = Field(Corpus.parse("builtin:prose"), description="Pretraining and calibration text")
    task: Corpus = Field(Corpus.parse("builtin:code"), description="Other text that the loss is read on")

    def test(self, folder: Path) -> Outcome:
        """Smoke: about fifteen seconds, less beside other findings; laptop: about six minutes on two cores; gpu: hours."""
        plain = {"bits": list(BITS), "tensors": "linear"}
        calibrated = {**plain, "method": ["gptq", "awq"], "calibration": self.corpus}
        runs = run_arm("gptq-under-rtn", self.size, self.corpus, self.task, [{"quantize": plain}, {"quantize": calibrated}], folder)
        after = {(change.get("method"), change.get("bits")): found for change, found in readings(runs)}
        base = after[None, None]
        checks: dict[str, bool] = {}
        told: list[str] = []
        against = False
        figures: dict[str, object] = {"base": base.mean().tolist()}
        for bits in BITS:
            nearest, gptq, awq = (after[method, bits] for method in ("rtn", "gptq", "awq"))
            value, low, high = gptq.above(nearest)
            rises = {method: found.mean() - base.mean() for method, found in (("rtn", nearest), ("gptq", gptq), ("awq", awq))}
            lower = float(np.mean((rises["gptq"] < rises["rtn"])[rises["rtn"] >= WORTH]))
            checks[f"{bits} bits: GPTQ minus RTN below zero ({value:.3f} [{low:.3f}, {high:.3f}])"] = high < 0
            checks[f"{bits} bits: lower on three quarters of the checkpoints ({lower:.0%})"] = lower >= 0.75
            against = against or low > 0
            shares = {method: rises[method].sum() / rises["rtn"].sum() for method in ("gptq", "awq")}
            told.append(f"{bits} bits: GPTQ adds {shares['gptq']:.2f} of what RTN adds, AWQ {shares['awq']:.2f}")
            figures[f"{bits} bits"] = {
                "gptq minus rtn": (value, low, high),
                "awq minus rtn": awq.above(nearest),
                "rises": {method: rise.tolist() for method, rise in rises.items()},
            }
        return Outcome(verdict(checks, against), "; ".join(told), checks, figures)
