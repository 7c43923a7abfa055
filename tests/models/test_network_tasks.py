"""What a network answers with: told by its configuration, loaded by the class that belongs to it, with every check in force."""

import json

import pytest
import torch
from transformers import (
    BertConfig,
    BertForMaskedLM,
    BertForPreTraining,
    BertForSequenceClassification,
    BertModel,
    CLIPConfig,
    CLIPModel,
    LlamaConfig,
    LlamaForSequenceClassification,
    ResNetConfig,
    ResNetForImageClassification,
    ViTConfig,
    ViTForImageClassification,
)

from pliant.errors import PliantError
from pliant.models import FolderLadder, ImageInput, build, load, save
from pliant.models.outline import folder_outline
from pliant.models.tasks import TASKS, configured_task, task_of

SMALL = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 32}
BERT = BertConfig(vocab_size=129, max_position_embeddings=32, **SMALL)
CLIP = {
    "text_config": {**SMALL, "vocab_size": 128, "max_position_embeddings": 16, "projection_dim": 8},
    "vision_config": {**SMALL, "image_size": 8, "patch_size": 4, "projection_dim": 8},
    "projection_dim": 8,
}
NETWORKS = {
    "masked": lambda: BertForMaskedLM(BERT),
    "sequence": lambda: BertForSequenceClassification(BertConfig(**BERT.to_dict() | {"id2label": {0: "no", 1: "yes", 2: "maybe"}})),
    "trunk": lambda: BertModel(BERT),
    "image": lambda: ViTForImageClassification(ViTConfig(image_size=8, patch_size=4, num_channels=1, num_labels=5, **SMALL)),
    "dual": lambda: CLIPModel(CLIPConfig(**CLIP)),
}


@pytest.fixture
def stored(tmp_path, ascii_tokenizer):
    def write(network):
        torch.manual_seed(0)
        folder = tmp_path / type(network).__name__
        network.save_pretrained(folder)
        ascii_tokenizer.save(folder)
        return folder

    return write


@pytest.mark.parametrize("task", NETWORKS)
def test_each_loads_as_what_it_is_and_is_saved_again(task, stored, tmp_path):
    network = NETWORKS[task]()
    folder = stored(network)
    model = load(folder)
    assert type(model.network) is type(network)
    assert (model.task.name, task_of(network).name) == (task, task)
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in model.network.state_dict().items())
    assert type(folder_outline(folder)) is type(network)
    save(model, tmp_path / "again")
    again = load(tmp_path / "again")
    assert (again.weights(), again.labels, again.pixels) == (model.weights(), model.labels, model.pixels)
    assert again.checkpoint.params == sum(parameter.numel() for parameter in network.parameters())


def test_labels_are_those_of_the_head(stored):
    assert load(stored(NETWORKS["sequence"]())).labels == ("no", "yes", "maybe")
    assert load(stored(NETWORKS["masked"]())).labels == ()


def test_what_it_does_not_read_it_says(stored):
    image, text = load(stored(NETWORKS["image"]())), load(stored(NETWORKS["masked"]()))
    with pytest.raises(PliantError, match="reads images, not text"):
        _ = image.tokenizer
    with pytest.raises(PliantError, match="reads text, not images"):
        _ = text.images
    both = load(stored(NETWORKS["dual"]()))
    assert both.tokenizer.vocab_size == 128
    assert both.images.size == (8, 8)
    assert image.images == ImageInput((8, 8), channels=1)


def test_the_form_of_images_lies_beside_the_weights(stored, tmp_path):
    folder = stored(NETWORKS["image"]())
    told = {"size": {"height": 8, "width": 8}, "image_mean": [0.1], "image_std": [0.2]}
    (folder / "preprocessor_config.json").write_text(json.dumps(told))
    (rung,) = FolderLadder(folders=[str(folder)]).rungs()
    identity = rung.identity
    model = load(folder)
    assert model.images == ImageInput((8, 8), 1, (0.1,), (0.2,))
    save(model, tmp_path / "again")
    assert load(tmp_path / "again").images == model.images
    (folder / "preprocessor_config.json").write_text(json.dumps({**told, "image_std": [0, 1]}))
    assert rung.identity != identity
    with pytest.raises(PliantError, match=r"preprocessor_config.json: std has 2 numbers for 1 channels"):
        load(folder)


