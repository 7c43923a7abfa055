"""DoRA: LoRA learns the direction of each matrix's columns, and their lengths are learned beside it.

Idea: W = m (W0 + (alpha / r) B A) / |W0 + (alpha / r) B A|, norms per output; m starts as W0's norms, so that training starts from the
network as it is.
When to use it: low ranks, where it is closer to full fine-tuning than LoRA is.
Cost: the matrices' norms at every step, so a step is some 1.2 to 2 times as long as LoRA's.
What goes wrong: as LoRA; at tuned learning rates the two are often equal, so tune both before you prefer one.
Source: arXiv 2402.09353. Layers by PEFT.
"""

from __future__ import annotations

from pliant.methods.lora import Lora


class Dora(Lora):
    """Learn a low-rank update of directions, and lengths; merged into the weights in the end."""

    holds = Lora.holds | {"magnitudes"}
    magnitudes = True
