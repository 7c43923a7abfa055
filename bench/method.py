"""Does `pliant decide method` pick well, and do its intervals hold? Problems held back, where the answer is known.

    python bench/method.py [REPEATS]     # write docs/decide-method.md

Idea: linear regression by stochastic gradient descent, from weights that are good at what is to be kept. The training outcome of every
setting is simulated (a run takes microseconds), and what a setting learns and forgets is known without samples: squared distances to the
two optima under the covariance of the inputs. Each repetition draws held-out samples and seeds anew and goes through the very search,
judgement and intervals of the command; a brute-force grid (every setting, many seeds, no sampling error) says what would have been best.
Regret is what the pick forgets more than the best setting of any arm at the same target loss, as a share of what is learned.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from pliant.decide.methods.answer import MethodDecision
from pliant.decide.methods.arm import TuningArm, parse_arms
from pliant.decide.methods.decide import search
from pliant.decide.methods.ground import Half
from pliant.decide.methods.judge import JudgedOn, judged
from pliant.decide.methods.path import Trial, TunedPath
from pliant.decide.methods.plan import SearchPlan
from pliant.errors import PliantError
from pliant.measures import Reading
from pliant.methods import Method
from pliant.statistics import Array

REPORT = Path(__file__).parents[1] / "docs" / "decide-method.md"
WIDTH, BATCH, RATE, GRID_SEEDS, REACH = 12, 8, 3e-2, 64, 0.9
PLAN = SearchPlan(steps=64, trials=8, seeds=3)
PROBLEMS = range(1000, 1020)
"""Their seeds; the rule of what is a claim was chosen on problems 0 to 9."""
ARMS: dict[str, dict[str, object]] = {
    "all different": {"full": "full", "pull": {"l2_start": {"strength": [0.1, 1.0, 10.0]}}, "average": {"wise_ft": {"alpha": [0.9]}}},
    "all equal": {"one": "full", "other": "full", "third": "full"},
    "two equal": {"one": "full", "other": "full"},
}
"""Arms by name: `full` is plain descent, `l2_start` a pull to the start, `wise_ft` the average with it."""


@dataclass(frozen=True, eq=False)
class Problem:
    """Inputs are standard normal, so a loss is the squared distance to an optimum, and a constant."""

    start: Array
    target: Array
    keep: Array
    noise: float

    def run(self, lr: float, methods: Sequence[Method], seed: int, points: Sequence[int]) -> list[Array]:
        """The weights after these steps. Raises PliantError where they have diverged."""
        way = self.way(lr, tuple(methods), seed)
        if not np.abs(way[: max(points) + 1]).max() < 1e6:
            raise PliantError("diverged")
        return [way[point] for point in points]

    @cache  # noqa: B019 (problems are few)
    def way(self, lr: float, methods: tuple[Method, ...], seed: int) -> Array:
        """The weights after every step; a pull is a proximal step."""
        generator = np.random.default_rng([seed, round(lr * 1e9) % 2**32])
        weights, kept = self.start, [self.start]
        pull = sum(getattr(method, "strength", 0.0) for method in methods if method.kind == "l2_start")
        share = next((getattr(method, "alpha") for method in methods if method.kind == "wise_ft"), 1.0)  # noqa: B009
        every = generator.normal(size=(PLAN.steps, BATCH, WIDTH))
        noise = generator.normal(0, self.noise, (PLAN.steps, BATCH))
        with np.errstate(all="ignore"):
            for inputs, errors in zip(every, noise, strict=True):
                weights = weights - lr * 2 / BATCH * ((inputs @ (weights - self.target) - errors) @ inputs)
                weights = (weights + lr * pull * self.start) / (1 + lr * pull)
                kept.append(weights)
            return self.start + share * (np.stack(kept) - self.start)


@cache
def problem(seed: int) -> Problem:
    """The base is near what is kept, and far from what is learned."""
    generator = np.random.default_rng(seed)
    keep, way = generator.normal(size=WIDTH), generator.normal(size=WIDTH) * np.geomspace(2, 0.1, WIDTH)
    return Problem(keep + generator.normal(0, 0.1, WIDTH), keep + way, keep, 0.5)


@dataclass(frozen=True, eq=False)
class Samples:
    """Held-out inputs and their noise, of what is learned and of what is kept."""

    inputs: tuple[Array, Array]
    noise: tuple[Array, Array]

    def losses(self, found: Problem, weights: Array) -> tuple[Array, Array]:
        """Squared errors of either."""
        both = zip(self.inputs, self.noise, (found.target, found.keep), strict=True)
        learned, kept = ((inputs @ (weights - optimum) - noise) ** 2 for inputs, noise, optimum in both)
        return learned, kept


def samples(generator: np.random.Generator, count: int, noise: float) -> Samples:
    inputs = generator.normal(size=(count, WIDTH)), generator.normal(size=(count, WIDTH))
    return Samples(inputs, (generator.normal(0, noise, count), generator.normal(0, noise, count)))


@dataclass(frozen=True)
class Simulated:
    """A run whose outcome is simulated."""

    of: Problem
    lr: float
    methods: tuple[Method, ...]
    seed: int
    read: Samples

    def path(self, points: Sequence[int], advance: object) -> TunedPath:
        weights = [self.of.start, *self.of.run(self.lr, self.methods, self.seed, points)]
        losses = [self.read.losses(self.of, one) for one in weights]
        targets, kept = np.stack([one for one, _ in losses]), np.stack([one for _, one in losses])
        ones = np.ones(targets.shape[1])
        return TunedPath((0, *points), targets, kept - kept[0], ones, ones)

    def forget(self) -> None:
        """Nothing is kept."""


def decided(found: Problem, arms: Sequence[TuningArm], seed: int, count: int) -> MethodDecision:
    """What the command would answer, from fresh samples and seeds."""
    generator = np.random.default_rng([seed, 1])
    halves = [samples(generator, count, found.noise) for _ in range(2)]

    def trial(lr: float, methods: tuple[Method, ...], own: int, judges: bool) -> Trial:
        arm = next(place for place, one in enumerate(arms) if (lr, methods) in one.settings(PLAN.trials, RATE))
        return Simulated(found, lr, methods, int(generator.integers(2**31)) + own + arm, halves[judges])

    tuned, finalists = search(arms, PLAN, RATE, trial, 0.9, 0, lambda _: None)
    base = halves[1].losses(found, found.start)
    readings = [Reading("loss", "units", [f"{n}:0" for n in range(count)], one, np.ones(count)) for one in base]
    half = Half((lambda _: [], lambda _: []), *readings)
    return judged(tuned, finalists, JudgedOn(half, PLAN, "target", "kept", "", lambda _: ""), 0.9, None)


@cache
def truth(found: Problem, lr: float, methods: tuple[Method, ...]) -> list[TunedPath]:
    """The paths of a setting with many seeds, without samples; none where one diverges."""
    paths, ones = list[TunedPath](), np.ones(1)
    try:
        for seed in range(GRID_SEEDS):
            weights = np.stack([found.start, *found.run(lr, methods, 10**6 + seed, PLAN.along)])
            learned, lost = (((weights - one) ** 2).sum(1)[:, None] + found.noise**2 for one in (found.target, found.keep))
            paths.append(TunedPath((0, *PLAN.along), learned, lost - lost[0], ones, ones))
    except PliantError:
        return []
    return paths


def rise_of(paths: Sequence[TunedPath], level: float) -> float | None:
    """What is forgotten at this target loss, on average over seeds; None where not all come to it."""
    there = [path.passing(level) for path in paths]
    rises = [float(one.rises[0]) for one in there if one is not None]
    return float(np.mean(rises)) if rises and len(rises) > REACH * len(paths) else None


Outcome = dict[str, list[float]]
HEADS = {
    "scored": "scored",
    "regret": "regret",
    "covered": "covers what is forgotten",
    "apart": "covers differences",
    "false": "a false claim, settings as chosen",
    "false_best": "a false claim, best settings",
    "claims": "any claim",
    "said_equal": "equivalent said of more than twice the margin",
}


def judge(name: str, repeats: int, count: int) -> tuple[Outcome, dict[str, int]]:
    """What came of so many answers; see `HEADS`."""
    arms = parse_arms(ARMS[name])
    found: Outcome = {head: [] for head in HEADS}
    said = dict.fromkeys(("answered", "equivalent", "undetermined"), 0)
    grids: dict[int, dict[tuple[str, float, tuple[Method, ...]], list[TunedPath]]] = {}
    for repeat in range(repeats):
        number = PROBLEMS[repeat % len(PROBLEMS)]
        at = problem(number)
        grid = grids.setdefault(number, {(arm.name, *one): truth(at, *one) for arm in arms for one in arm.settings(PLAN.trials, RATE)})
        answer = decided(at, arms, repeat, count)
        said[answer.verdict] += 1
        score(found, answer, at, grid)
    return found, said


def score(found: Outcome, answer: MethodDecision, at: Problem, grid: dict[tuple[str, float, tuple[Method, ...]], list[TunedPath]]) -> None:
    """One answer against the truth."""
    best = answer.best
    if best is None or best.lr is None or best.forgotten is None:
        return
    base = float(((at.start - at.target) ** 2).sum() + at.noise**2)
    level = base - (answer.base - (answer.level or 0.0))  # as far from the true base as the comparison is from the sampled one
    rises = {one: rise for one, paths in grid.items() if (rise := rise_of(paths, level)) is not None}
    least = {name: min((rise for (arm, _, _), rise in rises.items() if arm == name), default=np.inf) for name, _, _ in grid}
    own = grid[best.name, best.lr, best.methods]
    if own:
        final = float(np.mean([path.forgotten[-1] for path in own]))
        found["covered"].append(best.forgotten.low <= final <= best.forgotten.high)
    found["scored"].append((best.name, best.lr, best.methods) in rises)
    mine = rises.get((best.name, best.lr, best.methods))
    if mine is not None:
        found["regret"].append((mine - min(rises.values())) / (base - level))
    wrong, wrong_best, equal = [False], [False], [False]
    for arm in answer.arms[1:]:
        theirs, sign = rises.get((arm.name, arm.lr or 0.0, arm.methods)), {"worse": 1, "better": -1}.get(arm.verdict)
        if sign:
            wrong_best.append(not sign * (least[arm.name] - least[best.name]) > 0)
        if arm.difference is None or theirs is None or mine is None:
            continue
        found["apart"].append(arm.difference.low <= theirs - mine <= arm.difference.high)
        if sign:
            wrong.append(sign * (theirs - mine) <= 0)
        if arm.verdict == "equivalent":
            equal.append(abs(theirs - mine) > 2 * (answer.margin or 0.0))
    found["false"].append(any(wrong))
    found["false_best"].append(any(wrong_best))
    found["claims"].append(len(wrong_best) > 1)
    found["said_equal"].append(any(equal))


def main(repeats: int) -> None:
    """The report."""
    rows = [
        f"| arms | samples | {' | '.join([*HEADS.values(), 'answered', 'equivalent', 'undetermined'])} |",
        f"|{'---|' * (5 + len(HEADS))}",
    ]
    for name in ARMS:
        for count in (32, 128):
            found, said = judge(name, repeats, count)
            told = [float(np.mean(found[head])) for head in HEADS] + [one / repeats for one in said.values()]
            rows.append(f"| {name} | {count} | {' | '.join(f'{one:.3f}' for one in told)} |")
            print(rows[-1], flush=True)
    table = "\n".join(rows)
    settings = f"{PLAN.trials} settings an arm, {PLAN.seeds} fresh seeds, runs of {PLAN.steps} steps"
    REPORT.write_text(f"""# Which method, on problems held back

Written by `python bench/method.py`; do not edit. {len(PROBLEMS)} linear problems that the rule of what is a claim was not chosen
on, {repeats} repetitions each row: fresh held-out samples and seeds,
{settings}, through the search and judgement of `pliant decide method`.
The truth is a brute-force grid over every setting of every arm, {GRID_SEEDS} seeds each and no samples. Regret is what the pick forgets
more than the best of the grid at the same target loss, as a share of what is learned; it is scored where the setting picked surely comes to
that loss. Intervals are of 90%, those of differences for all arms together. A claim says that one method forgets more than another, by over
the margin; it is judged at the settings as chosen, and at the best settings of either method, where every claim about equal methods is
false. Repetitions on one problem share what settings are good there, so they are not independent.

{table}
""")


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 200)
