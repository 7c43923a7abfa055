"""Lengths of single examples' gradients from one pass over all: those of a pass for each, in float64, whatever the network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pliant.scores import factors, ghost_norms
from pliant.scores.factors import Unfit
from pliant.scores.ghost_norms import one_by_one, squared_gradients, together

ROWS, LENGTH, WORDS = 5, 7, 11
NUMBERS = {"vocab_size": WORDS, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 12}


def network(kind: str, **fields: Any) -> Any:
    import transformers

    torch.manual_seed(0)
    config, auto = transformers.AutoConfig.for_model(kind, **fields), fields.pop("auto", transformers.AutoModelForCausalLM)
    made = auto.from_config(config).double().eval()
    with torch.no_grad():  # gains and biases of 1 and 0 hide mistakes
        for parameter in made.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.1)
    return made


def text_losses(model: Any, width: int) -> Callable[[slice], Tensor]:
    """Next tokens of rows that repeat tokens, the last two positions being padding; or one label each where there are two."""
    ids = torch.randint(0, WORDS, (ROWS, LENGTH), generator=torch.Generator().manual_seed(1))
    ids[:, 3] = ids[:, 0]
    real = torch.ones_like(ids)
    real[1:, -2:] = 0

    def losses(rows: slice) -> Tensor:
        logits = model(input_ids=ids[rows], attention_mask=real[rows]).logits
        if logits.ndim == 2:
            return cross_entropy(logits, ids[rows, 0] % width, reduction="none")
        return (cross_entropy(logits[:, :-1].mT, ids[rows, 1:], reduction="none") * real[rows, 1:]).mean(1)

    return losses


def check(model: nn.Module, losses: Callable[[slice], Tensor], rows: int = ROWS) -> None:
    wanted = [parameter.requires_grad for parameter in model.parameters()]
    found, expected = together(model, losses, rows, [model]), one_by_one(model, losses, rows, [model])
    assert found.dtype == torch.float64
    assert torch.allclose(found, expected, rtol=1e-10)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert [parameter.requires_grad for parameter in model.parameters()] == wanted
    assert all(not module._forward_hooks and not module._forward_pre_hooks for module in model.modules())  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize("kind", ["llama", "gpt_neox", "gpt2", "gemma", "opt"])
def test_language_models_with_and_without_tied_weights(kind: str, tied: bool) -> None:
    fields = NUMBERS | {"tie_word_embeddings": tied, "pad_token_id": 0, "max_position_embeddings": 16}
    special = {
        "gpt2": {"n_embd": 8, "n_layer": 2, "n_head": 2, "n_positions": 16},
        "gemma": {"head_dim": 4, "num_key_value_heads": 1},
        "opt": {"ffn_dim": 12, "word_embed_proj_dim": 8},
    }
    model = network(kind, **fields | special.get(kind, {}))
    assert (model.get_input_embeddings().weight is model.get_output_embeddings().weight) == tied
    check(model, text_losses(model, WORDS))


@pytest.mark.parametrize("kind", ["bert", "albert", "llama"])
def test_classifiers_of_texts_and_layers_that_are_used_again(kind: str) -> None:
    import transformers

    fields = NUMBERS | {"num_labels": 3, "pad_token_id": 0, "max_position_embeddings": 16, "embedding_size": 4, "auto": None}
    model = network(kind, **fields | {"auto": transformers.AutoModelForSequenceClassification})
    check(model, text_losses(model, 3))


class Images(nn.Module):
    """Groups, strides, dilation, a convolution in one dimension, both norms of channels, and one of none of these."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 6, 3, padding=1, stride=2)
        self.second = nn.Conv2d(6, 6, (3, 1), padding=(2, 0), dilation=(2, 1), groups=3)
        self.batch, self.group = nn.BatchNorm2d(6), nn.GroupNorm(2, 6)
        self.line = nn.Conv1d(6, 4, 3, groups=2, bias=False)
        self.layer, self.bent = nn.LayerNorm([4, 14]), nn.PReLU(4)
        self.last = nn.Linear(4, 3)

    def forward(self, pixels: Tensor) -> Tensor:
        found = self.group(torch.relu_(self.batch(self.first(pixels))))
        found = self.bent(self.layer(self.line(self.second(found).flatten(2))))
        return self.last(found.mean(2))


