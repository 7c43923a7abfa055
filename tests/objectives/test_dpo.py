"""Direct preference optimisation: each pair's loss by hand, the reference frozen and kept, and a killed run that goes on."""

import copy
from math import exp, log

import numpy as np
import pytest
import torch

from interrupted import goes_on
from pliant.changes import Finetune
from pliant.data import Corpus, load_tokenizer
from pliant.errors import PliantError
from pliant.files import cache_folder
from pliant.models import build, load, save
from pliant.models.stored_model import StoredModel
from pliant.objectives import OBJECTIVES, Dpo, found_in
from pliant.spec import content_form, described
from pliant.train import Recipe, train


def model(seed=0):
    return build("llama-16x2", load_tokenizer("ascii"), seed, context=64)


def by_hand(network, ids, learned):
    """log p of the learned tokens, one unpadded sequence at a time."""
    tokens = torch.from_numpy(np.array(ids))
    likely = network(input_ids=tokens[None, :-1]).logits[0].double().log_softmax(-1)
    return float(sum(likely[place - 1, token] for place, token in enumerate(tokens.tolist()) if learned[place]))


def sigmoid(x):
    return 1 / (1 + exp(-x))


@pytest.mark.parametrize(("beta", "smoothing"), [(0.1, 0.0), (0.7, 0.2)])
def test_losses_are_the_formula_by_hand(pairs, beta, smoothing):
    before, subject = model(), model(seed=1)
    objective = Dpo(data=pairs, part="all", beta=beta, label_smoothing=smoothing)
    examples = objective.examples(before, None)
    batch = examples.batch(0, 6, seed=0)
    found = objective.losses(subject.network, batch)
    with torch.no_grad():
        for row, number in enumerate(batch.numbers):
            chosen, rejected = examples.sequences.example(int(number))
            gains = [by_hand(subject.network, *answer) - by_hand(before.network, *answer) for answer in (chosen, rejected)]
            gain = beta * (gains[0] - gains[1])
            expected = -(1 - smoothing) * log(sigmoid(gain)) - smoothing * log(sigmoid(-gain))
            assert float(found.values[row]) == pytest.approx(expected, abs=1e-6)
    assert float(found.mean().detach()) == pytest.approx(float(found.values.detach().mean()), abs=1e-6), "every pair counts as much"


def test_before_training_neither_answer_has_gained(pairs):
    subject, objective = model(), Dpo(data=pairs, part="all")
    examples = objective.examples(subject, None)
    losses = objective.losses(subject.network, examples.batch(0, 14, seed=0))
    assert torch.allclose(losses.values, torch.tensor(log(2.0)), atol=1e-6)
    assert examples.chance == log(2)


def test_the_reference_is_read_once_and_made_again_where_damaged(pairs, monkeypatch):
    subject, objective = model(), Dpo(data=pairs, part="all")
    first = objective.examples(subject, None)
    (kept,) = (cache_folder() / "references").glob("*.npy")
    with monkeypatch.context() as watched:
        watched.setattr("pliant.objectives.reference._differences", lambda *_: pytest.fail("worked out again"))
        again = objective.examples(copy.deepcopy(subject), None)
    assert (dict(first.known)["reference"] == dict(again.known)["reference"]).all()
    content = kept.read_bytes()
    kept.write_bytes(content[:-9])
    objective.examples(subject, None)
    assert kept.read_bytes() == content
    objective.examples(model(seed=1), None)
    assert len(list((cache_folder() / "references").glob("*.npy"))) == 2


def test_counting_the_pairs_asks_no_reference(pairs, monkeypatch):
    monkeypatch.setattr("pliant.objectives.reference._differences", lambda *_: pytest.fail("a pass was made"))
    subject, objective = model(), Dpo(data=pairs, part="all")
    assert objective.counted(subject, None).sequences.counts["examples"] == 14
    assert Finetune(objective=objective, lr=1e-3, epochs=2).recipe(subject).steps == 2 * round(14 / 8)


def test_a_named_reference_enters_the_key_by_what_it_holds(pairs, tmp_path):
    for name, seed in (("one", 1), ("same", 1), ("other", 2)):
        save(model(seed), tmp_path / name)
    one, same, other = (Dpo(data=pairs, part="all", reference=str(tmp_path / name)) for name in ("one", "same", "other"))
    assert content_form(one) == content_form(same) != content_form(other)
    assert described(Finetune(objective=one, lr=1e-3)) != described(Finetune(objective=other, lr=1e-3))
    assert Finetune(objective=one, lr=1e-3).title().startswith("Fine-tuning on pairs.jsonl, objective dpo")
    known = dict(one.examples(model(), None).known)["reference"]
    assert (known == dict(Dpo(data=pairs, part="all").examples(load(tmp_path / "one"), None).known)["reference"]).all()
    assert StoredModel.parse(str(tmp_path / "one")).load().weights() == model(1).weights()


def test_a_reference_that_reads_otherwise_is_one_line(pairs, tmp_path):
    save(build("llama-16x2", load_tokenizer("bytes"), 0, context=64), tmp_path / "bytes")
    save(build("llama-16x2", load_tokenizer("ascii"), 0, context=8), tmp_path / "short")
    with pytest.raises(PliantError, match="has another tokenizer"):
        Dpo(data=pairs, reference=str(tmp_path / "bytes")).examples(model(), None)
    with pytest.raises(PliantError, match="has a context of 8 tokens, fewer than the"):
        Dpo(data=pairs, reference=str(tmp_path / "short")).examples(model(), None)
    with pytest.raises(PliantError, match="no such folder"):
        Dpo(data=pairs, reference="./nowhere").reference.fingerprint()


def test_a_killed_run_goes_on_bit_for_bit(pairs, tmp_path):
    """Also with its cache gone: the reference is the model as it was, not as it was when the run was killed."""

    def lost():
        for kept in (cache_folder() / "references").iterdir():
            kept.unlink()

    recipe = Recipe(lr=1e-2, steps=12, batch=3, accumulate=2)
    losses = goes_on(model, Dpo(data=pairs, part="all"), recipe, tmp_path / "state", lost=lost)
    assert losses[0] == pytest.approx(log(2), abs=1e-5)
    assert losses[-1] < 0.5 * losses[0]


def test_one_batch_equals_its_parts(pairs):
    weights = []
    for batch, accumulate in ((6, 1), (2, 3)):
        subject = model()
        train(subject, Dpo(data=pairs, part="all"), Recipe(lr=1e-3, steps=3, batch=batch, accumulate=accumulate), quiet=True)
        weights.append(torch.cat([p.detach().flatten() for p in subject.network.parameters()]))
    assert torch.allclose(*weights, atol=1e-5)


def test_columns_call_for_it(pairs):
    found = found_in(Corpus(source=pairs), "all")
    assert found == Dpo(data=pairs, part="all") == OBJECTIVES.parse({"dpo": {"data": pairs, "part": "all"}})
    assert "prompt and chosen and rejected; the chosen answer is to gain" in found.told()
    assert Finetune(data=pairs, lr=1e-3).meaning()["objective"] == "dpo"
    with pytest.raises(PliantError, match="label_smoothing"):
        Dpo(data=pairs, label_smoothing=0.5)
