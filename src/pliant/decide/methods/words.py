"""The answer in tables and lines, as the terminal and the page have them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pliant.decide.methods.answer import ArmResult, MethodDecision
    from pliant.statistics import Estimate


def table(found: MethodDecision) -> tuple[list[str], list[list[str]]]:
    """Headings, and a row for every arm, the recommended one first."""
    at = "" if found.level is None else f" at {found.level:.4g}"
    headings = ["arm", "settings", "verdict", "learned", "forgotten", f"forgotten{at}", "at step", "more than the first"]
    return headings, [_row(arm) for arm in found.arms]


def rows(found: MethodDecision) -> list[dict[str, str]]:
    """The table's rows by its headings."""
    headings, told = table(found)
    return [dict(zip(headings, row, strict=True)) for row in told]


def lines(found: MethodDecision) -> list[str]:
    """What the columns are, in which direction they are better, and what to beware of."""
    failed = [f"failed: {arm.name}: {arm.told}" for arm in found.arms if arm.verdict == "failed"]
    return [*([legend(found)] if any(arm.learned for arm in found.arms) else []), *failed, *(f"but: {caveat}" for caveat in found.caveats)]


def legend(found: MethodDecision) -> str:
    """Units and directions."""
    target, keep = found.target, found.keep
    level = "" if found.level is None else f"; at {found.level:.4g}: when the loss of {target} has fallen to that, from {found.base:.4g}"
    return (
        f"learned: how far the loss of {target} falls, {found.units[0]}, higher is better; forgotten: how far that of {keep} rises, "
        f"{found.units[1]}, lower is better{level}; 90% intervals over samples and {found.seeds} seed{'s' * (found.seeds > 1)}"
    )


def _row(arm: ArmResult) -> list[str]:
    if arm.lr is None or arm.learned is None or arm.forgotten is None:
        return [arm.name, "", arm.verdict, "", "", "", "", ""]
    matched = ["", ""] if arm.matched is None else [f"{arm.matched:.4f}", f"{arm.matched_steps:.0f}"]
    return [arm.name, arm.short(), arm.verdict, _told(arm.learned), _told(arm.forgotten), *matched, _told(arm.difference, "+")]


def _told(one: Estimate | None, sign: str = "") -> str:
    return "" if one is None else f"{one.value:{sign}.4f} [{one.low:{sign}.4f}, {one.high:{sign}.4f}]"
