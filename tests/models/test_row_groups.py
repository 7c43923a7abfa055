"""Rows in groups give the logits of each row read by itself; what is more than plain attention is not grouped."""

import pytest
import torch
from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, LlamaConfig, LlamaForCausalLM, MistralConfig, MistralForCausalLM

from pliant.models import row_groups
from pliant.models.key_values import KeyValues
from pliant.models.row_groups import RowGroups, rows_of

SIZES = {"vocab_size": 50, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}


def network(kind=LlamaForCausalLM, config=LlamaConfig, **settings):
    torch.manual_seed(0)
    return kind(config(**SIZES, max_position_embeddings=256, **settings)).eval()


def plain(model, rows):
    return torch.stack([model(torch.tensor([row])).logits[0, -1] for row in rows])


@pytest.mark.parametrize("waste", [0, 200, 2**16])
def test_rows_that_join_leave_and_grow_have_their_own_logits(waste, monkeypatch):
    """From a group for each length to one group; longer than the room that is made at once."""
    monkeypatch.setattr(row_groups, "WASTE", waste)
    monkeypatch.setattr(row_groups, "ROOM", 3)
    model, draw = network(num_key_value_heads=2), torch.Generator().manual_seed(1)

    def some(*lengths):
        return [torch.randint(50, (length,), generator=draw).tolist() for length in lengths]

    state, rows = RowGroups(model), []

    def join(*lengths):
        rows.extend(more := some(*lengths))
        state.join(more)

    with torch.no_grad():
        join(1, 3, 3, 9, 12)
        for number in range(14):
            tokens = [token for (token,) in some(*[1] * len(rows))]
            for row, token in zip(rows, tokens, strict=True):
                row.append(token)
            state.step(tokens)
            torch.testing.assert_close(state.logits, plain(model, rows), rtol=1e-4, atol=1e-5)
            if number in (3, 7, 9):
                kept = [place for place in range(len(rows)) if place % 3 != number % 3]
                rows[:] = [rows[place] for place in kept]
                state.keep(kept)
                torch.testing.assert_close(state.logits, plain(model, rows), rtol=1e-4, atol=1e-5)
            if number in (4, 9):
                join(2, 20)
                torch.testing.assert_close(state.logits, plain(model, rows), rtol=1e-4, atol=1e-5)
        state.keep([])
        rows.clear()
        join(4, 5)
        torch.testing.assert_close(state.logits, plain(model, rows), rtol=1e-4, atol=1e-5)


def test_what_is_plain_attention_is_grouped_and_nothing_else():
    tokens = list(range(12))
    with torch.no_grad():
        for model in (network(), network(GPTNeoXForCausalLM, GPTNeoXConfig)):
            state, held = rows_of(model, tokens)
            assert isinstance(state, RowGroups)
            assert held == 2 * 2 * 32 * 4  # keys and values, layers, width, bytes
        for model in (network(MistralForCausalLM, MistralConfig, num_key_value_heads=4, sliding_window=64), network().bfloat16()):
            assert isinstance(rows_of(model, tokens)[0], KeyValues)  # the window is wider than what it is tried on
        assert model.config._attn_implementation == "sdpa"
