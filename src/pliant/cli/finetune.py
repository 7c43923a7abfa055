"""`pliant finetune`: train a model on text or answers, with any method, and keep the result."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pliant.changes import Finetune
from pliant.cli.change import DeviceOption, JsonOption, ModelOption, check_new
from pliant.cli.fields import check_texts, dashed, yaml_option
from pliant.cli.output import print_json
from pliant.errors import PliantError
from pliant.methods import METHODS, Method
from pliant.models.heads import fitted
from pliant.models.ladder import Loading
from pliant.models.save import before_loading
from pliant.progress import remark
from pliant.spec import nearest
from pliant.train import compiling

if TYPE_CHECKING:
    from pliant.models import Model


def finetune_command(
    change: Finetune,
    loading: Loading,
    *,
    context: typer.Context,
    model: ModelOption,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="New folder for the result", show_default=False)] = None,
    method: Annotated[
        list[str] | None,
        typer.Option(
            help="How: a method such as lora, its fields as options (--rank 8, or --lora-rank 8); repeat for several", show_default=False
        ),
    ] = None,
    adapter: Annotated[bool, typer.Option("--adapter", help="Keep the update as an adapter that PEFT loads, not merged")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what the data is and what would be learned, and train nothing")] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out, and count, records that cannot be learned from, instead of refusing the table")
    ] = False,
    seed: Annotated[int, typer.Option(help="Seed of data order and methods", min=0, max=2**63 - 1)] = 0,
    device: DeviceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Writes a folder that transformers loads (image networks of pliant's own after `from pliant.models.vision import register;
    register()`), or with --adapter one that PEFT loads. Killed, the same command goes on where it was.

    Example: pliant finetune --model ./checkpoint-1000 --data gsm8k.jsonl --method lora --rank 8 --steps 200 --lr 1e-3 -o tuned
    """
    from pliant.models import load, save
    from pliant.models.adapters import save_adapter

    methods = (*change.methods, *_methods(method or [], context.args))
    for line in _shared(change, methods):
        remark(line)
    change = change.model_copy(update={"methods": methods})
    if skip_bad:
        change = _skipping(change)
    if out is None and not dry_run:
        raise PliantError("give a new folder for the result with -o, or --dry-run to see what would be learned")
    if out is not None:
        check_new(out)
    check_texts(change)
    for line in compiling.remarks(change.compile, change.steps, change.methods):
        remark(line)
    loaded = load(model, device=device, **loading.loading())
    told = {"model": loaded.checkpoint.address, "change": change.canonical(), **_described(change, loaded)}
    if dry_run:
        print_json(told) if as_json else _print(told)
        return
    assert out is not None
    needs = change.learned.needs()
    if adapter and needs is not None and (needs.labels is not None or needs.task != loaded.task.name):
        raise PliantError("--adapter: an adapter keeps no head, and this one is trained; leave it out, and the whole model is saved")
    unfinished = out.with_name(f"{out.name}.unfinished")
    _train(change, loaded, seed, unfinished)
    if adapter and loaded.adapter is None:
        raise PliantError("--adapter: no method here keeps an update apart; try --method lora")
    if adapter and loaded.adapter is not None:
        save_adapter(loaded.adapter, out, model)
    else:
        save(loaded, out)
    shutil.rmtree(unfinished, ignore_errors=True)
    result = {**told, "out": str(out), "adapter": adapter, "weights": loaded.weights()}
    if as_json:
        print_json(result)
    else:
        _print(told)
        print(f"wrote {out}")
    if code := before_loading(loaded):
        remark(f"{type(loaded.network).__name__} is no class of transformers; before its from_pretrained, say: {code}")


def _skipping(change: Finetune) -> Finetune:
    """With what cannot be learned from left out. Raises PliantError for text, which has no records to leave out."""
    learned: Any = change.learned
    if "skip_bad" not in type(learned.data).model_fields:
        raise PliantError(f"--skip-bad: {learned.data.label()} is read as text, all of which can be learned; leave it out")
    data = learned.data.model_copy(update={"skip_bad": True})
    return change.model_copy(update={"data": None, "objective": learned.model_copy(update={"data": data})})


