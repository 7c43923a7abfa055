"""The files in CONTRIBUTING.md run as they stand there, and what they promise is what a study, its tables and its report show."""

import importlib.util
import io
import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from pliant.changes import CHANGES, NoChange
from pliant.data import Corpus, load_tokenizer
from pliant.laws import fit, simulate
from pliant.measures import MEASURES, Loss
from pliant.methods import METHODS, MethodState
from pliant.models import build, save
from pliant.objectives import OBJECTIVES, Losses, NextToken
from pliant.train import Recipe, train
from small_text import text_file

__all__ = ["text_file"]

TEXT = (Path(__file__).parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^## An? (?:new )?(\w+)[^\n]*\n(?:(?!^## ).)*?^```python\n(.*?)^```", TEXT, re.M | re.S))
"""The code below each heading such as `## A measure`, by its noun. A new one needs a test of its own here."""


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLIANT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Each block as a module of its own, written to a file and imported."""
    folder, modules = tmp_path_factory.mktemp("contributed"), {}
    for noun, code in BLOCKS.items():
        path = folder / f"contributed_{noun}.py"
        path.write_text(code, encoding="utf-8")
        spec = importlib.util.spec_from_file_location(path.stem, path)
        modules[noun] = sys.modules[path.stem] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(modules[noun])
    yield modules
    for module in modules.values():
        del sys.modules[module.__name__]


@pytest.fixture(scope="module")
def catalogs(written):
    """With what was written in its room's catalog: one name each."""
    with pytest.MonkeyPatch.context() as patch:
        for catalog, spec in (
            (CHANGES, written["change"].Shrink),
            (MEASURES, written["measure"].FirstGuess),
            (METHODS, written["method"].Trimmed),
            (OBJECTIVES, written["objective"].LateTokens),
        ):
            patch.setitem(catalog.specs(), spec.kind, spec)
        yield


def test_every_block_has_a_test():
    assert set(BLOCKS) == {"change", "measure", "method", "objective", "law"}
    assert all(name in globals() for name in (f"test_the_{noun}" for noun in BLOCKS))


def fresh(seed=0):
    return build("llama-16x1", load_tokenizer("ascii"), seed, context=32)


@pytest.fixture(scope="module")
def runs(catalogs, text_file, tmp_path_factory):
    """A study of three checkpoints, with the new change swept and the new measure beside the loss."""
    from pliant.study import run

    parent = tmp_path_factory.mktemp("checkpoints")
    for seed in range(3):
        model = fresh(seed)
        model.checkpoint = model.checkpoint.model_copy(update={"tokens": (seed + 1) * 1_000_000})
        save(model, parent / f"step{seed + 1}")
    form = {
        "name": "contributed",
        "checkpoints": [str(parent / "step*")],
        "changes": [{"shrink": {"factor": [0.5, 0.9]}}, {"shrink": {"factor": 0.7, "tensors": "matrices"}}],
        "measures": {
            "generic": {"loss": {"data": str(text_file), "samples": 16}},
            "guesses": {"first_guess": {"data": str(text_file), "samples": 16}},
        },
    }
    return run(form, tmp_path_factory.mktemp("runs") / "ledger", workers=0, quiet=True)


def test_the_change(catalogs):
    model, before = fresh(), fresh()
    linear = model.network.model.layers[0].mlp.up_proj.weight
    kept = linear.detach().clone()
    with CHANGES.parse({"shrink": {"factor": 0.5}}).applied(model):
        assert torch.equal(linear, kept * 0.5)
        assert torch.equal(model.network.get_input_embeddings().weight, before.network.get_input_embeddings().weight)
    assert model.weights() == before.weights()


def test_a_sweep_of_it_is_one_family_from_weak_to_strong(runs):
    from pliant.report.results import gather

    assert runs.failed == []
    (ladder,) = gather(runs).ladders
    for measure in ("generic", "guesses"):
        families = {title: [found.member for found in members] for title, members in ladder.families(measure).items()}
        assert families == {"Shrinking": ["factor 0.9", "factor 0.5"], "Shrinking, matrices": ["factor 0.7"]}
        assert isinstance(ladder.unchanged(measure).change, NoChange)


def test_tables_decisions_and_reports_call_it_by_its_title(runs, capsys, tmp_path):
    from pliant.cli.show import show_command
    from pliant.decide import checkpoint
    from pliant.report import print_report, report

    show_command(runs.ledger.folder)
    assert "Shrinking: factor 0.5" in capsys.readouterr().out
    assert {"Shrinking: factor 0.9", "Shrinking, matrices: factor 0.7"} <= {decision.name for decision in checkpoint(runs)}
    screen = Console(file=io.StringIO(), width=200)
    print_report(runs, screen)
    assert "Shrinking" in screen.file.getvalue()
    page = report(runs, tmp_path / "report.html").read_text(encoding="utf-8")
    assert "Shrinking, matrices" in page
    assert "contributed_change" not in page


def test_the_measure(catalogs, text_file):
    """A model that always says the same is right as often as the text does."""
    model = fresh()
    head = torch.nn.Linear(16, model.tokenizer.vocab_size)
    torch.nn.init.zeros_(head.weight)
    head.bias.data = torch.nn.functional.one_hot(torch.tensor(ord("e")), model.tokenizer.vocab_size).float()
    model.network.lm_head = head
    measure = MEASURES.parse({"first_guess": {"data": str(text_file), "samples": 16}})
    reading = measure(model)
    assert reading.samples == Loss(data=measure.data, samples=16)(model).samples
    windows = _windows(text_file, model)
    assert reading.values == pytest.approx([np.mean(window.tokens[1:] == ord("e")) for window in windows])
    assert 0 < reading.estimate().value < 1


def _windows(text_file, model):
    from pliant.data import packed

    return packed(Corpus(source=str(text_file)), model.tokenizer, "heldout").windows(model.context, 16)


def test_its_direction_is_a_column_and_reaches_decisions(runs):
    from pliant.decide import checkpoint

    assert {(row["measure"], row["better"]) for row in runs.records()} == {("generic", "lower"), ("guesses", "higher")}
    best = {"generic": min, "guesses": max}
    for decision in checkpoint(runs):
        if decision.change.unchanged:
            values = {point.position: point.value for point in decision.evidence.curve}
            assert values[decision.best] == best[decision.metric](values.values())


def test_the_method(catalogs, text_file):
    trimmed = METHODS.parse({"trimmed": {"fraction": 0.25}})
    given = Losses(torch.tensor([2.0, 8.0, 40.0, 4.0]), torch.tensor([2.0, 2.0, 4.0, 2.0]), None)
    seen = trimmed.loss(None, MethodState(), lambda batch: given, None).mean()
    assert float(seen) == pytest.approx((2 + 8 + 4) / 6)  # the row of 10 a token is left out
    objective, recipe = NextToken(data=Corpus(source=str(text_file))), Recipe(lr=1e-2, steps=4, batch=8, length=16)
    plain, other = fresh(), fresh()
    train(plain, objective, recipe, quiet=True)
    log = train(other, objective, recipe, methods=[trimmed], quiet=True)
    assert log.steps == 4
    assert plain.weights() != other.weights()


def test_the_objective(catalogs, text_file):
    from pliant.objectives.next_token import token_losses

    objective, model = OBJECTIVES.parse({"late_tokens": {"data": str(text_file)}}), fresh()
    examples = objective.examples(model, 16)
    batch = examples.batch(0, 4, 0)
    losses = objective.losses(model.network, batch)
    each = token_losses(model.network(**batch.inputs).logits, batch.targets)
    assert torch.equal(losses.values, each[:, 8:].mean(-1))
    assert torch.allclose(losses.mean(), each[:, 8:].mean())
    log = train(model, objective, Recipe(lr=1e-2, steps=30, batch=8, length=16), quiet=True)
    assert log.losses[-1] < log.losses[0] - 0.3


def test_the_law(written):
    law = written["law"].LAW
    columns = {"D": np.geomspace(1e6, 1e7, 12)}
    table = simulate(law, columns, {"a": 6.0, "b": 0.2}, noise=0.0, seed=0)
    assert table["loss"] == pytest.approx(6.0 - 0.2 * np.log(columns["D"]))
    assert fit(law, table, bootstrap=0).parameters == pytest.approx({"a": 6.0, "b": 0.2}, rel=1e-6)


def test_their_forms_are_yaml_schema_and_hash(catalogs):
    for catalog, kind in ((CHANGES, "shrink"), (MEASURES, "first_guess"), (METHODS, "trimmed"), (OBJECTIVES, "late_tokens")):
        assert kind in json.dumps(catalog.json_schema())
    change = CHANGES.parse({"shrink": {"factor": 0.5}})
    assert CHANGES.parse(change.canonical()).hash() == change.hash()
