"""Options made from a spec's fields."""

import pytest
import typer
from pydantic import Field
from typer.testing import CliRunner

from pliant.cli.fields import spec_command
from pliant.errors import PliantError
from pliant.numbers import Count
from pliant.spec import Spec


class Walk(Spec):
    """How to walk."""

    steps: Count = Field(description="How far")
    backwards: bool = Field(False, description="The other way round")
    straight: bool = Field(True, description="Without bends")
    words: list[str] = Field(default=["a"], description="What to say")
    place: str = Field("here", description="Where")


def called(*arguments):
    """What a command that takes a Walk and a plain option is called with."""
    found = []

    def run(walk: Walk, *, loud: bool = False) -> None:
        """Example: walk --steps 3"""
        found.append((walk, loud))

    run.__annotations__ = {"walk": Walk, "loud": bool}
    app = typer.Typer()
    app.command()(spec_command(run, walk=Walk))
    result = CliRunner().invoke(app, arguments)
    return found, result


def test_fields_become_options_beside_the_command_s_own():
    found, _ = called("--steps", "16M", "--loud", "--backwards", "--no-straight", "--words", "[b, c]")
    assert found == [(Walk(steps=16_000_000, backwards=True, straight=False, words=["b", "c"]), True)]


def test_a_list_is_one_value_or_an_option_for_each_item():
    for options in (("--words", "[b, c]"), ("--words", "b", "--words", "c")):
        assert called("--steps", "3", *options)[0][0][0].words == ["b", "c"]
    assert called("--steps", "3")[0][0][0].words == ["a"]


def test_what_is_not_given_is_left_to_the_spec():
    found, _ = called("--steps", "3")
    assert found == [(Walk(steps=3), False)]


def test_help_says_what_the_fields_say():
    _, result = called("--help")
    told = " ".join(result.stdout.split())
    for words in ("How to walk", "Example: walk --steps 3", "The other way round", "--backwards", "--no-straight", "(required)"):
        assert words in told
    assert "--no-backwards" not in told


@pytest.mark.parametrize(
    ("steps", "words"), [(["--words", "*.mlp.*"], "a list is needed"), (["--words", "[b, c"], "--words '[b, c': is not valid YAML")]
)
def test_a_list_gone_wrong_is_called_so_and_a_pattern_is_text(steps, words):
    _, result = called("--steps", "3", *steps)
    assert isinstance(result.exception, PliantError)
    assert words in str(result.exception)
    assert called("--steps", "3", "--place", "[ab]*.txt")[0] == [(Walk(steps=3, place="[ab]*.txt"), False)]
