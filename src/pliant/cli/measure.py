"""`pliant measure KIND`: read one measure off a model."""

from __future__ import annotations

from typing import Annotated

import typer

from pliant.cli.change import DeviceOption, JsonOption, ModelOption
from pliant.cli.fields import yaml_option
from pliant.cli.output import print_json, print_table
from pliant.measures import Measure
from pliant.models.ladder import Loading


def measure_command(
    measure: Measure,
    loading: Loading,
    *,
    model: ModelOption,
    change: Annotated[
        list[str] | None, typer.Option(help="Change the model first, as YAML; repeat for a chain", show_default=False)
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the change")] = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """With --change, the paired rise against the unchanged model is printed too.

    Example: pliant measure loss --model ./checkpoint-1000 --data text.jsonl --change 'quantize: {bits: 4}'
    """
    from pliant.changes import parse_changes
    from pliant.errors import PliantError
    from pliant.models import load

    changes = parse_changes([[yaml_option(text, "--change") for text in change]], "--change") if change else []
    if len(changes) > 1:
        raise PliantError(f"--change stands for {len(changes)} changes; a sweep belongs in a study file")
    loaded = load(model, device=device, **loading.loading())
    before = measure(loaded)
    rows = [("unchanged", before.estimate())]
    if changes:
        with changes[0].applied(loaded, seed) as changed:
            after = measure(changed)
        rows += [(changes[0].label(), after.estimate()), ("rise", (after - before).estimate())]
    if as_json:
        results = {name: {"value": e.value, "stderr": e.stderr, "low": e.low, "high": e.high, "n": e.n} for name, e in rows}
        print_json({"metric": before.metric, "unit": before.unit, "results": results})
    else:
        cells = [[name, f"{e.value:.4f}", f"{e.stderr:.4f}", f"{e.low:.4f} to {e.high:.4f}", str(e.n)] for name, e in rows]
        print_table(["", f"{before.metric} ({before.unit})", "standard error", "90% interval", "samples"], cells)
