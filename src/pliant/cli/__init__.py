"""The command line: parse, call, print. One file a command; what a command does lives in the rooms.

Exit codes: 0 done, 1 done but something failed (a cell, a finding that contradicts), 2 the user can fix it, 130 Ctrl-C.

A command is a function with typer annotations in its own module, imported here; heavy imports stay inside functions so
that `pliant --help` is instant. `--json` prints one JSON document on standard output and nothing else there; progress
and remarks go to standard error.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from importlib.metadata import version
from typing import Annotated

import typer
from typer.exceptions import TyperException
from typer.main import get_command

from pliant.errors import PliantError

app = typer.Typer(
    name="pliant",
    help="What is a model worth after you change it?\n\nExample: pliant demo, then pliant run STUDY.yaml --ledger DIR",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@cache  # typer would list a command once more with every call
def _register() -> None:
    from pliant.changes import CHANGES, Quantize
    from pliant.cli import change, check, decide, demo, fields, findings, fit, measure, report, run, schema, show
    from pliant.measures import MEASURES

    app.command("demo")(demo.demo_command)
    app.command("run")(run.run_command)
    app.command("show")(show.show_command)
    app.command("check")(check.check_command)
    app.command("report")(report.report_command)
    app.command("fit")(fit.fit_command)
    app.add_typer(decide.decide_app, name="decide")
    app.command("quantize")(fields.spec_command(change.quantize_command, change=Quantize))
    app.add_typer(
        fields.catalog_app(
            CHANGES,
            change.change_command,
            "change",
            "Change a model and keep the result.\n\nExample: pliant change perturb --model M --scale 0.1 -o OUT",
            change.EXAMPLES,
            change.OF_STUDIES,
        ),
        name="change",
    )
    app.add_typer(
        fields.catalog_app(
            MEASURES,
            measure.measure_command,
            "measure",
            "Read one measure off a model.\n\nExample: pliant measure loss --model M --data text.jsonl",
        ),
        name="measure",
    )
    app.command("findings")(findings.findings_command)
    app.command("schema")(schema.schema_command)


def _print_version(asked: bool) -> None:
    if asked:
        print(f"pliant {version('pliant')}")
        raise typer.Exit


@app.callback()
def _options(
    _: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version")] = False,
) -> None:
    """What can be asked of `pliant` itself."""


def main() -> None:
    """Entry point of the `pliant` command."""
    try:
        code = _run()
        sys.stdout.flush()  # here, where a closed pipe can still be answered
        raise SystemExit(code)
    except PliantError as error:
        _complain(str(error), 2)
    except TyperException as error:
        message, context = error.format_message(), getattr(error, "ctx", None)
        # there is no message where the help has been shown instead, as by `pliant` alone
        stop = "" if message.endswith((".", "?")) else "."
        _complain(f"{message}{stop} See {context.command_path} --help." if message and context else message, 2)
    except KeyboardInterrupt as stopped:
        _complain("; ".join(["interrupted", *map(str, stopped.args)]), 130)
    except BrokenPipeError:  # `pliant show ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python's own last flush must not complain again
        raise SystemExit(0) from None
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # rich's answer to it
            raise SystemExit(0) from None
        raise
    except OSError as error:
        if os.environ.get("PLIANT_DEBUG"):
            raise
        _complain(f"{error.filename or 'the system'}: {error.strerror or error}", 2)


def _run() -> int:
    """The exit code of the command asked for. Typer's own way says nothing on Ctrl-C, and ends with 1 where a pipe is closed."""
    _register()
    if "_PLIANT_COMPLETE" in os.environ:  # a shell asks which words could follow
        app(prog_name="pliant")
    command = get_command(app)
    try:
        with command.make_context("pliant", sys.argv[1:]) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    return 0


def _complain(message: str, code: int) -> None:
    if message:
        print(f"pliant: {message}", file=sys.stderr)
    raise SystemExit(code)
