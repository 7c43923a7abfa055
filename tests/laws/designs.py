"""For each law a plausible truth and a grid of runs that identifies it: for simulated recovery and coverage."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pliant.laws import LAWS
from pliant.laws.law import Array
from pliant.laws.tables.simulate import grid

SIZES = (30e6, 60e6, 110e6, 220e6)
BUDGETS = (1.5e9, 3e9, 6e9, 13e9, 26e9)


@dataclass(frozen=True)
class Design:
    """A truth, a grid of runs, and the noise that one run has."""

    columns: dict[str, Array]
    parameters: dict[str, float]
    noise: float
    fixed: tuple[str, ...] = ()
    """Parameters to hold at the truth in a fit, because this grid says nothing about them."""

    free: tuple[str, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "free", tuple(name for name in self.parameters if name not in self.fixed))


def printed(law: str, where: str) -> dict[str, float]:
    return dict(LAWS[law].printed[where])


CHINCHILLA = {"E": 1.82, "A": 480.0, "B": 2100.0, "alpha": 0.35, "beta": 0.37}
KUMAR = "2411.04330, with its offset"
CACHE_FIXED = ("ga", "na", "gkv", "nkv")

DESIGNS: dict[str, Design] = {
    "chinchilla": Design(grid(N=(1e7, 3e7, 1e8, 3e8, 1e9), D=(3e8, 1e9, 3e9, 1e10, 3e10)), CHINCHILLA, 0.003),
    "overtrained": Design(
        grid(N=(1e7, 8e7, 1.5e8, 4e8), D=(1e9, 4e9, 1.6e10, 6.4e10)), printed("overtrained", "2403.08540 RedPajama"), 0.003
    ),
    "error": Design(grid(L=[2.0 + 0.1 * step for step in range(30)]), printed("error", "2403.08540 RedPajama, 17 tasks"), 0.005),
    "training_bits": Design(
        grid(N=SIZES, D=BUDGETS, Pw=(3, 4, 5, 6, 7, 8, 10, 12)), printed("training_bits", "2411.04330"), 0.01, ("beta", *CACHE_FIXED)
    ),
    "ptq": Design(grid(N=SIZES, D=BUDGETS, Ppost=(3, 4, 5, 6)), printed("ptq", KUMAR), 0.05, ("b",)),
    "qid": Design(grid(N=SIZES, D=BUDGETS, Ppost=(2, 3, 4)), {"k": 0.02, "beta": 0.5, "alpha": 0.25, "gamma": 5.5}, 0.05),
    "precision": Design(
        grid(N=SIZES, D=BUDGETS, Pw=(4, 6, 8, 12), Ppost=(3, 4, 5, 16)),
        printed("precision", KUMAR) | {"Cw": 0.6, "Ca": 1.0, "Ckv": 1.0},
        0.003,
        ("beta", *CACHE_FIXED, "b", "Ca", "Ckv"),
    ),
    "repetition": Design(
        grid(N=(1e7, 1e8, 1e9, 8e9), D=(1e9, 1e10, 1e11), U=(2e8, 1e9, 2e9)), printed("repetition", "2305.16264"), 0.005, ("beta",)
    ),
    "repetition_tokens": Design(
        grid(N=(1e7, 3e7, 1e8), D=(1e9, 1e10, 1e11), U=(2e8, 1e9, 2e9)), CHINCHILLA | {"beta": 0.35, "R_D": 15.4}, 0.003, ("beta",)
    ),
    "utility": Design(
        grid(n=[12.8e6 * epochs for epochs in (0.25, 0.5, 1, 2, 3, 4, 6, 8, 10)], S=(12.8e6,)),
        {"a": 0.022, "b": -0.2, "tau": 4.0, "d": 0.1},
        0.002,
        ("a", "d"),
    ),
    "sensitivity": Design(
        grid(D=(2e6, 4e6, 8e6, 16e6, 32e6), strength=(0.025, 0.05, 0.1)), {"c": 0.05, "p": 0.5, "q": 1.8, "r": 0.0}, 0.1, ("r",)
    ),
    "sensitivity_saturating": Design(
        grid(D=[2.5e5 * 2**step for step in range(9)], strength=(0.025, 0.05, 0.1)),
        {"c": 0.05, "p": 0.5, "q": 1.8, "r": 0.0, "D_0": 2e6, "s": 1.5},
        0.1,
        ("r",),
    ),
    "noisy_channel": Design(  # each noise term rules somewhere: c at large sizes, d at small ones with many tokens, e at few tokens
        grid(N=(7e7, 1.6e8, 4e8, 1e9, 2.8e9, 6.9e9, 1.2e10), D=(1e9, 4e9, 1.6e10, 6e10, 1.5e11, 3e11)),
        {"a": 0.04, "alpha": 0.075, "b": 1.0, "beta": 0.57, "c": 1.2e-8, "gamma": 0.66, "d": 0.1, "delta": 0.55, "e": 1e5},
        0.002,
        ("b",),
    ),
    "accuracy": Design(
        grid(L=[1.8 + 0.1 * step for step in range(25)]), {"chance": 0.25, "ceiling": 0.9, "slope": 4.0, "middle": 2.8}, 0.01
    ),
}
DESIGNS["utility_compat"] = DESIGNS["utility"]


def scheduled() -> dict[str, Array]:
    """Four runs of 4,000 to 20,000 steps at a peak of 3e-4: constant, cosine, and a sudden drop to two depths."""
    runs: list[tuple[float, Array, Array]] = []
    for name, steps, rate in (
        (1.0, 20_000, lambda share: np.ones_like(share)),
        (2.0, 12_000, lambda share: 0.55 + 0.45 * np.cos(np.pi * share)),
        (3.0, 10_000, lambda share: np.where(share < 0.5, 1.0, 0.3)),
        (4.0, 10_000, lambda share: np.where(share < 0.7, 1.0, 0.1)),
    ):
        step = np.arange(400.0, steps + 1, 400.0)
        runs.append((name, step, 3e-4 * rate(step / steps)))
    return {
        "run": np.concatenate([np.full(len(step), name) for name, step, _ in runs]),
        "step": np.concatenate([step for _, step, _ in runs]),
        "lr": np.concatenate([lr for _, _, lr in runs]),
    }


SHAPES = grid(width=(256, 512, 1024, 2048, 4096), depth=(4, 8, 16, 32, 64), D=(1e9, 1e10, 1e11))
SHAPES["N"] = 12 * SHAPES["width"] ** 2 * SHAPES["depth"]
STEP_LAW = {"rate": 1.79, "m": -0.713, "n": 0.307, "size": 0.58, "k": 0.571, "u": 0.0066, "v": 0.0059, "w": -0.0052}

DESIGNS.update(
    {
        "coupled": Design(
            grid(N=(1e7, 1e8, 1e9, 1e10, 1e11), D=(1e8, 1e9, 1e10, 1e11, 1e12)),
            {"E": 0.5, "A": 2000.0, "B": 3000.0, "alpha": 0.4, "beta": 0.45, "k": 0.5},
            0.003,
        ),
        "farseer": Design(
            grid(N=(1e8, 1e9, 1e10, 1e11, 1e12), D=(1e9, 1e10, 1e11, 1e12, 1e13)),
            {"a3": -0.2, "g": 0.2, "b3": 0.5, "a2": 0.4, "b": 0.2, "b2": 6.0, "a1": 0.05, "a": 0.2, "b1": -1.2},
            0.002,
        ),
        "experts": Design(
            grid(N=(1e7, 1e8, 1e9, 1e10), experts=(1, 2, 4, 8, 32, 128, 512)), printed("experts", "2202.01169 S-Base, refitted"), 0.003
        ),
        "mixture_of_experts": Design(
            grid(N=(1e7, 1e8, 1e9, 1e10), D=(1e9, 1e10, 1e11, 1e12), experts=(1, 4, 16, 64)),
            printed("mixture_of_experts", "2502.05172"),
            0.002,
            ("Es", "Em"),
        ),
        "granularity": Design(
            grid(N=(1e7, 1e8, 1e9, 1e10), D=(1e9, 1e10, 1e11), G=(1, 2, 4, 8, 16)), CHINCHILLA | {"g": 200.0, "gamma": 0.6}, 0.002
        ),
        "sparsity": Design(
            grid(N=(1e7, 1e8, 1e9, 1e10, 1e11), D=(1e9, 1e10, 1e11), S=(0.0, 0.5, 0.75, 0.9, 0.97)),
            CHINCHILLA | {"c": 0.3, "lam": -0.8, "d": 20.0, "delta": 0.4, "gamma": 0.2},
            0.001,
        ),
        "width_depth": Design(
            SHAPES, {"E": 1.5, "A": 12.0, "a": 0.5, "F": 1.2, "f": 0.8, "P": 60.0, "p": 0.25, "B": 2000.0, "b": 0.37}, 0.001
        ),
        "vocabulary": Design(
            grid(N=(3e7, 1e8, 3e8, 1e9), V=(4096, 16384, 65536), width=(512, 1024, 2048), D=(1e9, 1e10, 1e11)),
            {"E": 5.5328, "A1": 1.8314, "alpha1": 0.4466, "A2": 0.1958, "alpha2": 0.6707, "B": 2.1241, "beta": 0.4466},
            0.003,
            ("beta",),
        ),
        "parallel": Design(grid(N=(1e8, 5e8, 2e9, 1e10), P=(1, 2, 4, 8)), printed("parallel", "2505.10475 Pile, refitted"), 0.001),
        "broken_power": Design(
            grid(x=[10.0 ** (0.25 * step) for step in range(8, 41)]),
            {"a": 0.4, "b": 5.0, "c0": 0.1, "c1": 0.5, "d1": 1e6, "f1": 0.5},
            0.002,
        ),
        "step_law": Design(
            grid(N=(1e8, 3e8, 1e9), D=(3e9, 1e10, 1e11), lr=(3e-4, 1e-3, 3e-3), batch=(1e5, 4e5, 1.6e6)), CHINCHILLA | STEP_LAW, 0.001
        ),
        "task_ladder": Design(
            grid(N=(1e8, 4e8, 1.6e9, 6.4e9), D=(3e9, 1e10, 1e11, 1e12)),
            {"chance": 0.25, "ceiling": 1.0, "E": -2.0, "A": 80.0, "B": 400.0, "alpha": 0.2, "beta": 0.25},
            0.003,
            ("ceiling",),
        ),
        "bimix": Design(
            grid(r=(0.02, 0.05, 0.1, 0.3, 0.6), D=(1e9, 3e9, 1e10, 3e10, 1e11)), {"A": 1.5, "alpha": 0.1, "B": 900.0, "beta": 0.35}, 0.003
        ),
        "observational": Design(
            grid(PC1=(0.5, 0.8, 1.1, 1.4, 1.7), PC2=(-0.2, 0.0, 0.2), PC3=(-0.1, 0.1)),
            {"ceiling": 1.0, "b": -6.0, "w1": 5.0, "w2": 1.0, "w3": -2.0},
            0.01,
            ("ceiling",),
        ),
        "momentum": Design(scheduled(), {"L0": 2.6, "A": 0.6, "alpha": 0.5, "C": 0.3, "lam": 0.999}, 0.001, ("lam",)),
        "multi_power": Design(scheduled(), {"L0": 2.6, "A": 0.6, "alpha": 0.5, "B": 440.0, "C": 2.1, "beta": 0.6, "gamma": 0.65}, 0.0005),
    }
)
