"""Command-line options made from a spec's typed fields, so that nobody writes them a second time."""

from __future__ import annotations

import inspect
import keyword
from collections.abc import Callable, Collection, Mapping
from types import MappingProxyType
from typing import Annotated, Any, TypeVar

import typer

from pliant.errors import PliantError
from pliant.progress import remark
from pliant.spec import Catalog, Spec
from pliant.spec.validation import holds_list, members
from pliant.spec.yaml import parse_yaml

LONGEST = 200
"""Characters of an option's value that a message repeats."""
Kind = TypeVar("Kind", bound=Spec)


def spec_command(run: Callable[..., None], leave_out: Collection[str] = (), **kinds: type[Spec]) -> Callable[..., None]:
    """A typer command: every parameter of `run` that is a spec becomes one option per field of that spec, the others stay.

    `run` is called with the specs built from the options that were given. `kinds` names the spec to build where `run` takes
    any of several, `leave_out` fields that mean nothing to `run`. Values are read as YAML reads them (`--lr 1e-3`,
    `--tokens 16M`, `--tensors '[a, b]'`); yes and no are flags. An option of a list may be given once for each item.
    """
    asked = inspect.signature(run, eval_str=True).parameters
    made: dict[str, type[Spec]] = {name: kinds.get(name) or asked[name].annotation for name in asked if _is_spec(asked[name].annotation)}
    plain = {name: parameter for name, parameter in asked.items() if name not in made}
    fields = {name: [field for field in spec.model_fields if field not in plain and field not in leave_out] for name, spec in made.items()}

    def command(**options: Any) -> None:
        given = {name: {field: _given(options.pop(_argument(field))) for field in names} for name, names in fields.items()}
        specs = {
            name: made[name].parse({field: _read(field, text, made[name]) for field, text in form.items() if text is not None})
            for name, form in given.items()
        }
        for name, spec in specs.items():
            if unread := [dashed(field) for field, text in given[name].items() if text is not None and field not in spec.model_fields_set]:
                remark(f"{', '.join(unread)}: not looked at with these settings of {spec.kind}")
        run(**specs, **options)

    parameters = [*plain.values(), *(_option(field, made[name]) for name, names in fields.items() for field in names)]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    about = [inspect.cleandoc(spec.__doc__ or spec.kind) for spec in kinds.values()]
    command.__doc__ = "\n\n".join([*about, inspect.cleandoc(run.__doc__ or "")])
    return command


def _is_spec(annotation: Any) -> bool:
    return inspect.isclass(annotation) and issubclass(annotation, Spec)


def catalog_app(
    catalog: Catalog[Kind],
    run: Callable[..., None],
    parameter: str,
    help_text: str,
    examples: Mapping[str, str] = MappingProxyType({}),
    leave_out: Collection[str] = (),
) -> typer.Typer:
    """One sub-command per kind of a catalog, all sharing `run`, which takes the made spec as `parameter`; see `spec_command`.

    `examples` are those of single kinds, where one for all of them would not do.
    """
    group = typer.Typer(help=help_text, no_args_is_help=True, pretty_exceptions_enable=False)
    for kind, spec in sorted(catalog.specs().items()):
        command = spec_command(run, leave_out, **{parameter: spec})
        if kind in examples:
            command.__doc__ = f"{command.__doc__}\n\nExample: {examples[kind]}"
        group.command(kind)(command)
    return group


def _option(name: str, spec: type[Spec]) -> inspect.Parameter:
    """An option without a value of its own: what is not given is left to the spec."""
    field = spec.model_fields[name]
    default = field.get_default(call_default_factory=True)
    needed = "(required)" if field.is_required() else f"(default {_shown(default)})" if default is not None else ""
    text = " ".join(part for part in (field.description, needed) if part)
    option, kind = dashed(name), bool if field.annotation is bool else list[str] if holds_list(field.annotation) else str
    if kind is bool and default:
        option = f"{option}/--no-{option[2:]}"
    annotation = Annotated[kind | None, typer.Option(option, help=text, show_default=False)]
    return inspect.Parameter(_argument(name), inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _argument(field: str) -> str:
    """The argument that a field's option becomes: its name, which may be a word of Python's own."""
    return f"{field}_" if keyword.iskeyword(field) else field


def _given(value: Any) -> Any:
    """What an option was given: several texts where it was given several times, and nothing where never."""
    return (value[0] if len(value) == 1 else value or None) if isinstance(value, list) else value


def dashed(field: str) -> str:
    """A field as an option."""
    return f"--{field.replace('_', '-')}"


def _shown(value: Any) -> str:
    return str(value.canonical()) if isinstance(value, Spec) else str(value)


def yaml_option(text: str, option: str) -> Any:
    """The value of an option that is written as YAML. Raises PliantError that names the option."""
    return parse_yaml(text, f"{option} {text!r}" if len(text) <= LONGEST else f"{option} {text[:LONGEST]!r}...")


def _read(name: str, text: str | bool | list[str], spec: type[Spec]) -> Any:
    """What is no YAML, such as the pattern `*.mlp.*`, is left to the spec as text, but not a list or mapping gone wrong."""
    if isinstance(text, bool):
        return text
    if isinstance(text, list):
        return [_read(name, one, spec) for one in text]
    try:
        return yaml_option(text, dashed(name))
    except PliantError:
        if text.startswith(("[", "{")) and str not in members(spec.model_fields[name].annotation):
            raise
        return text


def check_texts(*specs: Spec) -> None:
    """Raise PliantError for content that cannot be read, before a model takes its time to load."""
    for spec in specs:
        for part in spec.content():
            part.fingerprint()
