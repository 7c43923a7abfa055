"""`pliant score KIND`: give every example a number, from which data is selected."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from pliant.cli.change import DeviceOption, JsonOption
from pliant.cli.fields import check_texts, yaml_option
from pliant.cli.output import print_json
from pliant.errors import PliantError
from pliant.files import expanded, workplace
from pliant.models.ladder import Loading
from pliant.scores import Score

EXAMPLES = {
    "context_need": "pliant score context_need --model ./base --data alpaca.json --part all -o scores.parquet",
    "el2n": "pliant score el2n --model early-0 --model early-1 --data builtin:digits -o scores.parquet",
    "forgetting": "pliant score forgetting --model fresh-0 --model fresh-1 --data builtin:digits --lr 3e-3 -o scores.parquet",
    "grand": "pliant score grand --model early-0 --model early-1 --data builtin:digits -o scores.parquet",
    "knownness": "pliant score knownness --model ./base --data '{source: trex/, patterns: patterns/}' --part all -o scores.parquet",
    "grand_last_layer": "pliant score grand_last_layer --model early-0 --model early-1 --data builtin:digits -o scores.parquet",
}


def score_command(
    score: Score,
    loading: Loading,
    *,
    model: Annotated[
        list[str] | None, typer.Option("--model", "-m", help="A folder or a hub name@revision; repeat for several", show_default=False)
    ] = None,
    data: Annotated[str, typer.Option(help="What is scored: a source, or its fields as YAML", show_default=False)],
    out: Annotated[Path, typer.Option("--out", "-o", help="File for the table of scores (Parquet)", show_default=False)],
    part: Annotated[
        Literal["train", "heldout", "all"], typer.Option(help="Which part of the data: the one that is selected from")
    ] = "train",
    length: Annotated[int | None, typer.Option(help="Longest example in tokens; by default the model's context", min=1)] = None,
    train_reference: Annotated[
        str | None,
        typer.Option(help="Instead of --model: train a model of so many parameters (2M) on some of the documents, which get no score"),
    ] = None,
    tokens: Annotated[str | None, typer.Option(help="Training tokens of the reference: 200M")] = None,
    tokenizer: Annotated[str, typer.Option(help="Of the reference: bytes, ascii, a folder or file, or a hub name")] = "bytes",
    context: Annotated[int, typer.Option(help="Of the reference, in tokens", min=2)] = 256,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out, count and list what is empty or cannot be read, instead of refusing the data")
    ] = False,
    executor: Annotated[Literal["local", "ray"], typer.Option(help="Where workers score: here, or on a Ray cluster")] = "local",
    workers: Annotated[
        int | None,
        typer.Option(help="Workers, of one thread each; by default none here, and all that a cluster has", show_default=False, min=0),
    ] = None,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Writes a table with the columns id and score, the mean over the models, which `select` in a data field reads.

    Killed, the same command goes on where it was, with the same workers, others or none. What has no row there is counted, and listed in a
    file beside it: examples that repeat others have those's row, since an id names content.

    Example: pliant score perplexity --model ./small --data corpus.jsonl -o scores.parquet
    pliant score perplexity --model /shared/small --data /shared/corpus --executor ray -o scores.parquet
    """
    import numpy as np

    from pliant.models import load
    from pliant.scores.accounts import accounted, listed, told_counts
    from pliant.scores.journal import score_to_file
    from pliant.study.scoring import ScoringOrder, on_workers

    wanted = None if train_reference is None else _reference(score, model, train_reference, tokens, tokenizer, context)
    if wanted is None and not model:
        raise PliantError("--model: name one, or several; or --train-reference 2M --tokens 200M")
    objective = score.source({"data": yaml_option(data, "--data"), "part": part}, "--data")
    objective = _skipping(objective) if skip_bad else objective
    check_texts(objective)
    _check_place(out)
    further = {"objective": objective.canonical(), "content": " ".join(part.fingerprint() for part in objective.content())}
    aside = frozenset[str]()
    if wanted is not None:
        folder = expanded(out).with_name(f"{out.name}.reference")
        trained, aside, further["reference"] = wanted.trained(objective, folder, device)
        models, addresses = [trained], [str(folder / "model")]
    else:
        models, addresses = [load(address, device=device, **loading.loading()) for address in model or ()], list(model or ())
    examples = objective.examples(models[0], length)
    left = accounted(objective, examples)
    beside, counts = listed(out, left, score.scoring(models, examples).unscored, aside)
    order = ScoringOrder(score, tuple(addresses), loading, objective, length, tuple(one.weights() for one in models), examples.fingerprint)
    with on_workers(order, executor, workers, device) as each:
        values = score_to_file(score, models, examples, out, further, aside, each)["score"].to_numpy()
    quantiles = {f"{level:g}": float(np.quantile(values, level)) for level in (0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0)}
    if as_json:
        facts = {"score": score.canonical(), "unit": score.unit, "better": score.better, "models": [model.weights() for model in models]}
        print_json({"out": str(out), "examples": len(values), **facts, "data": examples.fingerprint, "quantiles": quantiles, **counts})
    else:
        low, middle, high = (f"{quantiles[name]:.4g}" for name in ("0.05", "0.5", "0.95"))
        unit = "" if score.unit == "1" else f" {score.unit}"
        print(f"{len(values):,} examples: {score.kind} {middle}{unit} in the middle, {low} to {high} for nine in ten")
        for line in told_counts(counts):
            print(line)
        print(f"wrote {out}" + (f"; what has no row there is listed in {beside}" if beside else ""))


def _skipping(objective: Any) -> Any:
    """With what is empty or cannot be read left out. Raises PliantError for what has no such choice."""
    if "skip_bad" not in type(objective.data).model_fields:
        raise PliantError("--skip-bad: say `skip_bad: true` in each source of a mixture")
    return objective.model_copy(update={"data": objective.data.model_copy(update={"skip_bad": True})})


def _reference(score: Score, model: list[str] | None, parameters: str, tokens: str | None, tokenizer: str, context: int) -> Any:
    from pliant.numbers import parse_count
    from pliant.scores.reference import Reference

    if model:
        raise PliantError("--train-reference: takes the place of --model; leave one of them out")
    if tokens is None:
        raise PliantError("--train-reference: say with --tokens how many tokens it is trained on")
    if score.reads != "next_token":
        raise PliantError(f"--train-reference: is for scores of text, not for {score.kind}")
    try:
        return Reference(parse_count(parameters), parse_count(tokens), tokenizer, context)
    except ValueError as error:
        raise PliantError(f"--train-reference {parameters}, --tokens {tokens}: {error}") from None


def _check_place(out: Path) -> None:
    """Raises PliantError where nothing can be written, before models take their time."""
    place = expanded(out)
    if place.exists():
        raise PliantError(f"{out} exists already; choose a new file")
    with workplace(place):
        pass
