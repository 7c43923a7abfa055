"""Deciding on a method for labels and pairs, with images, and against the base's own head where training needs another."""

import csv
import json

import numpy as np
import pytest

from method_search import WORDS, base_of, write_domains
from pliant.changes import Finetune
from pliant.data import Corpus
from pliant.decide.methods.arm import parse_arms
from pliant.decide.methods.decide import decide
from pliant.decide.methods.ground import Ground, halves
from pliant.decide.methods.own_loss import own_losses
from pliant.decide.methods.plan import SearchPlan
from pliant.decide.methods.together import one_by_one
from pliant.measures import Loss
from pliant.models.heads import fitted, with_trunk
from pliant.objectives import OBJECTIVES, found_in

PLAN = SearchPlan(steps=8, trials=2, seeds=2)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    folder = tmp_path_factory.mktemp("objectives")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLIANT_CACHE", str(folder / "cache"))
        write_domains(folder)
        with (folder / "labels.csv").open("w", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(["text", "label"])
            rows.writerows([f"{n}+{n}" if n % 2 else f"{WORDS[n % 10]} sea", "sum" if n % 2 else "prose"] for n in range(120))
        pairs = [{"prompt": f"{n}?", "chosen": f"{n} the sea", "rejected": f"{n} 1+1=2"} for n in range(120)]
        (folder / "pairs.jsonl").write_text("\n".join(map(json.dumps, pairs)))
        yield folder, base_of(folder)


def ground_for(places, objective, tmp_path):
    folder, model = places
    told = Finetune(objective=objective, lr=1.0, steps=PLAN.steps, batch=4)
    kept = found_in(Corpus(source=str(folder / "prose.jsonl")), "heldout")
    return Ground(model, str(folder / "model"), model.weights(), told, *halves(model, told.learned, kept, 8), tmp_path / "runs")


@pytest.mark.parametrize("form", [{"label": "labels.csv"}, {"dpo": "pairs.jsonl"}])
def test_any_objective_is_learned_and_text_is_kept_by_the_base_s_own_head(places, tmp_path, form):
    ((kind, name),) = form.items()
    objective = OBJECTIVES.parse({kind: {"data": str(places[0] / name)}})
    ground = ground_for(places, objective, tmp_path)
    assert ground.tuning.target.unit == "nats"
    assert not set(ground.tuning.target.samples) & set(ground.judging.target.samples)
    before = ground.model.weights(), ground.model.network
    found = decide(ground, parse_arms(["full", {"lora": {"rank": 2}}]), PLAN, 3e-2, keep="prose")
    assert {arm.name for arm in found.arms if arm.learned} == {"full", "lora rank 2"}
    assert all(abs(arm.forgotten.value) > 0 for arm in found.arms), "the trunk that the base's head stands on was trained"
    assert "--objective" in found.command
    assert found.json()["units"] == {"learned": "nats", "forgotten": "nats/token"}
    assert any("give --margin in the unit of the other" in caveat for caveat in found.caveats) == (found.level is not None)
    assert (ground.model.weights(), ground.model.network) == before
    if kind == "dpo":
        assert ground.tuning.target.values == pytest.approx(np.log(2)), "the base prefers as the base does"


def test_pairs_of_arms_that_share_passes_are_each_trained_as_alone(places, tmp_path, monkeypatch):
    objective = OBJECTIVES.parse({"dpo": {"data": str(places[0] / "pairs.jsonl")}})
    found = []
    for way in ("shared", "alone"):
        if way == "alone":
            monkeypatch.setattr("pliant.decide.methods.decide.side_by_side", one_by_one)
        arms = parse_arms([{"lora": {"rank": [2, 4]}}])
        found.append(decide(ground_for(places, objective, tmp_path / way), arms, PLAN, 3e-2, keep="prose"))
    (shared,), (alone,) = (decision.arms for decision in found)
    assert (shared.learned.value, shared.forgotten.value) == pytest.approx((alone.learned.value, alone.forgotten.value), abs=1e-5)


def test_the_base_s_head_reads_what_training_left_of_its_trunk(places):
    folder, model = places
    other = fitted(model, OBJECTIVES.parse({"label": {"data": str(folder / "labels.csv")}}).needs())
    loss = Loss(data=Corpus(source=str(folder / "prose.jsonl")), samples=4)
    plain = loss(model).values
    assert np.array_equal(loss(with_trunk(model, other)).values, plain)
    weight = next(parameter for name, parameter in other.network.named_parameters() if name.endswith("q_proj.weight"))
    before = weight.detach().clone()
    weight.data = before + 0.3
    try:
        assert not np.array_equal(loss(with_trunk(model, other)).values, plain)
    finally:
        weight.data = before
    with_trunk(model, other)
    assert np.array_equal(loss(model).values, plain)


def test_own_losses_are_those_of_the_objective_without_noise_in_labels(places):
    folder, model = places
    form = {"data": str(folder / "labels.csv")}
    clean, noisy = (OBJECTIVES.parse({"label": told}) for told in (form, form | {"noise": {"fraction": 0.5}}))
    network = fitted(model, clean.needs())
    first, second = own_losses(noisy, network, 6)
    examples = clean.held_out().examples(network, None)
    for read in (first, second):
        (reading,) = read(network)
        numbers = np.array([list(examples.ids).index(name) for name in reading.samples])
        expected = clean.losses(network.network, examples.at(numbers)).values.detach().numpy()
        assert reading.values == pytest.approx(expected, abs=1e-5)
