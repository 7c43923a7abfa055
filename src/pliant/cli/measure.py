"""`pliant measure KIND`: read one measure off a model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pliant.cli.change import DeviceOption, JsonOption, ModelOption, SeedOption
from pliant.cli.fields import check_texts, yaml_option
from pliant.cli.output import print_json, print_table
from pliant.measures import Measure, Reading
from pliant.measures.measure import Read, by_metric
from pliant.models.ladder import Loading
from pliant.progress import remark

if TYPE_CHECKING:
    from pliant.changes import Change
    from pliant.models import Model
    from pliant.statistics import Estimate


def measure_command(
    measure: Measure,
    loading: Loading,
    *,
    model: ModelOption,
    change: Annotated[
        list[str] | None, typer.Option(help="Change the model first, as YAML; repeat for a chain", show_default=False)
    ] = None,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """With --change, the paired rise against the unchanged model is printed too. Of random changes it is that of one
    draw; noise with `split: true` reads all its draws, each on its share of the samples.

    Example: pliant measure loss --model ./checkpoint-1000 --data text.jsonl --change 'quantize: {bits: 4}'
    """
    from pliant.changes import parse_changes
    from pliant.errors import PliantError
    from pliant.models import load

    changes = parse_changes([[yaml_option(text, "--change") for text in change]], "--change") if change else []
    if len(changes) > 1:
        raise PliantError(f"--change stands for {len(changes)} changes; a sweep belongs in a study file")
    check_texts(measure, *changes)
    loaded = load(model, device=device, **loading.loading())
    [read] = measure.in_shares(loaded, 1)  # before any change: some measures keep what they compare with
    times = [read(loaded)]
    if changes:
        times.append(_after(changes[0], loaded, measure, read, seed))
    names = ["unchanged", *(change.label() for change in changes)]
    read_off = by_metric(times)
    found = [(readings[0], _estimates(names, readings)) for readings in read_off]
    if as_json:
        told = [
            _document(reading, estimates) | _answers(names, readings)
            for (reading, estimates), readings in zip(found, read_off, strict=True)
        ]
        print_json(told if len(told) > 1 else told[0])
        return
    for reading, estimates in found:
        cells = [[name, f"{e.value:.4f}", *_spread(e), str(e.n)] for name, e in estimates.items()]
        print_table(["", f"{reading.metric} ({reading.unit})", "standard error", "90% interval", "samples"], cells)


def _estimates(names: Sequence[str], readings: Sequence[Reading]) -> dict[str, Estimate]:
    """Of one metric: the unchanged model's, and where there is a change, that of the changed one and of the rise."""
    told = {name: reading.estimate() for name, reading in zip(names, readings, strict=True)}
    return told | ({"rise": (readings[1] - readings[0]).estimate()} if len(readings) > 1 else {})


def _document(reading: Reading, estimates: Mapping[str, Estimate]) -> dict[str, Any]:
    results = {name: {"value": e.value, "stderr": e.stderr, "low": e.low, "high": e.high, "n": e.n} for name, e in estimates.items()}
    return {"metric": reading.metric, "unit": reading.unit, "better": reading.better, "results": results}


def _answers(names: Sequence[str], readings: Sequence[Reading]) -> dict[str, Any]:
    """What was answered to each sample, where the measure keeps that."""
    if not readings[0].answers:
        return {}
    return {
        "samples": list(readings[0].samples),
        "answers": {name: list(reading.answers) for name, reading in zip(names, readings, strict=True)},
    }


def _spread(estimate: Estimate) -> tuple[str, str]:
    """Standard error and interval; one document has neither."""
    if not isfinite(estimate.stderr):
        return "unknown: one document", ""
    return f"{estimate.stderr:.4f}", f"{estimate.low:.4f} to {estimate.high:.4f}"


def _after(change: Change, model: Model, measure: Measure, read: Read, seed: int) -> Sequence[Reading]:
    """What the measure reads after `change`: over all its draws where they share the samples, else under the first."""
    if change.pooled:
        return change.readings(model, measure, seed)
    if change.draws > 1:
        remark(f"the rise of 1 of {change.draws} draws; a study averages over all of them")
    with change.applied(model, seed) as changed:
        return read(changed)
