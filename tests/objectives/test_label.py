"""Classification of texts and images: transformers' own loss, heads, noise, and runs that go on where they were killed."""

import json

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizer

from interrupted import goes_on
from pliant.attacks import Pgd
from pliant.changes import CHANGES, Finetune
from pliant.data import Corpus, load_tokenizer
from pliant.data.images import Images
from pliant.data.labelled_texts import LabelledTexts
from pliant.data.pretrained import PretrainedTokenizer
from pliant.errors import PliantError
from pliant.models import Checkpoint, Model, build, load, save, with_head
from pliant.models.heads import fitted
from pliant.objectives import OBJECTIVES, Label, NextToken, Regression, found_in
from pliant.train import Recipe, train
from pliant.train.new_model import NewModel

COLOURS = ["red", "green", "blue"]


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("PLIANT_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def table(tmp_path):
    def write(records):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl"
        path.write_text("\n".join(map(json.dumps, records)))
        return str(path)

    return write


def coloured(count=60):
    """The label stands in the text."""
    return [{"text": f"{n} is {COLOURS[n % 3]}" + "." * (n % 7), "label": COLOURS[n % 3]} for n in range(count)]


def tiny(seed=0):
    return build("llama-16x2", load_tokenizer("ascii"), seed, context=32)


def bert(tmp_path, labels):
    names = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"]
    BertTokenizer(vocab={name: number for number, name in enumerate(names)}).save_pretrained(tmp_path / "words")
    shape = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32, "hidden_dropout_prob": 0.0}
    torch.manual_seed(0)
    network = BertForSequenceClassification(BertConfig(vocab_size=13, id2label=dict(enumerate(labels)), initializer_range=0.3, **shape))
    return Model(network.eval(), PretrainedTokenizer.load(tmp_path / "words"), Checkpoint(name="bert"))


@pytest.mark.parametrize(
    ("columns", "kind"),
    [
        (("text", "label"), "label"),
        (("sentence", "labels", "idx"), "label"),
        (("sentence1", "sentence2", "label"), "label"),
        (("premise", "hypothesis", "label"), "label"),
        (("text", "score"), "next_token"),
        (("text", "url"), "next_token"),
        (("text",), "next_token"),
        (("question",), "next_token"),
        (("question", "answer", "label"), "answers"),
        (("prompt", "chosen", "rejected", "label"), "dpo"),
    ],
)
def test_what_is_learned_is_told_by_the_columns(table, columns, kind):
    source = table([{name: f"{name} {number % 2}" for name in columns} for number in range(6)])
    found = found_in(Corpus(source=source), "all")
    assert found.kind == kind
    assert all(name in found.told() for name in columns[:2]) or columns == ("text",)
    named = Corpus(source=source, field=columns[0])
    assert found_in(named, "all") == NextToken(data=named, part="all"), "text that is asked for is text"


def test_a_plan_says_that_labels_are_learned(table):
    source, probe = table(coloured()), {"lr": 1e-3, "part": "all"}
    change = Finetune(data=source, **probe)
    (note,) = change.notes()
    assert "a table of text with 3 classes in label; the class is learned (`field: text` learns the text)" in note
    assert change.meaning() == change.canonical() | {"objective": "label"}
    as_text = Finetune(data={"source": source, "field": "text"}, **probe)
    assert as_text.meaning() == as_text.canonical()
    (note,) = Finetune(data=table([{"text": "a", "url": "b"}]), **probe).notes()
    assert "a table of text and url; every token of text is learned" in note


def test_losses_of_decoders_are_those_of_transformers(table):
    objective = Label(data=table(coloured()), part="all")
    model = fitted(tiny(), objective.needs(), 3)
    batch = objective.examples(model, None).at(np.arange(20))
    found = objective.losses(model.network, batch)
    for row in range(20):
        inputs = {name: tensor[row : row + 1, : int(batch.inputs["attention_mask"][row].sum())] for name, tensor in batch.inputs.items()}
        reference = model.network(**inputs, labels=batch.targets[row : row + 1]).loss
        assert float(found.values[row].detach()) == pytest.approx(float(reference.detach()), abs=1e-6)
    whole = model.network(**batch.inputs, labels=batch.targets).loss
    assert float(found.mean().detach()) == pytest.approx(float(whole.detach()), abs=1e-6)


def test_losses_of_pairs_are_those_of_transformers_from_text_on(table, tmp_path):
    records = [
        {"premise": "a b c", "hypothesis": "d", "label": "no"},
        {"premise": "e", "hypothesis": "f g h a b", "label": "yes"},
        {"premise": "a", "hypothesis": "a", "label": "no"},
    ]
    model = bert(tmp_path, ["yes", "no"])
    objective = Label(data=table(records), part="all")
    examples = objective.examples(model, 8)
    found = objective.losses(model.network, examples.at(np.arange(3)))
    inner = model.tokenizer.tokenizer
    for row, record in enumerate(records):
        inputs = inner(record["premise"], record["hypothesis"], truncation=True, max_length=8, return_tensors="pt")
        label = torch.tensor([["yes", "no"].index(record["label"])])
        reference = model.network(**inputs, labels=label).loss
        assert float(found.values[row].detach()) == pytest.approx(float(reference.detach()), abs=1e-6)


