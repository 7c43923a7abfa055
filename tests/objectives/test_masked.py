"""Masked tokens: BERT's shares, transformers' own loss, fixed masks for measuring, and runs that go on where they were killed."""

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM, BertTokenizer, RobertaConfig, RobertaForMaskedLM

from interrupted import goes_on
from pliant.data import Corpus, load_tokenizer, packed
from pliant.data.pretrained import PretrainedTokenizer
from pliant.errors import PliantError
from pliant.measures import MaskedLoss
from pliant.models import Checkpoint, Model, build, load, save, with_head
from pliant.objectives import Masked
from pliant.objectives.masking import Frame, draws
from pliant.train import Recipe, train


@pytest.fixture
def source(text_file, cache):
    return str(text_file)


def small(seed=0):
    return build("bert-16x2", load_tokenizer("ascii"), seed, context=32)


def test_the_shares_are_those_of_bert():
    frame = Frame((), (), 128, 128)
    text = np.random.default_rng(0).integers(0, 128, (400, 100))
    inputs, targets = frame.hidden(text, draws(1, 2, 400, 100), 0.15)
    chosen = targets >= 0
    shares = [chosen.mean(), (inputs[chosen] == 128).mean(), (inputs[chosen] == text[chosen]).mean()]
    expected = [0.15, 0.8, 0.1 + 0.1 / 128]
    for share, wanted, count in zip(shares, expected, [40000, 6000, 6000], strict=True):
        assert abs(share - wanted) < 4 * (wanted * (1 - wanted) / count) ** 0.5
    assert (targets[chosen] == text[chosen]).all()
    assert (inputs[~chosen] == text[~chosen]).all()


def test_a_row_predicts_at_least_one_token_and_none_around_it():
    frame = Frame((1,), (2, 3), 9, 9)
    inputs, targets = frame.hidden(np.full((50, 4), 5), draws(0, 0, 50, 4), 1e-9)
    assert ((targets >= 0).sum(1) == 1).all()
    assert (inputs[:, 0] == 1).all()
    assert (inputs[:, -2:] == [2, 3]).all()
    assert (targets[:, [0, 5, 6]] == -100).all()


def test_losses_are_those_of_transformers(source):
    model, objective = small(), Masked(data=source)
    batch = objective.examples(model, None).batch(0, 6, seed=3)
    found = objective.losses(model.network, batch)
    assert batch.inputs["input_ids"].shape == (6, 32)
    for row in range(6):
        reference = model.network(batch.inputs["input_ids"][row : row + 1], labels=batch.targets[row : row + 1]).loss
        assert float(found.values[row].detach()) == pytest.approx(float(reference.detach()), abs=1e-6)
        assert float(batch.weights[row]) == int((batch.targets[row] >= 0).sum())
    whole = model.network(**batch.inputs, labels=batch.targets).loss
    assert float(found.mean().detach()) == pytest.approx(float(whole.detach()), abs=1e-6)


def test_batches_depend_on_seed_and_step_alone(source):
    examples = Masked(data=source).examples(small(), None)
    first, again, other = examples.batch(4, 5, seed=1), examples.batch(4, 5, seed=1), examples.batch(5, 5, seed=1)
    assert torch.equal(first.inputs["input_ids"], again.inputs["input_ids"])
    assert torch.equal(first.targets, again.targets)
    assert not torch.equal(first.targets, other.targets)


def test_it_learns_and_a_killed_run_goes_on_bit_for_bit(source, tmp_path):
    losses = goes_on(small, Masked(data=source), Recipe(lr=1e-2, steps=40, batch=16), tmp_path / "state", at=17)
    assert np.mean(losses[-5:]) < losses[0] - 1


def test_a_classifier_of_the_same_trunk_gets_a_masked_head(source):
    model = with_head(small(), "sequence", ["a", "b"])
    train(model, Masked(data=source), Recipe(lr=1e-3, steps=1, batch=2), quiet=True)
    assert model.task.name == "masked"
    with pytest.raises(PliantError, match="'llama' has no network that is a masked language model"):
        train(build("llama-16x1", load_tokenizer("ascii")), Masked(data=source), Recipe(lr=1e-3, steps=1), quiet=True)


def test_the_measure_hides_the_same_tokens_of_the_same_text(source, tmp_path):
    model, other = small(), small(1)
    measure = MaskedLoss(data=source, samples=20, window=24)
    first, again = measure(model), measure(other)
    assert list(first.samples) == list(again.samples)
    assert (first.weights == again.weights).all()
    assert measure.model_copy(update={"batch": 3})(model).values == pytest.approx(first.values, abs=1e-6)
    assert (first - again).estimate().n > 1
    assert (MaskedLoss(data=source, samples=20, window=24, seed=1)(model).weights != first.weights).any()
    save(model, tmp_path / "model")
    assert (measure(load(tmp_path / "model")).values == first.values).all()
    windows = packed(Corpus.parse(source), model.tokenizer, "heldout").windows(23, 20)
    assert [window.id for window in windows] == list(first.samples)
    assert 0.1 < first.weights.sum() / sum(len(window.tokens) for window in windows) < 0.25


def test_what_it_cannot_be_read_off_is_one_line(source):
    with pytest.raises(PliantError, match="is a causal language model; masked_loss is read off a masked language model"):
        MaskedLoss(data=source)(build("llama-16x1", load_tokenizer("ascii")))
    with pytest.raises(PliantError, match="window 64 is longer than the model's context of 32 tokens"):
        MaskedLoss(data=source, window=64)(small())
    with pytest.raises(PliantError, match="length 64 is more than the model's context of 32 tokens"):
        Masked(data=source).examples(small(), 64)
    model = small()
    del model.network.config.mask_token_id
    with pytest.raises(PliantError, match="names a token for masked places"):
        Masked(data=source).examples(model, None)


def test_special_tokens_stand_around_a_text_and_roberta_counts_from_behind_its_padding(tmp_path, source):
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(chr(n) for n in range(33, 127)), *(f"##{chr(n)}" for n in range(33, 127))]
    BertTokenizer(vocab={name: number for number, name in enumerate(names)}).save_pretrained(tmp_path)
    words = PretrainedTokenizer.load(tmp_path)
    shape = {"vocab_size": len(names), "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 16}
    model = Model(BertForMaskedLM(BertConfig(max_position_embeddings=20, **shape)), words, Checkpoint(name="x"))
    batch = Masked(data=source).examples(model, None).batch(0, 3, seed=0)
    assert batch.inputs["input_ids"].shape == (3, 20)
    assert batch.inputs["input_ids"][:, [0, -1]].tolist() == [[2, 3]] * 3
    roberta = RobertaForMaskedLM(RobertaConfig(max_position_embeddings=20, pad_token_id=1, **shape))
    other = Model(roberta.eval(), words, Checkpoint(name="y"))
    assert other.context == 18
    batch = Masked(data=source).examples(other, None).batch(0, 3, seed=0)
    assert torch.isfinite(Masked(data=source).losses(roberta, batch).totals).all()
