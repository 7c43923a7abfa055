"""What was tuned and trained anew becomes an answer: who forgets least where all have learned as much, and how sure that is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.decide.methods.answer import ArmResult, MethodDecision, Verdict, interval
from pliant.decide.methods.caveats import caveats
from pliant.decide.methods.halving import Finalist, TunedArm
from pliant.decide.methods.path import Passing, Trial, TunedPath, level_of
from pliant.decide.methods.versus import chosen_difference, difference, more_seeds, verdict
from pliant.statistics import Estimate, paired_difference

if TYPE_CHECKING:
    from pliant.decide.methods.ground import Half
    from pliant.decide.methods.plan import SearchPlan

MARGIN_SHARE = 0.05
"""The margin where none is given: this share of what is learned at the loss of the comparison."""
CONFIDENCE = 0.9
DOUBTED = "differs as it is set, but not in the runs that chose its settings: more --trials would tell"
SLACK = 0.05
"""Arms that miss the share by no more than this are compared, too, at the target loss that they all come to."""


@dataclass(frozen=True)
class JudgedOn:
    """What is judged on, how long runs are, and the words of the answer."""

    half: Half
    plan: SearchPlan
    target: str
    keep: str
    folder: str
    command: Callable[[Trial], str]
    """What trains with a setting."""


def judged(
    tuned: Sequence[TunedArm],
    finalists: Sequence[Finalist],
    about: JudgedOn,
    share: float,
    margin: float | None,
) -> MethodDecision:
    """The answer, from what was tuned and what of it was trained anew; see `pliant.decide.methods.decide` for the arguments."""
    half, plan = about.half, about.plan
    base = float(half.target.estimate().value)
    best = min((float(np.mean([path.least for path in one.paths])) for one in finalists), default=base)
    final = {one.tuned.arm.name for one in finalists}
    failed = [_failed(one) for one in tuned if one.arm.name not in final]
    trained = sum(path.steps[-1] for one in tuned for _, path in one.tried) + len(finalists) * plan.seeds * plan.steps
    shared: dict[str, Any] = {"steps": plan.steps, "seeds": plan.seeds, "target": about.target, "keep": about.keep, "base": base}
    shared |= {"trained": trained, "folder": about.folder, "units": (half.target.unit, half.keep.unit)}
    least = [one.least for one in finalists]
    if best >= base or min(least) >= base:
        arms = [*(_result(one, half, "undetermined") for one in finalists), *failed]
        still = "no arm lowers the held-out target loss with every seed; give more steps, or other data"
        why = still if finalists else "no arm could be trained"
        return MethodDecision(arms, "undetermined", level=None, margin=margin, reason=why, caveats=caveats(tuned, [], plan), **shared)
    near = level_of(base, best, share - SLACK)
    level = max(level_of(base, best, share), min(least), *(found for found in least if found <= near))
    width = MARGIN_SHARE * (base - level) if margin is None else margin
    passing = {one.tuned.arm.name: [path.passing(level) for path in one.paths] for one in finalists}
    there = {name: [one for one in found if one] for name, found in passing.items() if all(found)}
    arms, said, of, following = _compared(finalists, there, half, width, base - level)
    chosen = next(one for one in finalists if one.tuned.arm.name == arms[0].name)
    return MethodDecision(
        [*arms, *failed],
        said,
        level=level,
        margin=width,
        of=of,
        next=following,
        command=about.command(chosen.trial),
        caveats=[*caveats(tuned, finalists, plan), *_units(half, margin, width)],
        **shared,
    )


def _compared(
    finalists: Sequence[Finalist], there: Mapping[str, Sequence[Passing]], half: Half, margin: float, learned: float
) -> tuple[list[ArmResult], Verdict, list[str], Mapping[str, int] | None]:
    """The arms, the recommended one first; the verdict; the arms it is equal to or cannot be told from; and what would decide."""
    weights = half.keep.weights / half.keep.weights.sum()
    rises = {name: float(np.mean([one.rises @ weights for one in found])) for name, found in there.items()}
    least = min(rises, key=lambda name: rises[name])
    several = max(len(there) - 1, 1)
    confidence = 1 - (1 - CONFIDENCE) / several  # so that all intervals hold together

    def against(name: str) -> dict[str, Any]:
        return {other: difference(there[name], there[other], half, confidence) for other in there if other != name}

    first = next((name for name in there if name == least or verdict(against(least)[name], margin) == "equivalent"), least)
    effects = against(first)
    chosen_by = {one.tuned.arm.name: one.chosen_by for one in finalists}
    verdicts = {other: verdict(found, margin) for other, found in effects.items()}
    doubted = {
        other for other in effects if _doubted(verdicts[other], chosen_difference(chosen_by[first], chosen_by[other], learned), margin)
    }
    verdicts |= dict.fromkeys(doubted, "undetermined")
    results: list[ArmResult] = []
    for one in finalists:
        name = one.tuned.arm.name
        said = "recommended" if name == first else verdicts.get(name, "learns less")
        result = _result(one, half, said)
        if name in there:
            steps = float(np.mean([found.steps for found in there[name]]))
            result = replace(result, matched=rises[name], matched_steps=steps)
        if name in effects:
            found = effects[name]
            told = Estimate(found.value, found.stderr, found.low, found.high, found.n, confidence)
            needed = None if name in doubted else more_seeds(found, margin) if said == "undetermined" else 0
            result = replace(result, difference=told, more_seeds=needed, told=DOUBTED if name in doubted else "")
        results.append(result)
    results.sort(key=lambda result: (result.name != first, result.matched is None, result.matched or 0.0))
    open_ = [result for result in results if result.verdict in ("undetermined", "better")]
    if not open_:
        equal = [result.name for result in results if result.verdict == "equivalent"]
        return results, "equivalent" if equal else "answered", equal, None
    needed = [result.more_seeds for result in open_ if result.more_seeds]
    following = {"more_seeds": max(needed)} if len(needed) == len(open_) else None
    return results, "undetermined", [result.name for result in open_], following


def _doubted(said: str, chosen: float | None, margin: float) -> bool:
    """Whether the runs that chose the settings do not say so, too."""
    return (said == "worse" and (chosen is None or chosen <= margin)) or (said == "better" and (chosen is None or chosen >= -margin))


def _result(one: Finalist, half: Half, said: str) -> ArmResult:
    learned, forgotten = zip(*(_at(one.paths, half, point) for point in range(len(one.paths[0].steps))), strict=True)
    losses = np.mean([path.losses for path in one.paths], axis=0)
    return ArmResult(
        one.tuned.arm.name,
        said,
        lr=one.trial.lr,
        methods=one.trial.methods,
        learned=learned[-1],
        forgotten=forgotten[-1],
        least=float(np.mean([path.least for path in one.paths])),
        tried=_tried(one.tuned),
        path=[
            {"steps": steps, "loss": float(loss), "learned": interval(more), "forgotten": interval(rise)}
            for steps, loss, more, rise in zip(one.paths[0].steps, losses, learned, forgotten, strict=True)
        ],
    )


def _at(paths: Sequence[TunedPath], half: Half, point: int) -> tuple[Estimate, Estimate]:
    """How far the target loss has fallen and the kept loss has risen at a point of the path, over seeds, with intervals."""
    falls = np.stack([path.targets[0] - path.targets[point] for path in paths])
    rises = np.stack([path.rises[point] for path in paths])
    found = [
        paired_difference(values[:, None], np.zeros_like(values), read.weights, read.clusters, confidence=CONFIDENCE)
        for values, read in ((falls, half.target), (rises, half.keep))
    ]
    return found[0], found[1]


def _units(half: Half, given: float | None, margin: float) -> list[str]:
    """A margin that was derived from what is learned means little in another unit."""
    if given is not None or half.target.unit == half.keep.unit:
        return []
    return [
        f"what is learned is in {half.target.unit} and what is forgotten in {half.keep.unit}: the margin of {margin:.2g} is a twentieth of "
        "the one; give --margin in the unit of the other"
    ]


def _failed(one: TunedArm) -> ArmResult:
    return ArmResult(one.arm.name, "failed", told=one.dropped[0][1] if one.dropped else "", tried=_tried(one))


def _tried(one: TunedArm) -> list[dict[str, Any]]:
    """Every setting: how far it was trained and what it had come to, or why it was dropped."""
    ran = [
        {**_setting(trial), "steps": path.steps[-1], "loss": float(path.losses[-1]), "forgotten": float(path.forgotten[-1])}
        for trial, path in one.tried
    ]
    return ran + [{**_setting(trial), "dropped": why} for trial, why in one.dropped]


def _setting(trial: Trial) -> dict[str, Any]:
    return {"lr": trial.lr, "methods": [method.canonical() for method in trial.methods]}