@pytest.mark.parametrize("preset", ["llama-16x2", "bert-16x2"])
def test_an_attack_on_embeddings_of_no_size_changes_nothing(preset, table):
    """Decoders find the end of a row by ids, which embeddings do not have."""
    objective = Label(data=table(coloured()), part="all")
    model = fitted(build(preset, load_tokenizer("ascii"), 0, context=32), objective.needs(), 3)
    batch = objective.examples(model, None).at(np.arange(12))
    expected = objective.losses(model.network, batch).values
    assert torch.allclose(objective.losses(model.network, Pgd(epsilon=0.0).perturb(model, batch, objective)).values, expected, atol=1e-6)
    attacked = objective.losses(model.network, Pgd(epsilon=0.5).perturb(model, batch, objective)).values
    assert (attacked > expected).all()


def test_soft_labels_are_a_cross_entropy_between_distributions(table):
    records = [{"text": f"text {n}", "label": [0.2, 0.3, 0.5]} for n in range(4)]
    objective = Label(data=table(records), part="all")
    model = with_head(tiny(), "sequence", ["2", "0", "1"])
    batch = objective.examples(model, None).at(np.arange(4))
    assert batch.targets[0].tolist() == pytest.approx([0.5, 0.2, 0.3])
    found = objective.losses(model.network, batch)
    logs = found.output.logits.log_softmax(-1)
    assert torch.allclose(found.values, -(logs * torch.tensor([0.5, 0.2, 0.3])).sum(-1), atol=1e-6)
    one = table([{"text": f"text {n}", "label": [0, 0, 1]} for n in range(4)])
    hard = table([{"text": f"text {n}", "label": f"{2 - n // 4}"} for n in range(6)])
    losses = [Label(data=data, part="all") for data in (one, hard)]
    values = [o.losses(model.network, o.examples(model, None).at(np.arange(4))).values for o in losses]
    assert torch.allclose(*values, atol=1e-6)


def test_numbers_are_squared_errors_as_transformers_has_them(table):
    records = [{"text": f"text {n}", "score": n / 2} for n in range(6)]
    objective = Regression(data=table(records), part="all")
    model = fitted(tiny(), objective.needs())
    assert model.labels == ("score",)
    batch = objective.examples(model, None).at(np.arange(6))
    found = objective.losses(model.network, batch)
    reference = model.network(**batch.inputs, labels=batch.targets).loss
    assert float(found.mean().detach()) == pytest.approx(float(reference.detach()), rel=1e-6)
    assert torch.allclose(found.values, (found.output.logits[:, 0] - torch.arange(6) / 2).square())
    assert objective.examples(model, None).chance == pytest.approx(np.var(np.arange(6) / 2))
    vectors = Regression(data=table([{"text": f"text {n}", "label": [n, -n]} for n in range(6)]), part="all")
    two = fitted(tiny(), vectors.needs())
    batch = vectors.examples(two, None).at(np.arange(6))
    found = vectors.losses(two.network, batch)
    assert float(found.mean().detach()) == pytest.approx(float(two.network(**batch.inputs, labels=batch.targets).loss.detach()), rel=1e-6)
    with pytest.raises(PliantError, match=r"its head has 1 outputs \(score\), where 2 are needed; `fresh_head: true` puts"):
        train(model, vectors, Recipe(lr=1e-3, steps=1, batch=2), quiet=True)


def test_it_learns_and_what_is_saved_answers_in_transformers(table, tmp_path):
    objective = Label(data=table(coloured()), part="all")
    model = tiny()
    log = train(model, objective, Recipe(lr=2e-2, steps=60, batch=16), quiet=True)
    assert log.losses[0] > 0.9
    assert np.mean(log.losses[-5:]) < 0.3
    save(model, tmp_path / "out")
    again = load(tmp_path / "out")
    assert (again.labels, again.weights()) == (("blue", "green", "red"), model.weights())
    from transformers import pipeline

    answer = pipeline("text-classification", str(tmp_path / "out"), device="cpu")("7 is green..")[0]
    assert answer["label"] == "green"


