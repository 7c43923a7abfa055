"""Command-line options made from a spec's typed fields, so that nobody writes them a second time."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

import typer

from pliant.errors import PliantError
from pliant.spec import Catalog, Spec

Kind = TypeVar("Kind", bound=Spec)


def spec_command(spec: type[Kind], run: Callable[..., None]) -> Callable[..., None]:
    """A typer command: one option per field of `spec`, then the parameters of `run` after its first.

    `run(made_spec, **own_options)` is called with the spec built from the options that were given. Values are read as
    YAML reads them (`--lr 1e-3`, `--tokens 16M`, `--tensors '[a, b]'`).
    """
    own = list(inspect.signature(run, eval_str=True).parameters.values())[1:]
    names = [name for name in spec.model_fields if name not in {parameter.name for parameter in own}]

    def command(**options: Any) -> None:
        given = {name: _read(options.pop(name)) for name in names if options.get(name) is not None}
        for name in names:
            options.pop(name, None)
        run(spec.parse(given), **options)

    parameters = [_option(name, spec) for name in names]
    command.__signature__ = inspect.Signature([*own, *parameters])  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in [*own, *parameters]}
    command.__doc__ = inspect.cleandoc(spec.__doc__ or spec.kind) + (f"\n\n{run.__doc__.strip()}" if run.__doc__ else "")
    return command


def catalog_app(catalog: Catalog[Kind], run: Callable[..., None], help_text: str) -> typer.Typer:
    """One sub-command per kind of a catalog, all sharing `run`."""
    group = typer.Typer(help=help_text, no_args_is_help=True, pretty_exceptions_enable=False)
    for kind, spec in sorted(catalog.specs().items()):
        group.command(kind)(spec_command(spec, run))
    return group


def _option(name: str, spec: type[Spec]) -> inspect.Parameter:
    field = spec.model_fields[name]
    default = "required" if field.is_required() else f"default {_shown(field.get_default(call_default_factory=True))}"
    text = f"{field.description or ''} ({default})".strip()
    annotation = Annotated[str | None, typer.Option(f"--{name.replace('_', '-')}", help=text, show_default=False)]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _shown(value: Any) -> str:
    return str(value.canonical()) if isinstance(value, Spec) else str(value)


def yaml_option(text: str, option: str) -> Any:
    """The value of an option that is written as YAML. Raises PliantError that names the option."""
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise PliantError(f"{option} {text!r}: is not valid YAML ({getattr(error, 'problem', None) or 'see its brackets'})") from None


def _read(text: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(text)
    except yaml.YAMLError:
        return text
