"""A search over losses: resumed with nothing trained twice, replayed exactly, without the slips of the released code."""

import json
import sys

import numpy as np
import pytest
from sklearn.datasets import load_digits

from pliant.changes import Finetune
from pliant.cli import main
from pliant.decide.losses.decide import CONTROL, PLAIN, SEARCHED, LossPlan, decide
from pliant.decide.losses.search import USUAL, LossSearch, LossSettings, LossTrial, Sampler
from pliant.decide.losses.validation import Validation
from pliant.errors import PliantError
from pliant.measures import Accuracy
from pliant.models import build, load, save
from pliant.objectives import Label
from pliant.train import Recipe, loop, train

PLAN = LossPlan(trials=3, trial_steps=2, seeds=2)
STEPS = 4


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """A network that knows digits, and digits upright (to learn), a pixel aside (to choose by) and noisy (to judge by)."""
    folder = tmp_path_factory.mktemp("digits")
    digits, draw = load_digits(), np.random.default_rng(0)
    images, labels = (digits.images * 255 / 16).astype(np.uint8), digits.target
    kinds = {
        "own": images[:200],
        "shifted": np.roll(images[200:300], 1, 2),
        "noisy": images[300:400] // 2 + draw.integers(0, 99, (100, 8, 8)),
    }
    ends = {"own": slice(0, 200), "shifted": slice(200, 300), "noisy": slice(300, 400)}
    for name, shown in kinds.items():
        np.savez(folder / f"{name}.npz", images=shown.astype(np.uint8), labels=labels[ends[name]])
    learned = Label.parse({"data": str(folder / "own.npz")})
    model = build("cnn-4x1", images=learned.needs().images, labels=learned.needs().labels)
    train(model, learned, Recipe(lr=1e-2, steps=30, batch=32), quiet=True)
    save(model, folder / "model")
    return folder, model


@pytest.fixture
def asked(places):
    folder, model = places
    told = Finetune(objective=Label.parse({"data": str(folder / "own.npz")}), lr=1e-2, steps=STEPS, batch=16)
    by = {name: Accuracy.parse({"data": str(folder / f"{name}.npz"), "part": "all"}) for name in ("shifted", "noisy")}
    return model, str(folder / "model"), told, Validation((by["shifted"],)), [by["noisy"], by["shifted"]]


@pytest.fixture
def rates(monkeypatch):
    """The rate of every optimizer step."""
    made = []

    def step(optimizer, lr, clip):
        made.append(lr)
        return original(optimizer, lr, clip)

    original = loop._step
    monkeypatch.setattr(loop, "_step", step)
    return made


def search_of(asked, folder, losses=USUAL, **changed):
    model, _, told, validation, _ = asked
    return LossSearch(model, model.weights(), told, PLAN.trial_steps, validation, "higher", losses, folder, **changed)


def test_a_killed_search_goes_on_with_nothing_trained_twice_and_ends_as_if_it_had_not_been(asked, tmp_path, rates, monkeypatch):
    model, weights = asked[0], asked[0].weights()
    whole = decide(*asked, None, PLAN, tmp_path / "whole").json()
    everything = 3 * (PLAN.trials * PLAN.trial_steps + PLAN.seeds * STEPS)
    assert len(rates) == everything
    read, reads = Validation.readings, []

    def killed(validation, asked):
        reads.append(1)
        if len(reads) in (6, 22):
            raise KeyboardInterrupt
        return read(validation, asked)

    monkeypatch.setattr(Validation, "readings", killed)
    rates.clear()
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            decide(*asked, None, PLAN, tmp_path / "killed")
    found = decide(*asked, None, PLAN, tmp_path / "killed").json()
    assert {**found, "folder": ""} == {**whole, "folder": ""}
    assert len(rates) in (everything + PLAN.trial_steps, everything + 2 * PLAN.trial_steps), "only what was being tried is tried again"
    rates.clear()
    assert decide(*asked, None, PLAN, tmp_path / "killed").json() == found
    more = decide(*asked, None, LossPlan(5, 2, 2), tmp_path / "killed")
    assert len(rates) <= 3 * (2 * PLAN.trial_steps + PLAN.seeds * STEPS), "two more trials continue the search"
    assert [trial.drawn for trial in more.arms[0].tried[:3]] == [
        json.loads(file.read_text())["drawn"] for file in _trials(tmp_path / "whole", more.arms[0].tried[0])
    ]
    assert model.weights() == weights


def _trials(folder, first):
    """The files of the search whose first trial this is."""
    return next(
        sorted(place.glob("trial*.json"))
        for place in folder.glob("search-*")
        if json.loads((place / "trial0.json").read_text())["drawn"] == first.drawn
    )


