"""Which group is better at scale: rolling origins over published tables, every origin judged with constants learned on the others.

    python bench/between.py                 # judge, and write docs/decide-between.md
    python bench/between.py fit [ORIGIN ..] # learn the constants without an origin (`none`: on all), into bench/between.json

A case stops at a common scale, sees what lies at or below it, and is asked about a larger scale that was measured; pairs, and the best
of up to 32 groups. Every origin counts the same, whatever its number of tables. Compared with ranking at the largest common scale (the
choice itself), each group's own power law of compute extrapolated, and a bootstrap of each group's runs that knows no drift.
"""

from __future__ import annotations

import itertools
import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pliant.decide.groups.between import LAPSE
from pliant.decide.groups.chances import best
from pliant.decide.groups.drift import LEARNED, Constants, deviations, last_seen, outlook
from pliant.decide.groups.level import level
from pliant.decide.groups.record import own_record

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "bench" / "groups"))
from figures import report  # noqa: E402
from published import Table, tables  # noqa: E402

STORE, REPORT = ROOT / "bench" / "between.json", ROOT / "docs" / "decide-between.md"
CASES = {"fit": (20, 10), "judge": (200, 100)}
"""Pairs and larger sets of groups that are drawn of an origin."""
BANDS = {"under 2x": (0, 2), "2-5x": (2, 5), "5-20x": (5, 20), "over 20x": (20, np.inf)}
SAID = ((0.0, 0.5), (0.5, 0.6), (0.6, 0.7), (0.7, 0.85), (0.85, 0.95), (0.95, 1.01))


@dataclass(frozen=True)
class Case:
    """Log losses of groups up to a scale, and what they were at a larger one."""

    origin: str
    table: str
    values: np.ndarray
    position: np.ndarray
    target: float
    truth: np.ndarray
    variance: float

    @property
    def distance(self) -> float:
        return float(np.exp(self.target - self.position[-1]))


