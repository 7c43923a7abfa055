"""Progressive layer dropping saves a quarter of the time; is the loss for that time as low? (arXiv 2010.13369)

A deep narrow Llama is trained with blocks dropped by the published schedule, and dense for as many steps and for 75% of them, each with a
cosine of its own and both learning rates tuned. The share of blocks that is run, which is what the time goes into, is exact; the clock
is told beside it and decides nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from pydantic import Field

from pliant.data import Corpus
from pliant.findings.finding import Finding, Outcome, Size
from pliant.findings.tuned import Setting, fit, new, remembered, told, tuned
from pliant.measures import Loss
from pliant.methods import METHODS, ProgressiveLayerDropping
from pliant.objectives import NextToken

DROPPING = {"progressive_layer_dropping": {"keep": 0.5}}
DENSE_SHARE = 0.75
"""Of the steps that a dense run makes in the time that a dropping one takes for all."""


@dataclass(frozen=True)
class DroppingScale:
    """How much is trained at one size."""

    preset: str
    steps: int
    batch: int
    seeds: int
    rates: tuple[float, ...]
    context: int = 64
    samples: int = 512
    """Held-out windows, of which one half chooses and the other judges."""


SCALES: dict[Size, DroppingScale] = {
    "smoke": DroppingScale("llama-16x4", 12, 4, 2, (1.2e-2,), 16, 32),
    "laptop": DroppingScale("llama-32x8", 400, 8, 3, (6e-3, 1.2e-2, 2.4e-2)),
    "gpu": DroppingScale("llama-512x12", 4000, 64, 3, (5e-4, 1e-3, 2e-3), 256),
}


class LayerDropping(Finding):
    """Skipping blocks at random makes pretraining cheaper."""

    paper: ClassVar[str] = "Accelerating Training of Transformer-Based Language Models with Progressive Layer Dropping, arXiv 2010.13369"
    claim: ClassVar[str] = "Dropping blocks progressively takes a quarter less time a step, and reaches as low a loss in less time."
    published: ClassVar[str] = "24% less time a sample; equal downstream accuracy 2.5 times sooner (BERT-base, with a higher learning rate)"
    rule: ClassVar[str] = (
        "reproduced when the mean share of blocks that the schedule runs is at most 0.75, and the held-out loss after dropping, minus that "
        "of dense training for 75% of the steps (equal time), has the upper end of its 90% interval over paired seeds at or below 0; "
        "contradicted when the interval lies above 0.15 nats/token. Learning rates of all arms are tuned on other seeds and samples. "
        "Equal steps and the clock are told beside it."
    )

    corpus: Corpus = Field(Corpus.parse("builtin:prose"), description="Pretraining text")

    def test(self, folder: Path) -> Outcome:
        """Smoke: about two seconds; laptop: about three minutes on one core; gpu: hours."""
        scale = SCALES[self.size]
        short = round(DENSE_SHARE * scale.steps)
        forms = {"dropping": ([DROPPING], scale.steps), "dense, equal time": ([], short), "dense, equal steps": ([], scale.steps)}
        grids = {arm: [{"lr": rate, "methods": methods, "steps": steps} for rate in scale.rates] for arm, (methods, steps) in forms.items()}
        arms = {arm: tuned(lambda setting, seed: self._run(scale, folder, setting, seed), grid, scale.seeds) for arm, grid in grids.items()}
        dropping = arms["dropping"]
        equal_time, equal_steps = (dropping.above(arms[arm], "loss") for arm in ("dense, equal time", "dense, equal steps"))
        share = self._share(scale)
        clock = dropping.mean("seconds") / arms["dense, equal steps"].mean("seconds")
        checks = {
            f"at most 0.75 of the blocks are run ({share:.3f})": share <= DENSE_SHARE,
            f"equal time: not above dense ({told(equal_time)} nats/token)": equal_time.high <= 0,
        }
        ours = f"{share:.3f} of the blocks; loss against dense: equal time {told(equal_time)}, equal steps {told(equal_steps)} nats/token"
        figures = {"arms": {arm: found.figures() for arm, found in arms.items()}, "share of blocks": share, "share of the time": clock}
        return Outcome(self.judged(checks, against=equal_time.low > 0.15), ours, checks, figures)

    def _share(self, scale: DroppingScale) -> float:
        """Of the blocks, the mean over the schedule of the run."""
        method = METHODS.parse(DROPPING)
        assert isinstance(method, ProgressiveLayerDropping)
        layers = int(scale.preset.rpartition("x")[2])
        return float(np.mean([method.kept(step, scale.steps, layers) for step in range(scale.steps)]))

    def _run(self, scale: DroppingScale, folder: Path, setting: Setting, seed: int) -> dict[str, float]:
        """Minus the loss on one half of the held-out samples, the loss on the other one, and how long training took."""
        form = {"preset": scale.preset, "tokenizer": "ascii", "context": scale.context}

        def made() -> dict[str, float]:
            precision = "bf16" if self.size == "gpu" else "fp32"
            model = new(form, self.size, seed)
            log = fit(model, NextToken(data=self.corpus), setting, seed, batch=scale.batch, precision=precision)
            valid, test = Loss.parse({"data": self.corpus, "samples": scale.samples}).in_shares(model, 2)
            return {"valid": -valid(model)[0].estimate().value, "loss": test(model)[0].estimate().value, "seconds": log.seconds}

        described = {"model": form, "batch": scale.batch, **setting, "seed": seed, "data": self.corpus.fingerprint()}
        return remembered(folder / "layer-dropping", described, made)
