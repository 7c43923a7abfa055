"""For each law a plausible truth and a grid of runs that identifies it: for simulated recovery and coverage."""

from __future__ import annotations

from dataclasses import dataclass, field

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
