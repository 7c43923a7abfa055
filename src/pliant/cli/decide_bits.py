"""`pliant decide bits`: how few bits, from fits, for one model, or along a ladder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pliant.cli.change import DeviceOption, JsonOption
from pliant.cli.fields import check_texts, yaml_option
from pliant.cli.output import print_json, print_table, renamed
from pliant.cli.questions import AffordOption, AtOption, ComputeOption, OptionalFitOption, fits_of, number, show, show_answers, values_of
from pliant.decide.questions import BitsAlongLadder
from pliant.errors import PliantError
from pliant.models.ladder import Loading
from pliant.numbers import format_count

if TYPE_CHECKING:
    from pliant.changes import Quantize
    from pliant.measures import Loss
    from pliant.models import Model


def bits_command(
    loading: Loading,
    question: BitsAlongLadder,
    *,
    fit: OptionalFitOption = None,
    compute: ComputeOption = None,
    memory: Annotated[float | None, typer.Option(help="Bytes the weights may take when served", parser=number, show_default=False)] = None,
    tolerance: Annotated[float | None, typer.Option(help="Nats/token that rounding may cost; 0.01 for --model", show_default=False)] = None,
    floor: Annotated[float | None, typer.Option(hidden=True)] = None,
    at: AtOption = "",
    afford: AffordOption = None,
    model: Annotated[
        str | None, typer.Option("--model", "-m", help="A folder, a .gguf file, or a hub name@revision", show_default=False)
    ] = None,
    text: Annotated[str, typer.Option("--data", help="Text that the loss is read on, with --model")] = "builtin:prose",
    quantize: Annotated[str, typer.Option(help="How to round, as YAML: fields of the change `quantize`")] = "{}",
    limit: Annotated[float | None, typer.Option(help="Also allocate so many bits per weight over the matrices", show_default=False)] = None,
    layers: Annotated[int | None, typer.Option(help="Also round each block alone to so many bits", show_default=False)] = None,
    samples: Annotated[int, typer.Option(help="Windows of text, with --model")] = 256,
    ledger: Annotated[Path | None, typer.Option(help="A ledger with `quantize` along a ladder", show_default=False)] = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """How few bits: for one model (--model, --data, --tolerance), along a ladder (--ledger), or from fits (--fit) to train in
    (--compute), to serve in (--memory), or to round to (--tolerance).

    Example: pliant decide bits --model ./checkpoint-1000 --data text.jsonl --tolerance 0.01 --limit 4.5
    pliant decide bits --ledger runs/demo
    pliant decide bits --fit ptq.json --tolerance 0.01 --at N=30M,D=26B
    """
    tolerance = renamed("--floor", "--tolerance", floor, tolerance)
    if [bool(fit), model is not None, ledger is not None].count(True) != 1:
        raise PliantError("give one of --model, --ledger, and --fit")
    if question.model_fields_set and ledger is None:
        raise PliantError("--measure is a question to a ledger, and none is given")
    if model is not None:
        from pliant.changes import Quantize
        from pliant.measures import Loss
        from pliant.models import load

        fields = yaml_option(quantize, "--quantize") or {}
        template = Quantize.parse({"bits": 4, **fields} if isinstance(fields, dict) else fields, "--quantize")
        loss = Loss.parse({"data": yaml_option(text, "--data"), "samples": samples}, "--data")
        check_texts(template, loss)
        loaded = load(model, device=device, **loading.loading())
        found = _of_model(loaded, loss, template, 0.01 if tolerance is None else tolerance, limit, layers)
        print_json(found) if as_json else _print_model(found)
    elif ledger is not None:
        show_answers(question, ledger, as_json)
    else:
        _from_fits(fit or [], {"compute": compute, "memory": memory, "tolerance": tolerance}, at, afford, as_json)


def _from_fits(fit: list[Path], given: dict[str, float | None], at: str, afford: float | None, as_json: bool) -> None:
    from pliant.decide.fits import bits as question

    chosen = [name for name, value in given.items() if value is not None]
    if len(chosen) != 1:
        raise PliantError("give exactly one of --compute (bits to train in), --memory (to serve in) and --tolerance (to round to)")
    decide = {"compute": question.training, "memory": question.serving, "tolerance": question.rounding}[chosen[0]]
    show(decide(fits_of(fit), given[chosen[0]] or 0.0, values_of(at), afford), as_json)


def _of_model(model: Model, loss: Loss, template: Quantize, tolerance: float, limit: float | None, layers: int | None) -> dict[str, Any]:
    """The groups' bits, and on request the allocation and the layers."""
    from pliant.decide.model.bits import allocation, layer_sensitivity, lowest_bits
    from pliant.models.modules import select
    from pliant.quantization.nearest import grid_levels

    answer = {"question": "bits", "model": model.checkpoint.address, **lowest_bits(model, loss, tolerance, template).json()}
    matrices = select(model.network, template.tensors)
    answer["already_rounded"] = sorted(tensor for tensor, weight in matrices.items() if grid_levels(weight))
    if limit is not None:
        answer["allocation"] = allocation(model, loss, template, limit)
    if layers is not None:
        answer["layers"], answer["rank_correlation"] = layer_sensitivity(model, loss, template.model_copy(update={"bits": layers}))
    return answer


def _print_model(answer: dict[str, Any]) -> None:
    together = answer["together"]
    if answer["already_rounded"]:
        print(f"note: {len(answer['already_rounded'])} matrices hold rounded weights already; rises start from those")
    rows = [
        [group["group"], format_count(group["weights"]), _bits(group["bits"]), _bits(together["bits"][group["group"]])]
        for group in answer["groups"]
    ]
    print_table(
        ["tensors", "weights", "bits alone", "bits together"], rows, f"{answer['verdict']}: bits within {answer['floor']} nats/token"
    )
    print(f"all together: rise {together['value']:.4f}, at most {together['high']:.4f} with 95% confidence")
    if answer["allocation"]:
        found = answer["allocation"]
        print(
            f"{found['bits_per_weight']:.2f} bits per weight: predicted {found['predicted']:.4f}, measured {found['measured']['value']:.4f}"
        )
        if "uniform" in found:
            print(f"uniform {found['uniform']['bits']} bits: measured {found['uniform']['measured']['value']:.4f}")
    if answer["layers"]:
        cells = [[layer["layer"], f"{layer['predicted']:.4f}", f"{layer['measured']['value']:.4f}"] for layer in answer["layers"]]
        print_table(["block", "predicted rise", "measured rise"], cells, f"rank correlation {answer['rank_correlation']:.3f}")


def _bits(bits: int) -> str:
    return "not rounded" if bits == 16 else str(bits)