def test_a_head_keeps_its_labels_and_refuses_others(table):
    model = with_head(tiny(), "sequence", ["green", "red", "blue"])
    examples = Label(data=table(coloured()), part="all").examples(model, None)
    assert {int(target) for target in examples.at(np.arange(60)).targets} == {0, 1, 2}
    assert int(examples.at(np.array([0])).targets) == 1  # the first text is red
    other = table([*coloured(), {"text": "a", "label": "pink"}])
    with pytest.raises(PliantError, match="label 'pink' is unknown to its head, which has green, red, blue"):
        train(model, Label(data=other), Recipe(lr=1e-3, steps=1), quiet=True)
    train(model, Label(data=other, fresh_head=True), Recipe(lr=1e-3, steps=1, batch=2), quiet=True)
    assert model.labels == ("blue", "green", "pink", "red")


def test_wrong_labels_are_a_fixed_set_that_training_sees(table):
    data = table(coloured(90))
    model = fitted(tiny(), Label(data=data).needs())
    clean, noisy = (Label(data=data, part="all", noise=noise).examples(model, None) for noise in (None, {"fraction": 0.3}))
    numbers = np.arange(90)
    wrong = clean.at(numbers).targets != noisy.at(numbers).targets
    assert int(wrong.sum()) == 27
    assert list(clean.ids) == list(noisy.ids)
    assert clean.fingerprint != noisy.fingerprint
    batch = noisy.batch(3, 10, seed=1)
    assert torch.equal(batch.targets, noisy.at(batch.numbers).targets)
    soft = table([{"text": f"text {n}", "label": [0.5, 0.5]} for n in range(4)])
    with pytest.raises(PliantError, match="probabilities, which noise cannot flip"):
        Label(data=soft, noise={"fraction": 0.3}).examples(with_head(tiny(), "sequence", ["0", "1"]), None)


@pytest.mark.parametrize("objective", ["label", "regression", "images"])
def test_a_killed_run_goes_on_bit_for_bit(objective, table, tmp_path):
    if objective == "images":  # with batch norm, whose statistics are part of the state
        learned = Label(data=Images(source="builtin:digits", augment={"crop": 1}), noise={"fraction": 0.1})
        make = lambda: NewModel(preset="resnet-8x4").build(0, learned.needs())  # noqa: E731
    elif objective == "label":
        learned, make = Label(data=table(coloured())), tiny
    else:
        learned, make = Regression(data=table([{"text": f"text {n}", "score": n / 50} for n in range(50)])), tiny
    goes_on(make, learned, Recipe(lr=1e-2, steps=12, batch=4, accumulate=2), tmp_path / "state")


def test_images_are_told_apart_by_their_source_and_learned():
    learned = OBJECTIVES.parse({"label": {"data": "builtin:digits"}})
    assert isinstance(learned.data, Images)
    assert learned.needs().labels == tuple("0123456789")
    model = NewModel(preset="mlp-32x1").build(0, learned.needs())
    log = train(model, learned, Recipe(lr=3e-2, steps=60, batch=32), quiet=True)
    assert (log.tokens, log.unique_tokens) == (60 * 32, log.unique_tokens)
    assert np.mean(log.losses[-5:]) < 0.7
    assert model.network.training is False or model.network.training is True
    with pytest.raises(PliantError, match="reads images, not text"):
        Label(data="nowhere.jsonl", part="all").data.rows(model.tokenizer, "all", 5)


def test_forms_say_which_kind_they_are(table, tmp_path):
    texts = Label(data=table(coloured()))
    images = Label(data={"source": "anything", "size": 8})
    assert isinstance(texts.data, LabelledTexts)
    assert isinstance(images.data, Images)
    for found in (
        texts,
        images,
        Label(data={"source": "x.csv", "label_column": "y"}),
        Label(data="builtin:digits", noise={"fraction": 0.5}),
    ):
        assert OBJECTIVES.parse(found.canonical()) == found
    with pytest.raises(PliantError, match="label_colum"):
        Label(data={"source": "x.csv", "label_colum": "y"})
    with pytest.raises(PliantError, match="data"):
        Label(data=3)
    change = CHANGES.parse({"finetune": {"objective": {"label": {"data": texts.data.source}}, "lr": 1e-3}})
    assert change.title() == f"Fine-tuning on {texts.data.source.rsplit('/', 1)[-1]}, objective label, 30 steps"
    assert CHANGES.parse(change.canonical()) == change


def test_images_of_another_size_than_the_model_reads_are_refused():
    needs = Label(data="builtin:digits").needs()
    model = NewModel(preset="mlp-32x1").build(0, needs)
    with pytest.raises(PliantError, match="images of 12 x 12 pixels, and the model reads 8 x 8"):
        Label(data={"source": "builtin:digits", "size": 12}).examples(model, None)


def test_a_text_beyond_the_context_is_refused_or_cut(table):
    model = fitted(tiny(), Label(data=table(coloured())).needs())
    long = table([{"text": "x" * 40, "label": "red"}, {"text": "y", "label": "blue"}])
    assert Label(data=long, part="all").examples(model, None).counts["truncated"] == 1
    with pytest.raises(PliantError, match="length 64 is more than the model's context of 32 tokens"):
        Label(data=long).examples(model, 64)
