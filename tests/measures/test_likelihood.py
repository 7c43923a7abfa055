"""Token losses equal what transformers itself computes, whatever the architecture and the batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pliant.errors import PliantError
from pliant.measures import likelihood
from pliant.measures.likelihood import batches, sequence_losses

LENGTHS = (2, 3, 9, 20, 33, 64, 65, 65, 64, 17)
SEQUENCES = [np.random.default_rng(length).integers(3, 96, length) for length in LENGTHS]
SMALL: dict[str, Any] = {
    "vocab_size": 96,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 128,
    "initializer_range": 0.3,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 2,
}


def config(name: str) -> Any:
    import transformers as tf

    grouped = {**SMALL, "num_key_value_heads": 1}
    return {
        "llama": lambda: tf.LlamaConfig(**SMALL),
        "gpt-neox": lambda: tf.GPTNeoXConfig(**SMALL),
        "gemma2": lambda: tf.Gemma2Config(
            **grouped, head_dim=16, final_logit_softcapping=2.0, attn_logit_softcapping=5.0, sliding_window=8
        ),
        "cohere": lambda: tf.CohereConfig(**grouped, logit_scale=0.25),
        "granite": lambda: tf.GraniteConfig(**grouped, logits_scaling=3.0),
        "mixtral": lambda: tf.MixtralConfig(**grouped, num_local_experts=4),
        "gpt2": lambda: tf.GPT2Config(vocab_size=96, n_embd=32, n_layer=2, n_head=2, n_positions=128, bos_token_id=0, eos_token_id=1),
        "mamba": lambda: tf.MambaConfig(vocab_size=96, hidden_size=32, num_hidden_layers=2, bos_token_id=0, eos_token_id=1, pad_token_id=2),
    }[name]()


def build(name: str) -> Any:
    from transformers import AutoModelForCausalLM

    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(config(name)).eval()


def plain_losses(network: Any, sequence: Any) -> np.ndarray:
    """The textbook way: one sequence, all logits, log-softmax in float64."""
    ids = torch.from_numpy(np.asarray(sequence, np.int64))[None]
    with torch.no_grad():
        logits = network(input_ids=ids).logits[0].double()
    return -logits.log_softmax(-1)[:-1].gather(1, ids[0, 1:, None])[:, 0].numpy()


@pytest.mark.parametrize("name", ["llama", "gpt-neox", "gemma2", "cohere", "granite", "mixtral", "gpt2", "mamba"])
def test_losses_are_those_of_transformers(name: str) -> None:
    network = build(name)
    padded, alone = sequence_losses(network, SEQUENCES, batch_tokens=150), sequence_losses(network, SEQUENCES, batch_tokens=1)
    assert likelihood._splits[network]
    for sequence, losses, unpadded in zip(SEQUENCES, padded, alone, strict=True):
        ids = torch.from_numpy(sequence)[None]
        with torch.no_grad():
            own = network(input_ids=ids, labels=ids).loss.item()
        assert losses.mean() == pytest.approx(own, rel=1e-6)
        assert unpadded.mean() == pytest.approx(own, rel=1e-6)
        np.testing.assert_allclose(losses, plain_losses(network, sequence), rtol=1e-5, atol=1e-5)


def test_a_real_checkpoint(shared_data: Any) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = shared_data / "models" / "stories260K-hf"
    network, tokenizer = AutoModelForCausalLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    texts = ["Once upon a time, there was a little girl named Lily.", "The dog ran.", "A bird sang in the big tree all day long."]
    sequences = [np.array(tokenizer(text).input_ids) for text in texts]
    for sequence, losses in zip(sequences, sequence_losses(network, sequences), strict=True):
        ids = torch.from_numpy(sequence)[None]
        with torch.no_grad():
            own = network(input_ids=ids, labels=ids).loss.item()
        assert losses.mean() == pytest.approx(own, rel=1e-6)
        assert own < 5  # it knows its language: ln 512 is 6.2


def test_slices_of_logits_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    network = build("gemma2")
    whole = sequence_losses(network, SEQUENCES)
    monkeypatch.setitem(likelihood.LOGITS, "cpu", 1)
    monkeypatch.setattr(likelihood, "FEWEST_ROWS", 7)
    for one, other in zip(whole, sequence_losses(network, SEQUENCES), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-6, atol=1e-6)


def test_a_network_whose_head_cannot_be_split_is_evaluated_plainly() -> None:
    """Its forward pass adds something that its decoder and head alone do not give."""
    network = build("llama")
    forward = type(network).forward

    class Odd(type(network)):
        def forward(self, input_ids: Any = None, **options: Any) -> Any:
            output = forward(self, input_ids=input_ids, **options)
            output.logits = output.logits * (1 + (input_ids % 7)[..., None] / 7)
            return output

    network.__class__ = Odd
    losses = sequence_losses(network, SEQUENCES, batch_tokens=150)
    assert not likelihood._splits[network]
    for sequence, found in zip(SEQUENCES, losses, strict=True):
        np.testing.assert_allclose(found, plain_losses(network, sequence), rtol=1e-5, atol=1e-5)


def test_a_model_that_looks_to_the_right_has_no_loss() -> None:
    from transformers import AutoModelForCausalLM, BertConfig

    fields = {name: value for name, value in SMALL.items() if name not in ("bos_token_id", "eos_token_id")}
    network = AutoModelForCausalLM.from_config(BertConfig(**fields, is_decoder=False))
    with pytest.raises(PliantError, match="looks at tokens to the right"):
        sequence_losses(network, SEQUENCES)


def test_a_classifier_has_no_loss_as_a_language_model() -> None:
    from transformers import AutoModelForSequenceClassification, AutoModelForTokenClassification, LlamaConfig

    for task in (AutoModelForSequenceClassification, AutoModelForTokenClassification):
        with pytest.raises(PliantError, match="predicts no tokens"):
            sequence_losses(task.from_config(LlamaConfig(**SMALL)), SEQUENCES)


def test_the_network_is_left_as_it_was() -> None:
    network = build("llama")
    network.train()
    network.model.layers[0].eval()
    modes = [module.training for module in network.modules()]
    network.config.use_cache = True
    sequence_losses(network, SEQUENCES)
    assert [module.training for module in network.modules()] == modes
    assert "forward" not in network.model.__dict__
    assert network.model.embed_tokens.weight.requires_grad


def test_dropout_is_off() -> None:
    network = build("gpt2").train()
    first, second = sequence_losses(network, SEQUENCES), sequence_losses(network, SEQUENCES)
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.bfloat16, 0.03)])
def test_number_types(dtype: torch.dtype, tolerance: float) -> None:
    network = build("llama").to(dtype)
    for sequence, found in zip(SEQUENCES, sequence_losses(network, SEQUENCES, batch_tokens=150), strict=True):
        assert found.mean() == pytest.approx(plain_losses(network, sequence).mean(), rel=tolerance)


@given(lengths=st.lists(st.integers(1, 200), max_size=60), budget=st.integers(1, 500))
def test_batches_hold_everything_once_within_the_budget(lengths: list[int], budget: int) -> None:
    found = list(batches(lengths, budget))
    assert sorted(index for batch in found for index in batch) == list(range(len(lengths)))
    assert all(len(batch) == 1 or len(batch) * max(lengths[i] for i in batch) <= budget for batch in found)
    flat = [lengths[index] for batch in found for index in batch]
    assert flat == sorted(lengths, reverse=True)


def test_what_cannot_be_evaluated_is_said() -> None:
    network = build("llama")
    assert sequence_losses(network, []) == []
    with pytest.raises(PliantError, match="two tokens"):
        sequence_losses(network, [np.array([5])])
    with pytest.raises(PliantError, match="token 96 is outside the model's vocabulary of 96"):
        sequence_losses(network, [np.array([5, 96])])
    with torch.no_grad():
        network.model.layers[1].mlp.up_proj.weight[0, 0] = torch.nan
    with pytest.raises(PliantError, match="not a finite number"):
        sequence_losses(network, SEQUENCES)


def test_a_model_that_breaks_after_its_first_batch_is_noticed() -> None:
    network = build("llama")
    sequence_losses(network, SEQUENCES)
    with torch.no_grad():
        network.lm_head.weight.fill_(torch.inf)
    with pytest.raises(PliantError, match="not a finite number"):
        sequence_losses(network, SEQUENCES)