def test_convolutions_and_norms_of_every_kind() -> None:
    torch.manual_seed(0)
    model = Images().double()
    pixels, labels = torch.randn(ROWS, 2, 8, 8, dtype=torch.float64), torch.randint(0, 3, (ROWS,))
    model(pixels)  # statistics that are not 0 and 1
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter), alpha=0.2)
    model.eval()
    check(model, lambda rows: cross_entropy(model(pixels[rows]), labels[rows], reduction="none"))


@pytest.mark.parametrize("entries", [1, 50, 2**22])
def test_the_same_whatever_is_held_at_once(entries: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(factors, "ENTRIES", entries)
    model = network("llama", **NUMBERS, tie_word_embeddings=True)
    check(model, text_losses(model, WORDS))


def test_some_modules_alone_end_the_backward_pass() -> None:
    model = network("llama", **NUMBERS)
    losses = text_losses(model, WORDS)
    found = together(model, losses, ROWS, [model.lm_head])
    assert torch.allclose(found, one_by_one(model, losses, ROWS, [model.lm_head]), rtol=1e-10)
    assert (found < together(model, losses, ROWS, [model])).all()


def test_a_convolution_of_many_channels_by_pairs_of_its_few_positions() -> None:
    torch.manual_seed(0)
    layer, images = nn.Conv2d(8, 12, 3).double(), torch.randn(ROWS, 8, 4, 4, dtype=torch.float64)
    check(layer, lambda rows: layer(images[rows]).square().flatten(1).sum(1))
    shared = nn.Sequential(nn.Conv2d(8, 8, 3, padding=1), nn.Tanh()).double()
    check(shared, lambda rows: shared(shared(images[rows])).square().flatten(1).sum(1))


class Mixing(nn.Module):
    """Each row sees the mean of all."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 3)

    def forward(self, rows: Tensor) -> Tensor:
        return self.layer(rows - rows.mean(0))


class Unasked(nn.Module):
    """Uses a layer's weight without asking the layer, and shuffles rows and positions together."""

    def __init__(self, flat: bool) -> None:
        super().__init__()
        self.flat, self.layer, self.other = flat, nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, rows: Tensor) -> Tensor:
        if self.flat:
            return self.layer(rows.expand(2, *rows.shape).flatten(0, 1)).view(2, *rows.shape).sum(0)
        return nn.functional.linear(self.layer(rows), self.other.weight)


@pytest.mark.parametrize("model", [Mixing(), Unasked(True), Unasked(False)])
def test_what_has_no_such_form_is_read_row_by_row_and_told(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    monkeypatch.setattr(ghost_norms, "remark", told.append)
    rows = torch.randn(ROWS, 3, generator=torch.Generator().manual_seed(0))

    def losses(some: slice) -> Tensor:
        return model(rows[some]).square().sum(1)

    assert torch.equal(squared_gradients(model, losses, ROWS), one_by_one(model, losses, ROWS, [model]))
    squared_gradients(model, losses, ROWS)
    assert len(told) == 1
    assert "one example at a time" in told[0]


def test_an_input_that_is_overwritten_is_noticed() -> None:
    class Overwriting(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(3, 3), nn.Linear(3, 3)

        def forward(self, rows: Tensor) -> Tensor:
            given = self.first(rows) * 1
            return self.second(given) + given.mul_(2)

    model, rows = Overwriting(), torch.randn(ROWS, 3)
    with pytest.raises(Unfit, match="overwritten"):
        together(model, lambda some: model(rows[some]).sum(1), ROWS, [model])
