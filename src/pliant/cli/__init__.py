"""The command line: parse, call, print. One file a command; what a command does lives in the rooms.

Exit codes: 0 done, 1 done but something failed (a cell, a finding that contradicts, pliant itself), 2 the user can fix it,
130 Ctrl-C, 143 SIGTERM.

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
from typer.main import get_command

from pliant.cli.net import answer, check_words, let_go_of_streams, prepare_streams, stoppable
from pliant.progress import say

app = typer.Typer(
    name="pliant",
    help="What is a model worth after you change it?\n\nExample: pliant demo, then pliant run STUDY.yaml --ledger DIR",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


@cache  # typer would list a command once more with every call
def _register() -> None:
    from pliant.changes import CHANGES, Finetune, Quantize
    from pliant.cli import (
        change,
        check,
        compare,
        decide,
        demo,
        fields,
        findings,
        finetune,
        fit,
        measure,
        mix,
        predict,
        report,
        run,
        schema,
        score,
        scorecard,
        select,
        show,
    )
    from pliant.measures import MEASURES
    from pliant.scores import SCORES

    app.command("demo")(demo.demo_command)
    app.command("run")(run.run_command)
    app.command("show")(show.show_command)
    app.command("compare")(compare.compare_command)
    app.command("scorecard")(scorecard.scorecard_command)
    app.command("check")(check.check_command)
    app.command("report")(report.report_command)
    app.command("fit", cls=fit.FitCommand)(fit.fit_command)
    app.command("predict")(predict.predict_command)
    app.add_typer(decide.decide_app, name="decide")
    app.command("quantize")(fields.spec_command(change.quantize_command, change=Quantize))
    app.command("finetune", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
        fields.spec_command(finetune.finetune_command, ("draws",), change=Finetune)
    )
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
    app.add_typer(
        fields.catalog_app(
            SCORES,
            score.score_command,
            "score",
            "Give every training example a number.\n\nExample: pliant score perplexity --model M --data text.jsonl -o scores.parquet",
            score.EXAMPLES,
        ),
        name="score",
    )
    app.command("mix")(mix.mix_command)
    app.command("select")(select.select_command)
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
    """Entry point of the `pliant` command. Whatever happens, it ends with a line or two and an exit code."""
    prepare_streams()
    try:
        with stoppable():
            code, said = _run(), ""
            sys.stdout.flush()  # here, where a closed pipe can still be answered
    except BaseException as error:
        said, code = answer(error)
    if said:
        say(f"pliant: {said}")
    let_go_of_streams()
    raise SystemExit(code)


def _run() -> int:
    """The exit code of the command asked for. Typer's own way says nothing on Ctrl-C, and ends with 1 where a pipe is closed."""
    check_words()
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
