"""Fresh heads: the trunk's own tensors, a seeded head, and transformers' own networks."""

import pytest
import torch
from transformers import AutoModelForSequenceClassification, GPT2Config, GPT2LMHeadModel

from pliant.errors import PliantError
from pliant.models import Checkpoint, Model, build, load, save, with_head
from pliant.models.heads import fit, fitted, outputs
from pliant.models.tasks import Needs

PRESETS = ["llama-16x2", "gpt-neox-16x2", "bert-16x2"]


@pytest.mark.parametrize("preset", PRESETS)
def test_it_is_what_transformers_makes_of_the_same_folder(preset, ascii_tokenizer, tmp_path):
    """The same trunk, and at the same seed the same numbers in the head."""
    model = build(preset, ascii_tokenizer)
    before = model.weights()
    found = with_head(model, "sequence", ["a", "b", "c"], seed=3)
    save(model, tmp_path)
    torch.manual_seed(3)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path, num_labels=3).state_dict()
    ours = found.network.state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in ours.items())
    assert found.labels == ("a", "b", "c")
    assert found.checkpoint.params == sum(parameter.numel() for parameter in found.network.parameters())
    assert model.weights() == before
    assert model.task.name != "sequence"


def test_the_seed_names_the_head_and_nothing_else_moves(tiny):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = with_head(tiny, "sequence", ["value"], seed=1)
    assert torch.equal(torch.rand(3), expected)
    assert with_head(tiny, "sequence", ["value"], seed=1).weights() == first.weights()
    assert with_head(tiny, "sequence", ["value"], seed=2).weights() != first.weights()
    assert first.network.model.embed_tokens.weight is tiny.network.model.embed_tokens.weight


@pytest.mark.parametrize("preset", PRESETS)
def test_there_and_back_is_the_same_network(preset, ascii_tokenizer):
    model = build(preset, ascii_tokenizer)
    back = with_head(with_head(model, "sequence", ["a", "b"]), model.task.name)
    ids = torch.arange(1, 9)[None]
    assert type(back.network) is type(model.network)
    with torch.no_grad():
        theirs, ours = (found.network.eval()(ids).logits for found in (model, back))
    if preset == "llama-16x2":  # its head is its embedding
        assert torch.equal(ours, theirs)
    assert back.network.get_output_embeddings().weight is back.network.get_input_embeddings().weight


@pytest.mark.parametrize("preset", ["llama-16x2", "gpt-neox-16x2"])
def test_decoders_classify_the_last_token_of_each_row(preset, ascii_tokenizer):
    """A shorter row that is filled up answers as it does alone."""
    found = with_head(build(preset, ascii_tokenizer), "sequence", ["a", "b"])
    network, pad = found.network.eval(), found.network.config.pad_token_id
    ids = torch.randint(1, 128, (3, 9), generator=torch.Generator().manual_seed(0))
    ids[1, 5:] = pad
    with torch.no_grad():
        together = network(ids, attention_mask=(ids != pad).long()).logits
        alone = network(ids[1:2, :5]).logits
    assert torch.allclose(together[1], alone[0], atol=1e-6)


def test_the_number_type_of_the_trunk_is_that_of_the_head(tiny):
    tiny.network.to(torch.bfloat16)
    assert with_head(tiny, "sequence", ["a", "b"]).network.score.weight.dtype == torch.bfloat16


def test_a_pad_token_of_the_network_stays(ascii_tokenizer):
    network = GPT2LMHeadModel(GPT2Config(vocab_size=128, n_positions=16, n_embd=16, n_layer=1, n_head=1, pad_token_id=7))
    found = with_head(Model(network, ascii_tokenizer, Checkpoint(name="x")), "sequence", ["a", "b"])
    assert found.network.config.pad_token_id == 7
    assert network.config.id2label == {0: "LABEL_0", 1: "LABEL_1"}


def test_what_cannot_be_is_one_line(tiny, ascii_tokenizer):
    with pytest.raises(PliantError, match="'llama' has no network that is a masked language model"):
        with_head(tiny, "masked")
    with pytest.raises(PliantError, match="needs labels, each once, not"):
        with_head(tiny, "sequence", ["a", "a"])
    with pytest.raises(PliantError, match="needs labels, each once, not None"):
        with_head(tiny, "sequence")
    with pytest.raises(PliantError, match="needs no labels"):
        with_head(tiny, "causal", ["a"])
    with pytest.raises(PliantError, match="looks at tokens to the right"):
        with_head(build("bert-16x1", ascii_tokenizer), "causal")


def test_a_head_that_fits_stays(tiny):
    found = with_head(tiny, "sequence", ["no", "yes"])
    assert fitted(found, Needs("sequence", ("yes",))) is found
    assert fitted(found, None) is found
    assert outputs(found, ["yes", "no"]) == [1, 0]
    with pytest.raises(PliantError, match="label 'maybe' is unknown to its head, which has no, yes"):
        fitted(found, Needs("sequence", ("yes", "maybe")))
    with pytest.raises(PliantError, match=r"its head has 2 outputs \(no, yes\), where 1 are needed"):
        fitted(found, Needs("sequence", ("value",), numbers=True))
    assert fitted(found, Needs("sequence", ("yes", "maybe"), fresh=True)).labels == ("yes", "maybe")
    fit(tiny, Needs("sequence", ("a", "b")))
    assert (tiny.task.name, tiny.labels) == ("sequence", ("a", "b"))


def test_a_head_without_names_is_known_by_numbers(tiny, tmp_path):
    found = with_head(tiny, "sequence", ["LABEL_0", "LABEL_1"])
    save(found, tmp_path)
    assert outputs(load(tmp_path), ["1", "0"]) == [1, 0]
    with pytest.raises(PliantError, match="label '2' is unknown"):
        outputs(found, ["2"])
