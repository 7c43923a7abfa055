"""Names for people: what a change and a ladder are called, and which changes belong in one picture.

A change's strength is the one field by which its kind is swept (noise scale, bits, learning rate); changes that differ only
in strength are one family, drawn together.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pliant.decide.curves.series import LADDER
from pliant.numbers import format_count

if TYPE_CHECKING:
    from pliant.decide.curves.checkpoint import CheckpointDecision

STRENGTH = {"perturb": "scale", "quantize": "bits", "finetune": "lr"}
NAMES = {"none": "unchanged", "perturb": "Gaussian noise", "quantize": "Quantization", "finetune": "Fine-tuning"}
NOISE = {"rms": "relative to weight RMS", "init": "relative to initial spread", "snr_db": "by signal to noise"}


@dataclass(frozen=True)
class Label:
    """`family` names the picture, `member` the curve in it; `strength` sorts the curves, None where nothing is swept."""

    family: str
    member: str
    strength: float | None

    def __str__(self) -> str:
        return self.family if not self.member else f"{self.family}: {self.member}"


def label(change: Mapping[str, Any]) -> Label:
    """What to call a change, given its canonical form."""
    kind = str(change["kind"])
    if kind == "chain":
        links = [label(link) for link in change["links"]]
        swept = [link for link in links if link.strength is not None]
        members = " + ".join(link.member for link in links if link.member)
        return Label(", then ".join(link.family for link in links), members, swept[-1].strength if swept else None)
    field = STRENGTH.get(kind, "")
    value = change.get(field)
    text = f" on {corpus(change['data'])}" if change.get("data") is not None else ""
    if kind == "quantize" and change.get("method", "rtn") != "rtn":
        text = f" by {str(change['method']).upper()}"
    noise = [NOISE.get(str(change.get("unit")), str(change.get("unit")))] if kind == "perturb" else []
    family = ", ".join([NAMES.get(kind, kind) + text, *noise, *_details(change, field)])
    return Label(family, _member(kind, change, value), float(value) if isinstance(value, (int, float)) else None)


def _member(kind: str, change: Mapping[str, Any], value: Any) -> str:
    if value is None:
        return ""
    shown = f"{value:g}" if isinstance(value, (int, float)) else str(value)
    if kind == "quantize":
        return f"{shown} bits"
    if kind == "perturb":
        return f"{shown} dB" if change.get("unit") == "snr_db" else f"×{shown}"
    return f"lr {shown}" if kind == "finetune" else f"{STRENGTH.get(kind, '')} {shown}".strip()


def _details(change: Mapping[str, Any], swept: str) -> list[str]:
    """The fields that are not what they are by default, the swept one and those the names already tell left out."""
    defaults = _defaults(str(change["kind"]))
    told = {"kind", "data", "method", swept, "draws", "split"} | ({"unit"} if change["kind"] == "perturb" else set())
    return [_detail(name, value) for name, value in change.items() if name not in told and value not in (defaults.get(name), None, [], {})]


def _detail(name: str, value: Any) -> str:
    if name == "calibration":
        return f"calibrated on {corpus(value)}"
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        number = format_count(value) if name in ("tokens", "samples") else f"{value:g}"
        return f"{number} {name}" if name in ("steps", "epochs") else f"{name} {number}"
    return str(value) if isinstance(value, str) else f"{name} {json.dumps(value)}"


def corpus(form: Any) -> str:
    """A corpus by its source: `code` for `builtin:code`, a file by its name."""
    source = str(form.get("source", form)) if isinstance(form, Mapping) else str(form)
    return source.removeprefix("builtin:").removeprefix("hub:").rstrip("/").rsplit("/", 1)[-1]


def _defaults(kind: str) -> dict[str, Any]:
    """The defaults of a change's fields; none for a kind that is not installed here."""
    from pliant.changes import CHANGES

    spec = CHANGES.specs().get(kind)
    if spec is None:
        return {}
    found = {name: field.get_default() for name, field in spec.model_fields.items() if not field.is_required()}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items()}


def by_ladder(decisions: Iterable[CheckpointDecision]) -> dict[str, list[CheckpointDecision]]:
    """The decisions along each ladder, by what tells it apart from the others; by its family where it is the only one."""
    groups: dict[tuple[Any, ...], list[CheckpointDecision]] = {}
    for decision in decisions:
        groups.setdefault(tuple(decision.evidence[name] for name in LADDER), []).append(decision)
    differing = [place for place in range(len(LADDER)) if len({key[place] for key in groups}) > 1]
    shown = differing or [LADDER.index("family")]
    return {", ".join(_fact(LADDER[place], key[place]) for place in shown): found for key, found in groups.items()}


def _fact(name: str, value: Any) -> str:
    """One of the things that the checkpoints of a ladder have in common."""
    if value is None:
        text = "unknown"
    elif name == "params":
        text = format_count(value)
    else:
        text = f"{value:g}" if isinstance(value, float) else str(value)
    words = {"params": "{} parameters", "schedule": "{} schedule", "peak_lr": "peak learning rate {}", "training_bits": "{} training bits"}
    return words.get(name, "{}").format(text)
