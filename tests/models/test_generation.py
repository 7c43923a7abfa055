"""Generation in batches equals generation one by one; stop strings; limits."""

import pytest

from pliant.data import load_tokenizer
from pliant.errors import PliantError
from pliant.models import build, generation, load


def generate(*arguments, **settings):
    """The texts alone."""
    return [said.text for said in generation.generate(*arguments, **settings)]


PROMPTS = ["the quick brown", "a", "once upon a time there was a king who had a", "x y z", "and then the"]


@pytest.fixture(params=["llama-16x2", "gpt-neox-16x2"])
def model(request):
    return build(request.param, load_tokenizer("ascii"), 3, context=96)


def by_hand(model, prompt, most):
    """The likeliest token, again and again, without a cache."""
    import torch

    ids = list(prompt.encode())
    for _ in range(most):
        with torch.no_grad():
            ids.append(int(model.network(torch.tensor([ids])).logits[0, -1].argmax()))
    return bytes(ids[len(prompt) :]).decode()


def test_batches_equal_one_by_one_and_plain_arithmetic(model):
    training = model.network.training
    together = generate(model, PROMPTS, most=12)
    assert together == [generate(model, [prompt], most=12)[0] for prompt in PROMPTS]
    assert together == generate(model, PROMPTS, most=12, batch_tokens=40)
    assert together == [by_hand(model, prompt, 12) for prompt in PROMPTS]
    assert model.network.training == training


def test_an_answer_ends_before_its_stop_string(model):
    (whole,) = generate(model, PROMPTS[:1], most=20)
    stop = whole[5:7]
    (cut,) = generate(model, PROMPTS[:1], most=20, stop=[stop, "never said"])
    assert cut == whole[: whole.index(stop)]


def test_drawing_is_seeded_and_leaves_the_callers_random_state_alone(model):
    import torch

    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first, again, other = (generate(model, PROMPTS, most=12, temperature=1.0, seed=seed) for seed in (1, 1, 2))
    assert first == again != other
    assert torch.equal(torch.rand(3), expected)


def test_drawn_tokens_have_the_models_distribution(model):
    """The first token of 4,000 answers against its probabilities: a chi-square beyond its 99.99% point would be a fault."""
    import torch
    from scipy import stats

    with torch.no_grad():
        likely = model.network(torch.tensor([list(b"ab")])).logits[0, -1].softmax(-1).numpy()
    said = generate(model, ["ab"] * 4000, most=1, temperature=1.0, seed=0)
    counts = [0] * 128
    for text in said:
        counts[ord(text)] += 1
    assert stats.chisquare(counts, 4000 * likely.astype(float) / likely.astype(float).sum()).pvalue > 1e-4


def test_a_long_prompt_loses_its_beginning_and_limits_are_said(model):
    long = "z" * 200 + PROMPTS[0]
    assert generate(model, [long], most=40) == generate(model, [long[-56:]], most=40)
    with pytest.raises(PliantError, match="leave no room for a prompt"):
        generate(model, PROMPTS, most=96)
    with pytest.raises(PliantError, match="prompt 2 is empty"):
        generate(model, ["a", ""], most=4)


def test_real_weights_tell_a_story(shared_data):
    (said,) = generate(load(shared_data / "models" / "stories260K-hf"), ["Once upon a time, there was"], most=60, stop=["."])
    assert "girl" in said or "boy" in said


def test_special_tokens_are_no_part_of_an_answer(shared_data, monkeypatch):
    """A model that says its beginning token between two words is quoted without it, as the harness quotes it."""
    model = load(shared_data / "models" / "stories260K-hf")
    (cat,) = model.tokenizer.encode([" cat"])
    said = iter([*cat.tolist(), model.tokenizer.tokenizer.bos_token_id, *cat.tolist(), model.tokenizer.end_id])
    monkeypatch.setattr(generation._Rules, "next_tokens", lambda *_: [next(said)])
    (found,) = generation.generate(model, ["A"], most=20)
    assert (found.text.split(), found.ended) == (["cat", "cat"], True)


def test_a_models_repetition_penalty_is_followed_as_transformers_does(shared_data, capsys):
    import torch

    model = load(shared_data / "models" / "stories260K-hf")
    prompts = ["Once upon a time, there was", "Tom"]
    model.network.generation_config.repetition_penalty = 1.3
    model.network.generation_config.min_new_tokens = 3
    ours = generate(model, prompts, most=24)
    assert "min_new_tokens of its generation config is not followed" in capsys.readouterr().err
    model.network.generation_config.min_new_tokens = None
    words = model.tokenizer.tokenizer
    for prompt, text in zip(prompts, ours, strict=True):
        ids = torch.tensor([[words.bos_token_id, *model.tokenizer.encode([prompt])[0].tolist()]])
        expected = model.network.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=24, do_sample=False)
        assert text == words.decode(expected[0, ids.shape[1] :], skip_special_tokens=True)
    model.network.generation_config.repetition_penalty = None
    assert generate(model, prompts, most=24) != ours


def test_a_stop_string_is_seen_with_the_token_that_ends_it(shared_data):
    """Tokens that cannot end one are not looked at further; so an answer is over exactly when a stop string stands in it."""
    model = load(shared_data / "models" / "stories260K-hf")
    text = "Tom was happy. Then a café was\nthere, and a dog. The end"
    (ids,) = model.tokenizer.encode([text])
    for stop in ("happy", "n a ", "é", "\nth", ", ", "end", "never"):
        rules = generation._Rules(model, 500, [stop, "xyz"], 0.0, 1.0, 0)
        row = generation._Row(0, [1])
        for token in ids.tolist():
            row.said.append(token)
            said = stop in model.tokenizer.decode(row.said)
            assert rules.over(row) == said, (stop, row.said)
            if said:
                break
