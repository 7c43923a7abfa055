"""One law for training bits and post-training bits together.

    L = A N_eff^-alpha + B D^-beta + E + delta
    delta = C_T e^b D^gD / N_eff^gN exp(-Ppost / g) * prod over x of (1 - exp(-C_x (Px - Ppost))),     x in w, a, kv

When to use it: runs trained at several bit widths and then rounded further. A model already trained at Ppost bits or
fewer loses nothing more (delta = 0). The factor of a part that was not trained in low precision is close to one.
What goes wrong: C_w, C_a and C_kv are not printed anywhere and only runs with Px one to three bits above Ppost carry
information on them; with 16-bit training they are flat, fix them.
Source: Kumar et al., arXiv 2411.04330, the unified form, with the offsets of `training_bits`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pliant.laws.forms import ptq, training_bits
from pliant.laws.forms.chinchilla import chinchilla
from pliant.laws.law import Law, Parameter

if TYPE_CHECKING:
    from torch import Tensor


def robustness(trained: Tensor, rounded: Tensor, rate: Tensor) -> Tensor:
    """1 - exp(-C (P - Ppost)): the fraction of the rise that training at P bits leaves; 0 where Ppost is not below P."""
    import torch

    return -torch.expm1(-rate * torch.clamp(trained - rounded, min=0))


def precision(
    N: Tensor, D: Tensor, Pw: Tensor, Pa: Tensor, Pkv: Tensor, Ppost: Tensor,
    E: Tensor, A: Tensor, B: Tensor, alpha: Tensor, beta: Tensor,
    gw: Tensor, nw: Tensor, ga: Tensor, na: Tensor, gkv: Tensor, nkv: Tensor,
    C_T: Tensor, b: Tensor, gD: Tensor, gN: Tensor, gpost: Tensor, Cw: Tensor, Ca: Tensor, Ckv: Tensor,
) -> Tensor:  # fmt: skip
    """Loss of training plus the rise of rounding, both of the effective size, in nats/token."""
    effective = N * training_bits.resolved_fraction(Pw, Pa, Pkv, gw, nw, ga, na, gkv, nkv)
    left = robustness(Pw, Ppost, Cw) * robustness(Pa, Ppost, Ca) * robustness(Pkv, Ppost, Ckv)
    return chinchilla(effective, D, E, A, B, alpha, beta) + left * ptq.ptq(effective, D, Ppost, C_T, b, gD, gN, gpost)


ROBUSTNESS = (
    Parameter("Cw", "how soon weight bits above Ppost bring the full rise", (1.0,)),
    Parameter("Ca", "the same for activation bits", (1.0,)),
    Parameter("Ckv", "the same for key and value bits", (1.0,)),
)

LAW = Law(
    name="precision",
    function=precision,
    columns=(*training_bits.LAW.columns, replace(ptq.BITS, default=16.0, description="bits after training; 16: not rounded")),
    parameters=(*training_bits.LAW.parameters, *(replace(part, starts=part.starts[-2:][:1]) for part in ptq.RISE), *ROBUSTNESS),
    linear=("E", "A", "B", "C_T"),
    tie={"beta": "alpha"},
    fix={"b": 0.0},
    scale=("N", "D"),
    source="Kumar et al., arXiv 2411.04330, the unified form",
    valid=training_bits.LAW.valid + "; post-training bits not above the training bits",
    identifiability="as `training_bits` and `ptq`; Cw, Ca, Ckv need runs trained a few bits above the bits they are rounded to",
    printed={reading: {**training_bits.PRINTED, **constants} for reading, constants in ptq.LAW.printed.items()},
)
