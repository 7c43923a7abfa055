"""`pliant measure KIND`: read one measure off a model."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Annotated

import typer

from pliant.cli.change import DeviceOption, JsonOption, ModelOption, SeedOption
from pliant.cli.fields import check_texts, yaml_option
from pliant.cli.output import print_json, print_table
from pliant.measures import Measure, Reading
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
    before = measure(loaded)
    rows = [("unchanged", before.estimate())]
    if changes:
        after = _after(changes[0], loaded, measure, seed)
        rows += [(changes[0].label(), after.estimate()), ("rise", (after - before).estimate())]
    if as_json:
        results = {name: {"value": e.value, "stderr": e.stderr, "low": e.low, "high": e.high, "n": e.n} for name, e in rows}
        print_json({"metric": before.metric, "unit": before.unit, "better": before.better, "results": results})
    else:
        cells = [[name, f"{e.value:.4f}", *_spread(e), str(e.n)] for name, e in rows]
        print_table(["", f"{before.metric} ({before.unit})", "standard error", "90% interval", "samples"], cells)


def _spread(estimate: Estimate) -> tuple[str, str]:
    """Standard error and interval; one document has neither."""
    if not isfinite(estimate.stderr):
        return "unknown: one document", ""
    return f"{estimate.stderr:.4f}", f"{estimate.low:.4f} to {estimate.high:.4f}"


def _after(change: Change, model: Model, measure: Measure, seed: int) -> Reading:
    """The measure after `change`: over all its draws where they are split, else under the first."""
    if change.shares > 1:
        return change.measured(model, measure, seed)
    if change.draws > 1:
        remark(f"the rise of 1 of {change.draws} draws; a study averages over all of them")
    with change.applied(model, seed) as changed:
        return measure(changed)