def test_batch_norm_is_part_of_what_is_stored_and_named(stored, tmp_path):
    network = ResNetForImageClassification(
        ResNetConfig(num_channels=1, embedding_size=4, hidden_sizes=[4, 8], depths=[1, 1], layer_type="basic", num_labels=3)
    )
    network.train()
    network(torch.rand(6, 1, 16, 16))  # moves the running statistics
    model = load(stored(network.eval()))
    name = next(name for name, _ in network.named_buffers() if name.endswith("running_mean"))
    assert torch.equal(model.network.get_buffer(name), network.get_buffer(name))
    before = model.weights()
    save(model, tmp_path / "again")
    assert load(tmp_path / "again").weights() == before
    model.network.get_buffer(name).add_(1)
    assert model.weights() != before


def test_heads_of_other_tasks_may_be_left_out_and_nothing_else(stored, capsys):
    folder = stored(BertForPreTraining(BERT))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["BertForMaskedLM"]}))
    assert type(load(folder).network) is BertForMaskedLM
    assert "left out: parts of another head" in capsys.readouterr().err
    (folder / "config.json").write_text(json.dumps({**config, "architectures": ["BertForMaskedLM"], "num_hidden_layers": 0}))
    with pytest.raises(PliantError, match="without a place in the network"):
        load(folder)


def test_a_missing_head_is_an_error(stored):
    folder = stored(NETWORKS["trunk"]())
    for task in ("sequence", "masked"):
        with pytest.raises(PliantError, match=f"hold no head of {TASKS[task].called}.*with_head"):
            load(folder, task=task)
    with pytest.raises(PliantError, match="'bert' is not a classifier of images"):
        load(folder, task="image")
    with pytest.raises(PliantError, match="did you mean 'masked'"):
        load(folder, task="mask")


def test_a_trunk_can_be_read_out_of_what_has_a_head(stored):
    network = BertForSequenceClassification(BERT)
    model = load(stored(network), task="trunk")
    assert type(model.network) is BertModel
    assert torch.equal(model.network.pooler.dense.weight, network.bert.pooler.dense.weight)


def test_more_ids_than_rows_are_refused_whatever_the_task(stored):
    small = BertForSequenceClassification(BertConfig(vocab_size=100, max_position_embeddings=32, **SMALL))
    with pytest.raises(PliantError, match="the tokenizer has 128 ids but the model 100"):
        load(stored(small))
    damaged = NETWORKS["image"]()
    damaged.classifier.bias.data[0] = float("nan")
    with pytest.raises(PliantError, match="not a finite number"):
        load(stored(damaged))


@pytest.mark.parametrize(
    ("config", "task"),
    [
        ({"model_type": "llama"}, "causal"),
        ({"model_type": "llama", "architectures": ["LlamaModel"]}, "causal"),
        ({"model_type": "llama", "architectures": ["LlamaForSequenceClassification"]}, "sequence"),
        ({"model_type": "llama", "architectures": ["Own"], "auto_map": {"AutoModelForMaskedLM": "x.Y"}}, "masked"),
        ({"model_type": "bert"}, "causal"),
        ({"model_type": "bert", "architectures": ["BertModel"]}, "trunk"),
        ({"model_type": "vit", "architectures": ["ViTModel"]}, "image_trunk"),
        ({"model_type": "vit"}, None),
        ({"model_type": "t5", "architectures": ["T5ForConditionalGeneration"]}, None),
        ({"model_type": ["llama"], "architectures": "LlamaForCausalLM"}, None),
    ],
)
def test_the_configuration_tells(config, task):
    found = configured_task(config)
    assert (found and found.name) == task


def test_decoders_classify_too(stored):
    network = LlamaForSequenceClassification(LlamaConfig(vocab_size=128, num_labels=2, pad_token_id=0, num_key_value_heads=1, **SMALL))
    assert load(stored(network)).task.name == "sequence"


def test_a_masked_preset_is_stock_and_looks_both_ways(ascii_tokenizer):
    model = build("bert-16x2", ascii_tokenizer, seed=1, context=8)
    assert type(model.network) is BertForMaskedLM
    assert (model.task.name, model.context, model.network.config.mask_token_id) == ("masked", 8, 128)
    ids = torch.arange(8)[None]
    changed = ids.clone()
    changed[0, 7] = 100
    with torch.no_grad():
        assert not torch.allclose(model.network(ids).logits[0, 0], model.network(changed).logits[0, 0])
    assert build("bert-16x2", ascii_tokenizer, seed=1, context=8).weights() == model.weights()
