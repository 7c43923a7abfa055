"""Loss on answers alone: masks token by token, and the reference of transformers."""

import json

import numpy as np
import pytest
import torch
from transformers import PreTrainedTokenizerFast

from interrupted import goes_on
from pliant.data import load_tokenizer
from pliant.data.pretrained import PretrainedTokenizer
from pliant.data.table import Table
from pliant.errors import PliantError
from pliant.models import build
from pliant.objectives import OBJECTIVES, Answers
from pliant.train import Recipe, train

TURNS = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</s>{% endfor %}"
TEMPLATE = TURNS + "{% if add_generation_prompt %}<assistant>{% endif %}"


@pytest.fixture
def table(tmp_path, cache):
    def write(records):
        path = tmp_path / "data.jsonl"
        path.write_text("\n".join(map(json.dumps, records)))
        return Answers(data=str(path), part="all")

    return write


@pytest.fixture
def records():
    return [{"question": f"What is {n} and {n}?", "answer": f"It is {2 * n}."} for n in range(12)]


def model(tokenizer="ascii", seed=0):
    words = load_tokenizer(tokenizer) if isinstance(tokenizer, str) else tokenizer
    return build("llama-16x2", words, seed, context=64)


def chat_tokenizer(tmp_path, template=TEMPLATE):
    """A byte-level tokenizer with an end token and a chat template, as any user's."""
    load_tokenizer("bytes").save(tmp_path / "words")
    fast = PreTrainedTokenizerFast(tokenizer_file=str(tmp_path / "words" / "tokenizer.json"), eos_token="</s>")
    fast.chat_template = template
    fast.save_pretrained(tmp_path / "chat")
    return PretrainedTokenizer.load(tmp_path / "chat")


def learned_text(sequences, number, tokenizer):
    ids, learned = sequences.tokens_of(number)
    return tokenizer.decode(ids[learned]), tokenizer.decode(ids)


def test_only_the_answer_is_learned(table):
    objective = table([{"question": "How many?", "answer": "Two."}])
    tokenizer = load_tokenizer("ascii")
    assert learned_text(objective.data.sequences(tokenizer, "all", 64), 0, tokenizer) == ("Two.", "How many?\nTwo.")


def test_a_chat_template_says_where_answers_begin_and_end(table, tmp_path):
    turns = [("system", "Be brief."), ("user", "One?"), ("assistant", "Yes."), ("user", "Two?"), ("assistant", "No.")]
    objective = table([{"messages": [{"role": role, "content": content} for role, content in turns]}])
    words = chat_tokenizer(tmp_path)
    learned, text = learned_text(objective.data.sequences(words, "all", 200), 0, words)
    assert text == "".join(f"<{role}>{content}</s>" for role, content in turns)
    assert learned == "Yes.</s>No.</s>"


def test_without_a_template_longer_dialogues_name_who_speaks(table):
    turns = [("system", "Be brief."), ("user", "One?"), ("assistant", "Yes."), ("user", "Two?"), ("assistant", "No.")]
    objective = table([{"messages": [{"role": role, "content": content} for role, content in turns]}])
    tokenizer = load_tokenizer("ascii")
    learned, text = learned_text(objective.data.sequences(tokenizer, "all", 200), 0, tokenizer)
    assert text == "System: Be brief.\nUser: One?\nAssistant: Yes.\nUser: Two?\nAssistant: No."
    assert learned == "Yes.No."


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{% for m in messages %}{{ m.content }}{{ messages | length }}{% endfor %}", "rewrites what was said before"),
        ("{{ raise_exception('no systems') }}", "refuses this dialogue"),
    ],
)
def test_templates_that_cannot_be_cut_are_one_line(table, tmp_path, template, message):
    turns = [("user", "One?"), ("assistant", "Yes."), ("user", "Two?"), ("assistant", "No.")]
    objective = table([{"messages": [{"role": role, "content": content} for role, content in turns]}])
    with pytest.raises(PliantError, match=message):
        objective.data.sequences(chat_tokenizer(tmp_path, template), "all", 64)


def test_what_is_cut_is_counted_and_an_answer_cut_to_nothing_left_out(table):
    records = [{"question": "q" * 30, "answer": "a" * 10}, {"question": "q" * 70, "answer": "a"}, {"question": "q", "answer": "a" * 90}]
    sequences = table(records).data.sequences(load_tokenizer("ascii"), "all", 40)
    assert sequences.counts == {"records": 3, "truncated": 2, "left_out": 1, "answer_tokens": 10 + 39, "examples": 2, "tokens": 41 + 41}
    with pytest.raises(PliantError, match="no example is left to learn from"):
        table([records[1]]).data.sequences(load_tokenizer("ascii"), "all", 40)


def test_losses_are_those_of_transformers(table, records):
    """transformers' own loss with labels of -100 on everything but the answer, example by example."""
    subject, objective = model(), table(records)
    examples = objective.examples(subject, None)
    batch = examples.batch(0, 5, seed=0)
    found = objective.losses(subject.network, batch)
    for row, number in enumerate(batch.numbers):
        ids, learned = (torch.from_numpy(np.array(part)) for part in examples.sequences.tokens_of(int(number)))
        reference = subject.network(input_ids=ids[None], labels=ids.where(learned, -100)[None]).loss
        assert float(found.values[row].detach()) == pytest.approx(float(reference.detach()), abs=1e-6)
        assert float(found.weights[row]) == int(learned[1:].sum())
    total = float((found.values * found.weights).sum().detach())
    assert float(found.mean().detach()) == pytest.approx(total / float(found.weights.sum()), abs=1e-6)


def test_every_example_comes_once_an_epoch(table, records):
    examples = table(records).examples(model(), None)
    seen = np.concatenate([examples.batch(step, 5, seed=1).numbers for step in range(12)])
    epochs = seen.reshape(5, 12)
    assert all(sorted(epoch) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 5
    assert (examples.batch(7, 5, seed=1).numbers == seen[35:40]).all()


def test_a_killed_run_goes_on_bit_for_bit(table, records, tmp_path):
    losses = goes_on(model, table(records), Recipe(lr=1e-2, steps=12, batch=3, accumulate=2), tmp_path / "state")
    assert losses[-1] < losses[0] - 0.5


def test_one_batch_equals_its_parts(table, records):
    """Rows with answers of other lengths weigh by their tokens, however a step is divided."""
    weights = []
    for batch, accumulate in ((6, 1), (2, 3)):
        subject = model()
        train(subject, table(records), Recipe(lr=1e-2, steps=3, batch=batch, accumulate=accumulate), quiet=True)
        weights.append(torch.cat([p.detach().flatten() for p in subject.network.parameters()]))
    assert torch.allclose(*weights, atol=2e-4)


def test_it_is_a_kind_like_any_other(tmp_path):
    objective = OBJECTIVES.parse({"answers": {"data": "gsm8k.jsonl"}})
    assert objective == Answers(data=Table(source="gsm8k.jsonl"))
    with pytest.raises(PliantError, match="did you mean 'alpaca'"):
        Table(source="x", format="alpacca")