def test_the_arms_are_compared_on_tests_and_the_command_repeats_the_first_run(asked, places, tmp_path, monkeypatch, capsys):
    found = decide(*asked, ("hinge", "l2_init"), PLAN, tmp_path / "runs")
    assert [arm.name for arm in found.arms] == [SEARCHED, CONTROL, PLAIN]
    assert set(found.arms[0].settings.losses) == {"hinge", "l2_init"}
    assert found.arms[1].settings.losses == {} == found.arms[2].settings.losses
    best, test = found.arms[0], found.tests[0]
    assert test.gains[CONTROL].value == pytest.approx(test.means[SEARCHED] - test.means[CONTROL])
    monkeypatch.setattr(sys, "argv", [*_words(best.command)[:-1], str(tmp_path / "tuned")])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 0
    capsys.readouterr()
    tuned = load(str(tmp_path / "tuned"))
    assert np.array_equal(asked[4][0](tuned).values, best.values[0, :100]), "its command gives the run that was read"
    assert f"steps {best.steps}" in best.command.replace("--steps", "steps")


def _words(command):
    import shlex

    return shlex.split(command)


def test_a_trial_is_replayed_exactly_at_its_own_rate_and_of_equal_ones_the_last_wins(asked, tmp_path, rates):
    search = search_of(asked, tmp_path)
    trials = search.run(3, lambda _: None)
    assert rates == [trial.settings.lr for trial in trials for _ in range(PLAN.trial_steps)], "no rate but the trial's own"
    assert len({trial.settings.lr for trial in trials}) == 3
    best = search.best(trials)
    assert search.trial(best.drawn) == best
    equal = [LossTrial({**trials[0].drawn, "seed": seed}, 0.5) for seed in range(3)]
    assert search.best([*equal, LossTrial(trials[0].drawn, None), LossTrial(trials[0].drawn, 0.4)]) == equal[2]
    (file, *_) = _trials(tmp_path, trials[0])
    for damage in ("", "{}", '{"drawn": {"lr": 1}, "value": 1.0, "told": ""}'):
        file.write_text(damage)
        assert search.run(3, lambda _: None) == trials


def test_the_space_is_that_of_the_paper_and_proposals_depend_on_what_came_before_alone():
    def drawn(values):
        sampler, found = Sampler(("dcm",), 1e-3, 7), []
        for number, value in enumerate(values):
            found.append(sampler.draw(number))
            sampler.add(found[-1], value)
        return found

    values = [float(n % 7) for n in range(24)]
    first = drawn(values)
    assert first == drawn(values)
    assert drawn([*values[:12], *(-value for value in values[12:])])[:13] == first[:13] != drawn([None] * 13)
    assert all(1e-4 <= one["dcm"] <= 10 and 1e-5 <= one["lr"] <= 0.1 for one in first)
    assert all(0 <= one["weight_decay"] <= 1 and one["seed"] in range(11) for one in first)
    settings = LossSettings.of({"lr": 0.00123456, "weight_decay": 0.5, "seed": 3, "dcm": 1.23456})
    assert settings == LossSettings(0.001235, 0.5, 3, {"dcm": 1.235})


def test_of_several_validations_the_worst_counts(asked):
    model, _, _, _, tests = asked
    values = [measure(model).estimate().value for measure in tests]
    assert Validation(tests).read(model) == (min(values), "higher")
    losses = [{reading.metric: reading for reading in measure.readings(model)}["nll"].estimate().value for measure in tests]
    assert Validation(tests, "nll").read(model) == (max(losses), "lower")
    with pytest.raises(PliantError, match="does not read 'f1'"):
        Validation(tests, "f1").read(model)


def test_what_cannot_be_searched_is_said(asked, tmp_path):
    with pytest.raises(PliantError, match="no loss 'hing'; did you mean 'hinge'"):
        search_of(asked, tmp_path, ("hing",)).run(1, lambda _: None)
    late = (asked[0], asked[1], asked[2].model_copy(update={"warmup": 1}), *asked[3:])
    with pytest.raises(PliantError, match="warm-up of 1 steps is more than a tenth of a trial's 2"):
        search_of(late, tmp_path).run(1, lambda _: None)
    wild = (asked[0], asked[1], asked[2].model_copy(update={"lr": 1e30, "clip": 0.0}), *asked[3:])
    with pytest.raises(PliantError, match="all 2 trials failed"):
        search_of(wild, tmp_path).run(2, lambda _: None)


def test_language_models_have_all_but_flyp(tmp_path, monkeypatch, capsys):
    from method_search import write_domains
    from pliant.data import load_tokenizer

    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))
    write_domains(tmp_path)
    save(build("llama-16x1", load_tokenizer("ascii"), 0, context=48), tmp_path / "model")
    words = ["pliant", "decide", "losses", "--model", str(tmp_path / "model"), "--data", str(tmp_path / "sums.jsonl"), "--json"]
    words += ["--validate", str(tmp_path / "prose.jsonl"), "--test", f"{{loss: {{data: {tmp_path / 'prose.jsonl'}, samples: 8}}}}"]
    words += ["--trials", "2", "--trial-steps", "2", "--steps", "4", "--seeds", "1", "--finetune", "{batch: 4, length: 16}"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as end:
        main()
    told = capsys.readouterr()
    assert end.value.code == 0, told.err
    found = json.loads(told.out)
    assert set(found["answer"]["settings"]["losses"]) == set(USUAL)
    assert found["tests"][0]["unit"] == "nats/token"
    monkeypatch.setattr(sys, "argv", [*words, "--losses", "flyp"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == 2
    assert "flyp is for classifiers" in capsys.readouterr().err
