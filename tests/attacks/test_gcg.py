"""Greedy coordinate gradient: cached losses are plain losses, the gradient is that of one-hot rows, and suffixes that are found work."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from pliant.attacks import Gcg
from pliant.attacks.suffix_loss import SuffixLoss
from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.models import Model, build

PROMPTS = ["Say a colour: ", "What is it? "]


@pytest.fixture(scope="module", params=["llama-16x2", "gpt-neox-16x2"])
def model(request: Any) -> Model:
    return build(request.param, load_tokenizer("ascii"), seed=1, context=64)


def plain(model: Model, prompt: str, suffix: Any, target: str) -> Any:
    """(rows,) nats a token of the target, everything read at once."""
    before, after = (torch.tensor(ids, dtype=torch.long) for ids in model.tokenizer.encode([prompt, target]))
    if model.tokenizer.opening_id is not None:
        before = torch.cat([torch.tensor([model.tokenizer.opening_id]), before])
    rows = torch.cat([before.expand(len(suffix), -1), suffix, after.expand(len(suffix), -1)], 1)
    with torch.no_grad():
        logits = model.network(rows).logits[:, -len(after) - 1 : -1].log_softmax(-1)
    return -logits.gather(2, after.expand(len(suffix), -1)[..., None])[..., 0].mean(1)


@pytest.mark.parametrize("rows", [1, 5, 64])
def test_losses_of_swaps_are_those_of_whole_texts(model: Model, rows: int) -> None:
    model.network.eval()
    generator = torch.Generator().manual_seed(0)
    suffix = torch.randint(32, 120, (7,), generator=generator)
    places, tokens = torch.randint(0, 7, (23,), generator=generator), torch.randint(32, 120, (23,), generator=generator)
    loss = SuffixLoss.of(model, PROMPTS[0], "purple", 7, rows)
    assert loss.kept is not None
    whole = suffix.repeat(23, 1)
    whole[torch.arange(23), places] = tokens
    expected = plain(model, PROMPTS[0], whole, "purple")
    for _ in range(2):  # nothing that is kept is written to
        assert loss.of_swaps(suffix, places, tokens).detach().numpy() == pytest.approx(expected.numpy(), abs=2e-5)


def test_the_gradient_is_that_of_one_hot_rows(model: Model) -> None:
    model.network.eval()
    suffix = torch.arange(40, 46)
    found = SuffixLoss.of(model, PROMPTS[0], "purple", 6, 8).gradient(suffix)
    table = model.network.get_input_embeddings().weight
    one_hot = torch.nn.functional.one_hot(suffix, len(table)).to(table.dtype).requires_grad_(True)
    before, after = (torch.tensor(ids, dtype=torch.long) for ids in model.tokenizer.encode([PROMPTS[0], "purple"]))
    if model.tokenizer.opening_id is not None:
        before = torch.cat([torch.tensor([model.tokenizer.opening_id]), before])
    embeds = torch.cat([table[before], one_hot @ table, table[after]])[None]
    logits = model.network(inputs_embeds=embeds).logits[0, -len(after) - 1 : -1]
    (expected,) = torch.autograd.grad(torch.nn.functional.cross_entropy(logits, after), one_hot)
    assert found.numpy() == pytest.approx(expected.numpy(), abs=1e-5)


def test_a_suffix_is_found_for_several_prompts_within_its_budget(model: Model) -> None:
    attack = Gcg(target="purple", length=6, steps=12, candidates=48, top=16)
    found = attack.suffix(model, PROMPTS, seed=3)
    assert len(found.ids) == 6
    assert len(found.losses) == 12
    assert found.loss == min(found.losses)
    start = torch.tensor([[int(model.tokenizer.encode(["x"])[0][0])] * 6])
    before = sum(float(plain(model, prompt, start, "purple")) for prompt in PROMPTS) / 2
    after = sum(float(plain(model, prompt, torch.tensor([found.ids]), "purple")) for prompt in PROMPTS) / 2
    assert after == pytest.approx(found.loss, abs=1e-4)
    assert after < before - 0.2
    assert found.text.isascii()
    assert tuple(int(number) for number in model.tokenizer.encode([found.text])[0]) == found.ids
    assert attack.suffix(model, PROMPTS, seed=3) == found
    drawn = torch.randint(32, 126, (12 * 48, 6), generator=torch.Generator().manual_seed(0))  # the control: as many blind tries
    blind = sum(plain(model, prompt, drawn, "purple") for prompt in PROMPTS) / 2
    assert found.loss < float(blind.min()) + 0.02


def test_the_model_is_left_as_it_was(model: Model) -> None:
    before = model.weights()
    Gcg(target="a", length=2, steps=1, candidates=4).suffix(model, PROMPTS[:1])
    assert model.weights() == before
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.network.parameters())


def test_what_cannot_be_searched_is_one_line(model: Model) -> None:
    with pytest.raises(PliantError, match="at least one prompt"):
        Gcg(target="a").suffix(model, [])
    with pytest.raises(PliantError, match="more than the model's context of 64"):
        Gcg(target="a", length=70).suffix(model, PROMPTS)
    with pytest.raises(PliantError, match="target"):
        Gcg(target="")
    with pytest.raises(PliantError, match="finds a suffix for prompts"):
        Gcg(target="a").perturb(model, None, None)  # pyright: ignore[reportArgumentType]
