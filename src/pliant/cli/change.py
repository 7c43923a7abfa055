"""`pliant change KIND` and `pliant quantize`: change a model and keep the result."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Literal

import typer

from pliant.changes import Change, Quantize
from pliant.cli.fields import check_texts
from pliant.cli.output import print_json
from pliant.errors import PliantError
from pliant.models.ladder import Loading
from pliant.models.stored_model import StoredModel
from pliant.progress import remark

ModelOption = Annotated[str, typer.Option("--model", "-m", help="A folder, a .gguf file, or a hub name@revision", show_default=False)]
OutOption = Annotated[Path, typer.Option("--out", "-o", help="New folder for the changed model", show_default=False)]
DeviceOption = Annotated[str | None, typer.Option(help="Where to compute: cpu, cuda, mps", show_default=False)]
DtypeOption = Annotated[str | None, typer.Option(help="float32, bfloat16, or auto for the checkpoint's own", show_default=False)]
SeedOption = Annotated[int, typer.Option(help="Seed of what is random", min=0, max=2**63 - 1)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document")]

EXAMPLES = {
    "chain": "pliant change chain --model ./checkpoint-1000 --links '[{quantize: {bits: 4}}, {perturb: {scale: 0.1}}]' -o changed",
    "finetune": "pliant change finetune --model ./checkpoint-1000 --data task.jsonl --lr 1e-5 --steps 100 -o tuned",
    "merge": "pliant change merge --model ./base --with ./law --with ./medicine --method ties --weight 1 --density 0.2 -o both",
    "none": "pliant change none --model model.gguf -o unpacked",
    "perturb": "pliant change perturb --model ./checkpoint-1000 --scale 0.1 --unit rms -o noisy",
    "quantize": "pliant change quantize --model ./checkpoint-1000 --bits 4 -o rounded",
}

OF_STUDIES = ("draws", "split")
"""Fields about how a change is measured, which mean nothing where one changed model is kept."""


def change_command(
    change: Change,
    loading: Loading,
    *,
    model: ModelOption,
    out: OutOption,
    seed: SeedOption = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Writes a folder that transformers loads. Where the change is random, `--seed` gives another one."""
    from pliant.models import load, save

    check_new(out)
    check_texts(change)
    told = change.rewrite(StoredModel(address=model, **loading.loading()), out, seed)
    if told is not None:
        _tell({"out": str(out), "change": change.canonical(), **told}, f"wrote {out}", as_json)
        return
    loaded = load(model, device=device, **loading.loading())
    with change.applied(loaded, seed) as changed:
        save(changed, out)
        _tell({"out": str(out), "change": change.canonical(), "weights": changed.weights()}, f"wrote {out}", as_json)


def quantize_command(
    change: Quantize,
    loading: Loading,
    *,
    model: ModelOption,
    out: OutOption,
    form: Annotated[
        Literal["both", "packed", "simulated"],
        typer.Option(
            "--format", help="packed: b-bit integers for kernels (extra `kernels`); simulated: rounded weights in the model's type"
        ),
    ] = "both",
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Writes a folder that transformers loads: packed integers for kernels, and in its subfolder `simulated` the same
    weights rounded but stored in the model's own type. What the packed format cannot hold (asymmetric grids,
    exceptions) is written in simulated form only. Kernels leave embeddings and output head alone: with --format
    simulated they are rounded too, otherwise --tensors matrices means linear.

    Example: pliant quantize --model ./checkpoint-1000 --bits 4 --method gptq --calibration text.jsonl -o quantized
    """
    from pliant.models import load, save
    from pliant.models.modules import select
    from pliant.quantization.nearest import grid_levels
    from pliant.quantization.packing import FAKE_QUANTIZED

    if change.activations is not None or change.kv is not None:
        raise PliantError("activations and kv are rounded at evaluation only, which no file holds; try `pliant measure loss --change`")
    if change.tensors == "matrices" and form != "simulated":
        if "tensors" in change.model_fields_set:
            remark("kernels leave embeddings and output head alone: only linear layers are rounded; see --format simulated")
        change = change.model_copy(update={"tensors": "linear"})
    check_new(out)
    check_texts(change)
    loaded = load(model, device=device, **loading.loading())
    levels = {name: grid_levels(weight) for name, weight in select(loaded.network, change.tensors).items()}
    rounded_before = sorted(name for name, count in levels.items() if count)
    if rounded_before:
        remark(f"{len(rounded_before)} of {len(levels)} matrices hold rounded weights already: results start from those")
    reason = change.unpackable(loaded)
    if form == "packed" or (form == "both" and reason is None):
        change.save_packed(loaded, out, fake_quantized=form == "both", keep=False)
        written = {"packed": str(out)} | ({"simulated": str(out / FAKE_QUANTIZED)} if form == "both" else {})
    else:
        if form == "both":
            remark(f"simulated weights only: {reason}")
        with ExitStack() as undo:
            change.apply(loaded, 0, 0, undo)  # not `applied`, which would hold a copy of the weights
            save(loaded, out)
        written = {"simulated": str(out)}
    sizes = {kind: sum(file.stat().st_size for file in Path(folder).glob("*.safetensors")) for kind, folder in written.items()}
    result = {"written": written, "bytes": sizes, "change": change.canonical(), "already_rounded": rounded_before}
    _tell(result, "; ".join(f"wrote {kind} weights to {folder} ({sizes[kind]:,} bytes)" for kind, folder in written.items()), as_json)


def check_new(out: Path) -> None:
    """Raises PliantError for a place where something is already."""
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise PliantError(f"{out} exists already; choose a new folder")


def _tell(result: Mapping[str, object], sentence: str, as_json: bool) -> None:
    if as_json:
        print_json(result)
    else:
        print(sentence)
