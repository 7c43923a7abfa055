"""How many tokens stand behind the name of a revision.

Idea: published series say how far training had come in the names of their branches, each family in its own way. The
patterns read here (with the family that uses them):

| name | tokens |
|---|---|
| `step143000` | step x batch (Pythia: 2,097,152 tokens a batch) |
| `step1000-tokens4B` | as named (OLMo) |
| `stage1-step150-tokens1B` | as named (OLMo 2) |
| `stage2-ingredient1-step1000-tokens5B` | as named, after all of stage 1 (OLMo 2) |
| `step-001000-2BT` | as named |
| `step69369-seed-default` | step x batch (DataDecide) |
| `global_step5000` | step x batch |
| `128000` | step x batch |

When there are several answers, the most explicit one wins: the user's map, step x the user's batch, the name's own
tokens, step x a batch known for the family. What goes wrong: tokens in names are rounded (`tokens4B` is 1,000 steps
of 4,194,304), so give the batch where exact numbers matter.
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pliant.errors import PliantError
from pliant.numbers import parse_count

_STEP, _COUNT = r"(?P<step>[0-9]{1,15})", r"[0-9]{1,6}(?:\.[0-9]{1,3})?"
"""Bounded, since names come from elsewhere: a longer row of digits is no step, and the name tells nothing."""
PATTERNS = tuple(
    re.compile(pattern)
    for pattern in (
        rf"step{_STEP}",
        rf"(?:stage(?P<stage>[0-9]{{1,2}})-)?(?:ingredient[0-9]{{1,9}}-)?step{_STEP}-tokens(?P<tokens>{_COUNT}[KMBT])",
        rf"step-{_STEP}-(?P<tokens>{_COUNT}[KMB])T",
        rf"step{_STEP}-seed-(?P<seed>[\w-]+)",
        rf"global_step{_STEP}",
        rf"{_STEP}",
    )
)
"""At most one of them matches a name as a whole."""

KNOWN_BATCH_TOKENS = {"EleutherAI/pythia-*": 2_097_152}
"""Tokens a step of families that never changed their batch, by hub name."""


@dataclass(frozen=True)
class Revision:
    """What a revision's name says. `tokens` are those of its own stage; `stage` is None outside staged training."""

    name: str
    step: int | None = None
    tokens: int | None = None
    stage: int | None = None
    seed: str | None = None

    @property
    def steps(self) -> int | None:
        """Optimizer steps from the beginning of training; None in a later stage, whose steps begin anew."""
        return self.step if (self.stage or 1) == 1 else None


def parse(name: str) -> Revision | None:
    """What the name says, or None when it follows none of the patterns."""
    for pattern in PATTERNS:
        match = pattern.fullmatch(name)
        if match is not None:
            found = match.groupdict()
            return Revision(
                name,
                step=int(found["step"]),
                tokens=parse_count(found["tokens"]) if found.get("tokens") else None,
                stage=int(found["stage"]) if found.get("stage") else None,
                seed=found.get("seed"),
            )
    return None


def known_batch_tokens(hub: str) -> int | None:
    """Tokens a step of a well-known family, by the name of its hub repository."""
    return next((tokens for family, tokens in KNOWN_BATCH_TOKENS.items() if fnmatch.fnmatchcase(hub, family)), None)


def tokens_of(
    names: Sequence[str],
    *,
    hub: str = "",
    batch_tokens: int | None = None,
    token_map: Mapping[str, int] | None = None,
    all_names: Iterable[str] = (),
) -> dict[str, int]:
    """Training tokens behind each revision of one repository, in increasing order.

    Args:
        names: The revisions in question.
        hub: The repository's name, for families whose batch is known.
        batch_tokens: Tokens a step; overrides what names say.
        token_map: Revision -> tokens, where the user knows better.
        all_names: Every revision of the repository; where a later stage counts its tokens from zero, its starting
            point is the end of the stage before it among these.

    Raises PliantError, asking for the map, when a name does not tell.
    """
    given = dict(token_map or {})
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise PliantError(f"the token map names {unknown[0]!r}, which is not among the revisions ({_some(names)})")
    family_batch = known_batch_tokens(hub)

    def in_stage(revision: Revision) -> int | None:
        if batch_tokens is not None and revision.step is not None:
            return revision.step * batch_tokens
        if revision.tokens is not None:
            return revision.tokens
        return revision.step * family_batch if family_batch is not None and revision.step is not None else None

    stage_ends: dict[int, int] = {}
    for revision in filter(None, map(parse, {*names, *all_names})):
        if revision.stage is not None:
            stage_ends[revision.stage] = max(stage_ends.get(revision.stage, 0), in_stage(revision) or 0)
    tokens = {
        name: given[name] if name in given else _from_name(name, in_stage(parse(name) or Revision(name)), stage_ends) for name in names
    }
    return dict(sorted(tokens.items(), key=lambda item: (item[1], item[0])))


def _from_name(name: str, in_stage: int | None, stage_ends: Mapping[int, int]) -> int:
    revision = parse(name)
    if revision is None or in_stage is None:
        cause = "its name follows no known pattern" if revision is None else "its name gives steps only; give batch_tokens (tokens a step)"
        raise PliantError(f"how many tokens stand behind revision {name!r}? {cause}, or a map `tokens: {{{name}: 4B}}`")
    before = range(1, revision.stage or 1)
    missing = [stage for stage in before if not stage_ends.get(stage)]
    if missing:
        raise PliantError(
            f"revision {name!r} counts the tokens of its own stage, and no revision of stage {missing[0]} tells where it began; "
            f"give a map `tokens: {{{name}: ...}}`"
        )
    tokens = in_stage + sum(stage_ends[stage] for stage in before)
    if tokens >= 2**63:
        raise PliantError(f"revision {name!r} would stand behind {tokens:.0e} tokens; give a map `tokens: {{{name}: ...}}`")
    return tokens


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
