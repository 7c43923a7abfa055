"""What was tuned and trained anew becomes an answer: who forgets least where all have learned as much, and how sure that is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pliant.changes.told import corpus_name
from pliant.decide.methods.answer import ArmResult, MethodDecision, Verdict
from pliant.decide.methods.command import command
from pliant.decide.methods.halving import TunedArm
from pliant.decide.methods.path import Passing, TunedPath, level_of
from pliant.decide.methods.trial import TuningTrial
from pliant.decide.methods.versus import difference, more_seeds, verdict
from pliant.statistics import Estimate, paired_difference

if TYPE_CHECKING:
    from pliant.decide.methods.ground import Ground, Half
    from pliant.decide.methods.plan import SearchPlan

MARGIN_SHARE = 0.05
"""The margin where none is given: this share of what is learned at the loss of the comparison."""
CONFIDENCE = 0.9
SLACK = 0.05
"""Arms that miss the share by no more than this are compared, too, at the target loss that they all come to."""


@dataclass(frozen=True)
class Finalist:
    """An arm's best setting, trained with fresh seeds."""

    tuned: TunedArm
    trial: TuningTrial
    paths: Sequence[TunedPath]

    @property
    def least(self) -> float:
        """The target loss that every seed reaches."""
        return max(path.least for path in self.paths)


def judged(
    tuned: Sequence[TunedArm],
    finalists: Sequence[Finalist],
    ground: Ground,
    plan: SearchPlan,
    keep: str,
    share: float,
    margin: float | None,
) -> MethodDecision:
    """The answer, from what was tuned and what of it was trained anew; see `pliant.decide.methods.decide` for the arguments."""
    half = ground.judging
    base, target = float(half.target.estimate().value), corpus_name(ground.finetune.trains_on[0])
    best = min((float(np.mean([path.least for path in one.paths])) for one in finalists), default=base)
    final = {one.tuned.arm.name for one in finalists}
    failed = [_failed(one) for one in tuned if one.arm.name not in final]
    trained = sum(path.steps[-1] for one in tuned for _, path in one.tried) + len(finalists) * plan.seeds * plan.steps
    shared: dict[str, Any] = {"steps": plan.steps, "seeds": plan.seeds, "target": target, "keep": keep, "base": base, "trained": trained}
    shared |= {"folder": str(ground.folder)}
    least = [one.least for one in finalists]
    if best >= base or min(least) >= base:
        arms = [*(_result(one, half, "undetermined") for one in finalists), *failed]
        still = "no arm lowers the held-out target loss with every seed; give more steps, or other data"
        why = still if finalists else "no arm could be trained"
        return MethodDecision(arms, "undetermined", level=None, margin=margin, reason=why, caveats=_caveats(tuned, [], plan), **shared)
    near = level_of(base, best, share - SLACK)
    level = max(level_of(base, best, share), min(least), *(found for found in least if found <= near))
    width = MARGIN_SHARE * (base - level) if margin is None else margin
    passing = {one.tuned.arm.name: [path.passing(level) for path in one.paths] for one in finalists}
    there = {name: [one for one in found if one] for name, found in passing.items() if all(found)}
    arms, said, of, following = _compared(finalists, there, half, width)
    chosen = next(one for one in finalists if one.tuned.arm.name == arms[0].name)
    return MethodDecision(
        [*arms, *failed],
        said,
        level=level,
        margin=width,
        of=of,
        next=following,
        command=command(ground, chosen.trial, plan.steps),
        caveats=_caveats(tuned, finalists, plan),
        **shared,
    )


def _compared(
    finalists: Sequence[Finalist], there: Mapping[str, Sequence[Passing]], half: Half, margin: float
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
    verdicts = {other: verdict(found, margin) for other, found in effects.items()}
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
            needed = more_seeds(found, margin) if said == "undetermined" else 0
            result = replace(result, difference=told, more_seeds=needed)
        results.append(result)
    results.sort(key=lambda result: (result.name != first, result.matched is None, result.matched or 0.0))
    open_ = [result for result in results if result.verdict in ("undetermined", "better")]
    if not open_:
        equal = [result.name for result in results if result.verdict == "equivalent"]
        return results, "equivalent" if equal else "answered", equal, None
    needed = [result.more_seeds for result in open_ if result.more_seeds]
    following = {"more_seeds": max(needed)} if len(needed) == len(open_) else None
    return results, "undetermined", [result.name for result in open_], following


def _result(one: Finalist, half: Half, said: str) -> ArmResult:
    targets, rises = np.stack([path.targets[-1] for path in one.paths]), np.stack([path.rises[-1] for path in one.paths])
    start = np.broadcast_to(half.target.values, targets.shape)
    learned = paired_difference(start[:, None], targets, half.target.weights, half.target.clusters)
    forgotten = paired_difference(rises[:, None], np.zeros_like(rises), half.keep.weights, half.keep.clusters)
    losses, lost = (np.mean([getattr(path, name) for path in one.paths], axis=0) for name in ("losses", "forgotten"))
    means = zip(one.paths[0].steps, losses, lost, strict=True)
    return ArmResult(
        one.tuned.arm.name,
        said,
        lr=one.trial.lr,
        methods=one.trial.methods,
        learned=learned,
        forgotten=forgotten,
        least=float(np.mean([path.least for path in one.paths])),
        tried=_tried(one.tuned),
        path=[{"steps": steps, "loss": float(loss), "forgotten": float(rise)} for steps, loss, rise in means],
    )


def _failed(one: TunedArm) -> ArmResult:
    return ArmResult(one.arm.name, "failed", told=one.dropped[0][1] if one.dropped else "", tried=_tried(one))


def _tried(one: TunedArm) -> list[dict[str, Any]]:
    """Every setting: how far it was trained and what it had come to, or why it was dropped."""
    ran = [
        {**_setting(trial), "steps": path.steps[-1], "loss": float(path.losses[-1]), "forgotten": float(path.forgotten[-1])}
        for trial, path in one.tried
    ]
    return ran + [{**_setting(trial), "dropped": why} for trial, why in one.dropped]


def _setting(trial: TuningTrial) -> dict[str, Any]:
    return {"lr": trial.lr, "methods": [method.canonical() for method in trial.methods]}


def _caveats(tuned: Sequence[TunedArm], finalists: Sequence[Finalist], plan: SearchPlan) -> list[str]:
    found: list[str] = []
    for one in tuned:
        if one.dropped and one.finished:
            rates = ", ".join(f"lr {trial.lr:g}" for trial, _ in one.dropped)
            found.append(f"{one.arm.name}: {len(one.dropped)} of {plan.trials} settings dropped ({rates}): {one.dropped[0][1]}")
    for final in finalists:
        for word, edge in (("lowest", final.tuned.rates[0]), ("highest", final.tuned.rates[1])):
            if final.trial.lr == edge and plan.trials > 1:
                found.append(
                    f"{final.tuned.arm.name}: its best learning rate is the {word} that was tried, {edge:g}; a better one may lie beyond"
                )
    if plan.seeds == 1 and finalists:
        found.append("one seed: how much another would change is in no interval")
    return found