def _train(change: Finetune, model: Model, seed: int, unfinished: Path) -> None:
    """In place. A run that was killed goes on from the state it left; one that diverges leaves none."""
    from pliant.train import Diverged
    from pliant.train.state import STATE_FILE, steps_made

    if made := steps_made(unfinished / STATE_FILE):
        remark(f"goes on from step {made}, which an earlier run left in {unfinished}")
    try:
        change.tune(model, seed, unfinished)
    except Diverged:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise


def _methods(names: list[str], options: list[str]) -> list[Any]:
    """The methods by name or YAML; other options are fields of those given by name, with the method's name before where two have one.

    Raises PliantError for an option that no method has, and for one that several have.
    """
    forms = [yaml_option(name, "--method") for name in names]
    kinds = [str(form if isinstance(form, str) else next(iter(form), "") if isinstance(form, dict) else "") for form in forms]
    fields = {kind: METHODS[kind].model_fields for kind in kinds}
    own: dict[str, dict[str, Any]] = {form: {} for form in forms if isinstance(form, str)}
    for name, value in _pairs(options).items():
        meant = [(kind, field) for kind in own for field in fields[kind] if name in (field, f"{kind}_{field}")]
        if not meant:
            known = [field for kind in kinds for field in fields[kind]]
            raise PliantError(f"no such option: {dashed(name)}; {nearest(name, [*Finetune.model_fields, *known])}")
        if len(meant) > 1:
            longer = " or ".join(dashed(f"{kind}_{field}") for kind, field in meant)
            raise PliantError(f"{dashed(name)}: {' and '.join(kind for kind, _ in meant)} both have this field; give {longer}")
        kind, field = meant[0]
        own[kind][field] = value
    return [METHODS.parse({form: own[form]} if isinstance(form, str) and own[form] else form, "--method") for form in forms]


def _shared(change: Finetune, methods: Sequence[Method]) -> Iterator[str]:
    """Which options are the run's own, where a method has a field of the same name that it was not given."""
    for method in methods:
        for field in sorted((change.model_fields_set & set(type(method).model_fields)) - method.model_fields_set):
            yield f"{dashed(field)} is the run's own; that of {method.kind} is {dashed(f'{method.kind}_{field}')}"


def _pairs(options: list[str]) -> dict[str, Any]:
    """`--rank 8 --rank-stabilised` as fields; an option without a value is yes."""
    found: dict[str, Any] = {}
    name = ""
    for word in options:
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            name = name.replace("-", "_")
            found[name] = yaml_option(value, f"--{name}") if equals else True
            name = "" if equals else name
        elif name:
            found[name] = yaml_option(word, f"--{name}")
            name = ""
        else:
            raise PliantError(f"unexpected argument {word!r}")
    return found


def _described(change: Finetune, model: Model) -> dict[str, Any]:
    """What the data was found to be, and how much of it there is."""
    learned = change.learned
    model = fitted(model, learned.needs())
    recipe = change.recipe(model)
    examples = learned.counted(model, recipe.length)
    return {
        "objective": learned.kind,
        "data": learned.told() or "text; every token is learned",
        "part": getattr(learned, "part", "train"),
        "counts": _counts(examples),
        **({"labels": list(model.labels)} if model.labels else {}),
        "steps": recipe.steps,
        "examples_a_step": recipe.batch * recipe.accumulate,
        **({"length": recipe.length or model.context} if model.task.text else {}),
    }


def _counts(examples: Any) -> dict[str, int]:
    """What became of the data's records, where there are any; else how much there is to learn from."""
    parts = (examples, *(getattr(examples, name, None) for name in ("sequences", "pictures", "examples")))
    told: dict[str, int] | None = next((counts for part in parts if (counts := getattr(part, "counts", None)) is not None), None)
    return told if told is not None else {"tokens": examples.unique}


def _read(told: dict[str, Any]) -> str:
    return "read" if "labels" in told else "predicted"


def _print(told: dict[str, Any]) -> None:
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in told["counts"].items())
    whole = "" if told["part"] == "all" else f" (the {told['part']} part; --part all for all)"
    print(f"objective: {told['objective']}\ndata: {told['data']}{whole}")
    print(f"      {counts}" + (f"; at most {told['length']} tokens are {_read(told)} in an example" if "length" in told else ""))
    if "labels" in told:
        print(f"      the head answers with {', '.join(told['labels'][:12])}{' ...' if len(told['labels']) > 12 else ''}")
    print(f"training: {told['steps']:,} steps of {told['examples_a_step']} examples")
