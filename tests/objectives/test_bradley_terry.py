"""Rewards of pairs: each loss by hand, on causal trunks with a head of one number; the measure; and a killed run that goes on."""

import copy
from math import exp, log

import pytest
import torch
from transformers import AutoModelForSequenceClassification

from interrupted import goes_on
from pliant.changes import Finetune
from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.measures import Preference
from pliant.models import build, load, save
from pliant.models.heads import fitted
from pliant.objectives import OBJECTIVES, BradleyTerry
from pliant.train import Recipe, train


def trunk(seed=0):
    return build("llama-16x2", load_tokenizer("ascii"), seed, context=64)


def rewarding(seed=0):
    return fitted(trunk(seed), BradleyTerry(data="nowhere.jsonl").needs(), seed)


def by_hand(model, ids):
    """The head on the trunk's last hidden state of one dialogue alone."""
    with torch.no_grad():
        hidden = model.network.model(torch.from_numpy(ids.copy())[None]).last_hidden_state[0, -1]
        return float(model.network.score(hidden)[0])


@pytest.mark.parametrize(("margin", "centering"), [(0.0, 0.0), (0.5, 0.01)])
def test_losses_are_the_formula_by_hand(pairs, margin, centering):
    model, objective = rewarding(), BradleyTerry(data=pairs, part="all", margin=margin, centering=centering)
    examples = objective.examples(model, None)
    batch = examples.batch(0, 6, seed=0)
    with torch.no_grad():
        found = objective.losses(model.network, batch)
    for row, number in enumerate(batch.numbers):
        chosen, rejected = (by_hand(model, ids) for ids, _ in examples.sequences.example(int(number)))
        expected = log(1 + exp(-(chosen - rejected - margin))) + centering * (chosen + rejected) ** 2
        assert float(found.values[row]) == pytest.approx(expected, abs=1e-6)
        assert found.output[row].tolist() == pytest.approx([chosen, rejected], abs=1e-6)


def test_equal_rewards_cost_the_logarithm_of_two(pairs):
    model, objective = rewarding(), BradleyTerry(data=pairs, part="all")
    with torch.no_grad():
        model.network.score.weight.zero_()
        found = objective.losses(model.network, objective.examples(model, None).batch(0, 14, seed=0))
    assert torch.allclose(found.values, torch.tensor(log(2.0)), atol=1e-7)


def test_a_killed_run_goes_on_bit_for_bit(pairs, tmp_path):
    """From a language model, whose fresh head is the seed's."""
    losses = goes_on(trunk, BradleyTerry(data=pairs, part="all"), Recipe(lr=1e-2, steps=12, batch=3, accumulate=2), tmp_path / "state")
    assert losses[-1] < losses[0] - 0.3


def test_a_reward_model_is_measured_saved_and_loaded_by_transformers(pairs, tmp_path):
    subject, data = trunk(), BradleyTerry(data=pairs, part="all")
    train(subject, data, Recipe(lr=1e-2, steps=20, batch=7), quiet=True)
    readings = {reading.metric: reading for reading in Preference(data=pairs).readings(subject)}
    assert readings["preference"].estimate().value == 1.0
    save(subject, tmp_path / "reward")
    plain = AutoModelForSequenceClassification.from_pretrained(tmp_path / "reward")
    assert plain.config.num_labels == 1
    again = {reading.metric: reading for reading in Preference(data=pairs).readings(load(tmp_path / "reward"))}
    assert again["preference_margin"].values == pytest.approx(readings["preference_margin"].values, abs=1e-5)
    margins = []
    examples = data.examples(subject, None)
    for number in range(len(examples)):
        chosen, rejected = (
            float(plain(torch.from_numpy(ids.copy())[None]).logits[0, 0].detach()) for ids, _ in examples.sequences.example(number)
        )
        margins.append(chosen - rejected)
    assert readings["preference_margin"].values == pytest.approx(margins, abs=1e-5)


def test_what_has_no_reward_is_one_line(pairs, tmp_path):
    model, objective = rewarding(), BradleyTerry(data=pairs, part="all")
    batch = objective.examples(model, None).batch(0, 2, seed=0)
    embeds = copy.copy(batch)
    object.__setattr__(embeds, "inputs", {"inputs_embeds": torch.zeros(2, 2, 5, 16)})
    with pytest.raises(PliantError, match="embeddings do not tell"):
        objective.losses(model.network, embeds)
    save(trunk(), tmp_path / "before")
    with pytest.raises(PliantError, match="its rewards have no reference"):
        Preference(data=pairs, reference=str(tmp_path / "before")).readings(model)


def test_it_is_a_kind_like_any_other(pairs):
    objective = OBJECTIVES.parse({"bradley_terry": {"data": pairs, "margin": 0.1}})
    assert objective == BradleyTerry(data=pairs, margin=0.1)
    assert "objective bradley_terry" in Finetune(objective=objective, lr=1e-3).title()
    assert "the larger reward" in objective.told()
