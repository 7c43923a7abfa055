"""Masks token by token on real tokenizers: the same ids as the text has whole, and transformers' own marks on what is the assistant's."""

import itertools
import json

import pytest
from transformers import AutoTokenizer

from pliant.data import load_tokenizer
from pliant.data.dialogues import Turn
from pliant.data.rendering import chat_template, pieces_of, tokenised
from pliant.data.table import Table
from pliant.errors import PliantError

SAID = "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
MARKED = (
    "{{'<|im_start|>' + message['role'] + '\n'}}{% if message['role'] == 'assistant' %}{% generation %}"
    "{{ message['content'] + '<|im_end|>\n' }}{% endgeneration %}{% else %}{{ message['content'] + '<|im_end|>\n' }}{% endif %}"
)


@pytest.fixture
def problems(shared_data):
    with (shared_data / "finetune" / "gsm8k" / "train.jsonl").open() as lines:
        return [json.loads(line) for line in itertools.islice(lines, 40)]


def rendered(dialogues, words):
    template = chat_template(words)
    return tokenised([pieces_of(turns, template) for turns in dialogues], words, template is None)


def test_marks_are_those_of_transformers(problems, shared_data):
    """SmolLM2's template with transformers' own marks around what the assistant says; dialogues of two questions."""
    folder = shared_data / "models" / "smollm2-tokenizer"
    marking = AutoTokenizer.from_pretrained(folder)
    assert SAID in marking.chat_template
    marking.chat_template = marking.chat_template.replace(SAID, MARKED)
    dialogues = [
        [Turn("user", p["question"]), Turn("assistant", p["answer"]), Turn("user", "Sure?"), Turn("assistant", "Yes: " + p["answer"][-9:])]
        for p in problems
    ]
    for turns, (ids, learned) in zip(dialogues, rendered(dialogues, load_tokenizer(folder)), strict=True):
        messages = [{"role": turn.role, "content": turn.text} for turn in turns]
        expected = marking.apply_chat_template(messages, return_assistant_tokens_mask=True, return_dict=True)
        assert ids == expected["input_ids"]
        assert learned == [bool(mark) for mark in expected["assistant_masks"]]


def test_an_answer_has_the_tokens_with_which_the_model_goes_on(problems, shared_data):
    """A SentencePiece tokenizer puts a space before every text, and none before an answer that stands behind its question."""
    folder = shared_data / "models" / "stories260K-hf"
    plain = AutoTokenizer.from_pretrained(folder)
    dialogues = [[Turn("user", p["question"]), Turn("assistant", p["answer"])] for p in problems]
    for p, (ids, learned) in zip(problems, rendered(dialogues, load_tokenizer(folder)), strict=True):
        asked, whole = (plain(text)["input_ids"] for text in (f"{p['question']}\n", f"{p['question']}\n{p['answer']}"))
        assert ids == [*whole, plain.eos_token_id]
        assert learned == [False] * len(asked) + [True] * (len(ids) - len(asked))


def test_what_a_template_refuses_is_a_line_or_a_counted_skip(tmp_path, cache, shared_data):
    words = load_tokenizer(shared_data / "models" / "smollm2-tokenizer")
    words.tokenizer.chat_template = (
        "{% for m in messages %}{% if (m.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}"
        "{% endif %}{{ m.content }}{% endfor %}"
    )
    good = [("user", "a"), ("assistant", "b")]
    path = tmp_path / "chats.jsonl"
    wrong = (
        ([("system", "s"), ("user", "a"), ("assistant", "c")], r"the chat template refuses this dialogue \(roles must alternate\)"),
        ([("assistant", "b"), ("user", "a"), ("assistant", "c")], "nobody asks before the answer in turn 1"),
        ([("user", "a")], "nobody answers"),
    )
    for bad, told in wrong:
        chats = [{"messages": [{"role": role, "content": said} for role, said in chat]} for chat in (good, bad)]
        path.write_text("\n".join(map(json.dumps, chats)))
        with pytest.raises(PliantError, match=rf"chats\.jsonl line 2: {told}"):
            Table(source=str(path)).sequences(words, "all", 64)
        counts = Table(source=str(path), skip_bad=True).sequences(words, "all", 64).counts
        assert (counts["examples"], counts["skipped"]) == (1, 1)
