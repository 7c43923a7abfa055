"""Rows in two groups of like length: every row once, no better place to part them, and the same losses and gradients."""

import json

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pliant.data import load_tokenizer
from pliant.models import build
from pliant.objectives import Answers
from pliant.objectives.padding import SECOND_PASS, by_length


def learned(lengths):
    marks = torch.zeros(len(lengths), max(lengths), dtype=torch.bool)
    for row, length in enumerate(lengths):
        marks[row, max(0, length - 2) : length] = True
    return marks


@settings(max_examples=60)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=9))
def test_every_row_goes_once_and_no_other_parting_pads_less(lengths):
    groups = by_length(learned(lengths), 10**9)
    rows = [int(row) for found, _ in groups for row in found]
    assert sorted(rows) == list(range(len(lengths)))
    assert all(lengths[int(row)] <= longest for found, longest in groups for row in found)
    padded = sum(len(found) * longest for found, longest in groups)
    short = sorted(lengths)
    partings = [k * short[k - 1] + (len(short) - k) * short[-1] for k in range(1, len(short) + 1)]
    assert padded == min(partings)


def test_a_second_pass_is_made_where_it_is_worth_it():
    marks = learned([10, 10, 10, 100])
    saved = 3 * 90
    assert len(by_length(marks, int(SECOND_PASS / saved) + 1)) == 2
    assert len(by_length(marks, int(SECOND_PASS / saved) - 1)) == 1
    assert len(by_length(marks[:1], 10**9)) == 1


def test_losses_and_gradients_are_the_same(tmp_path, cache, monkeypatch):
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(json.dumps({"question": f"{n}?", "answer": "yes " * (1 + n % 7)}) for n in range(20)))
    model, objective = build("llama-16x2", load_tokenizer("ascii"), 0, context=64), Answers(data=str(path), part="all")
    batch = objective.examples(model, None).batch(0, 8, seed=0)
    found = []
    for second_pass in (1e30, 0.0):
        monkeypatch.setattr("pliant.objectives.padding.SECOND_PASS", second_pass)
        model.network.zero_grad()
        losses = objective.losses(model.network, batch)
        losses.mean().backward()
        found.append((len(losses.output), losses.values.detach(), [p.grad.clone() for p in model.network.parameters()]))
    assert (found[0][0], found[1][0]) == (1, 2)
    assert torch.allclose(found[0][1], found[1][1], atol=1e-6)
    assert all(torch.allclose(*pair, atol=1e-6) for pair in zip(found[0][2], found[1][2], strict=True))