def cases(table: Table, generator: np.random.Generator) -> list[Case]:
    """Of every origin and larger scale of a table: a few pairs, and sets of 4, 8, 16 and all groups."""
    position, values = table.cells.position, table.cells.values
    found: list[Case] = []
    for stop, at in itertools.combinations(range(1, len(position) + 1), 2):
        seen, known = values[:, at - 1], np.isfinite(values[:, :stop]).any(axis=1)
        groups = np.flatnonzero(np.isfinite(seen) & known)
        if len(groups) < 2 or position[at - 1] - position[stop - 1] < 0.05:
            continue
        pairs = list(itertools.combinations(groups.tolist(), 2))
        drawn = [pairs[place] for place in generator.permutation(len(pairs))[: max(2, 24 // (len(position) - 1))]]
        drawn += [sorted(generator.choice(groups, size, replace=False)) for size in (4, 8, 16) if len(groups) > size]
        drawn += [groups.tolist()] if 2 < len(groups) <= 32 else []
        for chosen in drawn:
            before = values[list(chosen)][:, :stop]
            shared = np.isfinite(before).sum(axis=0) >= 2
            if np.isfinite(before[:, shared]).any(axis=1).all():
                variance = (table.cells.seed_sd or 0.0) ** 2
                truth = seen[list(chosen)]
                found.append(
                    Case(table.origin, table.name, before[:, shared], position[:stop][shared], float(position[at - 1]), truth, variance)
                )
    return found


def drawn(kind: str) -> dict[str, list[Case]]:
    """Cases by origin."""
    generator, everything = np.random.default_rng(0), defaultdict[tuple[str, bool], list[Case]](list)
    for table in tables():
        for case in cases(table, generator):
            everything[case.origin, len(case.truth) == 2].append(case)
    kept = defaultdict[str, list[Case]](list)
    for (origin, pair), found in everything.items():
        most = CASES[kind][0 if pair else 1]
        kept[origin] += [found[place] for place in generator.permutation(len(found))[:most]]
    return dict(kept)


def chances(case: Case, constants: Constants) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each group: the probability to be best, the regret, and where its trend leads."""
    found = outlook(case.values, case.position, np.array([case.target]), case.variance, constants)
    chance, excess = best(found.mean[:, :, 0], found.spread(), found.weight)
    return (1 - LAPSE) * chance + LAPSE / len(chance), excess, found.weight @ found.mean[:, :, 0]


def law_choice(case: Case) -> int:
    """The group whose own power law of compute is lowest at the target; the rank where a law cannot be fitted."""
    predicted: list[float] = []
    for row in case.values:
        there = np.flatnonzero(np.isfinite(row))
        if len(there) < 3:
            return int(np.argmin(last_seen(deviations(case.values), case.position)))
        scales, compute = np.exp(case.position[there])[:, None], case.position[there]
        predicted.append(level(scales, row[there], compute, np.exp([case.target]), 1.0)[0])
    return int(np.argmin(predicted))


def naive(case: Case, generator: np.random.Generator) -> float:
    """How sure a bootstrap of gaps is that the leading pair keeps its order: their mean, resampled, as if gaps did not move."""
    gaps = case.values[0] - case.values[1]
    gaps = gaps[np.isfinite(gaps)]
    means = generator.choice(gaps, (200, len(gaps))).mean(axis=1) if len(gaps) > 1 else gaps
    return float(np.mean(np.sign(means) == np.sign(gaps[-1])))


def judged(cases_of: Sequence[Case], constants: Constants) -> list[dict[str, Any]]:
    """What was said and what came of it, a row a case."""
    generator, rows = np.random.default_rng(1), list[dict[str, Any]]()
    for case in cases_of:
        chance, excess, trend = chances(case, constants)
        rank, lead, true = (
            int(np.argmin(last_seen(deviations(case.values), case.position))),
            int(np.argmin(trend)),
            int(np.argmin(case.truth)),
        )
        earned = rank != lead and own_record(case.values, case.position, case.variance, constants).earned
        chosen = lead if earned else rank
        rows.append(
            {
                "table": case.table,
                "groups": len(case.truth),
                "distance": case.distance,
                "said": float(chance[chosen]),
                "right": chosen == true,
                "rank": rank == true,
                "law": law_choice(case) == true,
                "earned": earned,
                "regret": float(case.truth[chosen] - case.truth.min()),
                "rank_regret": float(case.truth[rank] - case.truth.min()),
                "expected": float(excess[chosen]),
                "naive": naive(case, generator) if len(case.truth) == 2 else None,
            }
        )
    return rows


def learn(without: str, every: dict[str, list[Case]]) -> Constants:
    """Constants of the best log score of the true winner, every origin counting the same, larger sets less than half of pairs."""
    from scipy.optimize import minimize

    used = [found for origin, found in every.items() if origin != without]
    start = np.log([LEARNED.noise, LEARNED.noise_sd, LEARNED.slope, LEARNED.slope_sd, LEARNED.share, *LEARNED.memories[:1]])

    def constants(theta: np.ndarray) -> Constants:
        noise, noise_sd, slope, slope_sd, share, memory = np.exp(theta)
        return Constants(noise, noise_sd, slope, slope_sd, share, (memory, 4 * memory))

    def cost(theta: np.ndarray) -> float:
        total = 0.0
        for found in used:
            scores = {True: list[float](), False: list[float]()}
            for case in found:
                scores[len(case.truth) == 2].append(float(np.log(chances(case, constants(theta))[0][np.argmin(case.truth)])))
            total -= float(np.mean(scores[True] or [0])) + 0.4 * float(np.mean(scores[False] or [0]))
        return total / len(used) + 0.02 * float(theta[1] ** 2 + theta[3] ** 2)

    simplex = np.vstack([start, start + np.diag([0.4, 0.3, 0.4, 0.3, 0.4, 0.3])])
    answer = minimize(cost, start, method="Nelder-Mead", options={"maxfev": 26, "initial_simplex": simplex})
    return constants(answer.x)


def known() -> dict[str, Constants]:
    """The constants learned so far, by the origin left out."""
    stored = json.loads(STORE.read_text()) if STORE.exists() else {}
    return {origin: Constants(**(form | {"memories": tuple(form["memories"])})) for origin, form in stored.items()}


def main() -> None:
    if sys.argv[1:2] == ["fit"]:
        every = drawn("fit")
        for origin in sys.argv[2:] or ["none", *every]:
            found = {name: asdict(value) for name, value in known().items()} | {origin: asdict(learn(origin, every))}
            STORE.write_text(json.dumps(found, indent=1, sort_keys=True) + "\n")
            print(origin, found[origin], flush=True)
        return
    constants, rows = known(), dict[str, list[dict[str, Any]]]()
    for origin, found in drawn("judge").items():
        rows[origin] = judged(found, constants.get(origin, LEARNED))
        print(origin, len(rows[origin]), flush=True)
    REPORT.write_text(report(rows, BANDS, SAID), encoding="utf-8")
    pairs = [row for found in rows.values() for row in found if row["groups"] == 2]
    sure = [row["right"] for row in pairs if 0.85 <= row["said"] < 0.95]
    print(
        json.dumps(
            {
                "name": "between",
                "claim": "Which group is better at a larger scale, on published tables, against ranking at the largest common scale",
                "ratio": float(np.mean([row["right"] for row in pairs]) / np.mean([row["rank"] for row in pairs])),
                "target": 1.0,
                "equal_results": bool(0.85 <= np.mean(sure) <= 0.95),
                "right_of_pairs_called_90%_sure": round(float(np.mean(sure)), 3),
                "laws_right": round(float(np.mean([row["law"] for row in pairs])), 3),
            }
        )
    )


if __name__ == "__main__":
    main()
