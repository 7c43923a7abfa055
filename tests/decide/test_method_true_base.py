"""What is learned and forgotten, against the true base: two mistakes that are easily made, which the check has to find.

A run with an adapter is read along its way. The same losses are worked out here from nothing but the two networks' logits: the base's as
it lies on disk, the tuned one's as PEFT puts the adapter on it. Read with the adapter on, the base seems to have forgotten as much as
the tuned model, that is nothing; compared with the token at its own place, not the next one, a prediction tells what it was shown.
"""

import numpy as np
import pytest
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM

from method_search import base_of, ground_of, write_domains
from pliant.data import Corpus, packed
from pliant.decide.methods.trial import TuningTrial
from pliant.methods import Lora
from pliant.models import load
from pliant.models.adapters import save_adapter

POINTS, RATE, SEED = (8, 16), 2e-2, 3


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The base's folder, an adapter's, what was read along the run that made it, and the samples' tokens."""
    folder = tmp_path_factory.mktemp("true-base")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PLIANT_CACHE", str(folder / "cache"))
        write_domains(folder)
        base_of(folder)
        ground = ground_of(load(folder / "model"), folder, folder / "runs", POINTS[-1])
        trial = TuningTrial(ground, RATE, (Lora(rank=4),), SEED, ground.judging)
        path = trial.path(POINTS, lambda _: None)
        tuned = load(folder / "model")
        trial.finetune.tune(tuned, SEED, quiet=True)
        save_adapter(tuned.adapter, folder / "adapter", str(folder / "model"))
        texts = {name: packed(Corpus(source=str(folder / f"{name}.jsonl")), tuned.tokenizer, "heldout") for name in ("sums", "prose")}
        windows = {name: {window.id: window.tokens for window in text.windows(tuned.context, None)} for name, text in texts.items()}
        samples = {
            name: [windows[name][sample] for sample in half.samples]
            for name, half in (("sums", ground.judging.target), ("prose", ground.judging.keep))
        }
    return folder, path, samples


def network(folder, adapter):
    base = AutoModelForCausalLM.from_pretrained(folder / "model")
    return PeftModel.from_pretrained(base, folder / "adapter").eval() if adapter else base.eval()


def losses(network, samples, shift=1):
    """The mean over each sample's tokens of -log p of the token `shift` places on."""
    found = []
    for tokens in samples:
        ids = torch.as_tensor(np.asarray(tokens, np.int64))
        with torch.no_grad():
            logits = network(input_ids=ids[None]).logits[0, : len(ids) - 1]
        told = ids[shift : shift + len(logits)]
        found.append(-logits.double().log_softmax(-1)[range(len(told)), told].mean().item())
    return np.array(found)


def measured(folder, samples, *, adapters_off=True, shift=1):
    """(target losses of the base and the tuned, how much higher the tuned one's loss of each kept sample is)"""
    tuned, base = network(folder, True), network(folder, not adapters_off)
    targets = [losses(one, samples["sums"], shift) for one in (base, tuned)]
    return np.stack(targets), losses(tuned, samples["prose"], shift) - losses(base, samples["prose"], shift)


def check(path, targets, rises):
    """Sample by sample."""
    assert path.targets[[0, -1]] == pytest.approx(targets, abs=1e-4)
    assert path.rises[-1] == pytest.approx(rises, abs=1e-4)


def test_learned_and_forgotten_are_those_of_the_true_base_and_the_next_token(run):
    folder, path, samples = run
    check(path, *measured(folder, samples))
    assert (path.rises[0] == 0).all()
    assert path.losses[-1] < path.losses[0] - 0.1, "it learns"
    assert path.forgotten[-1] > 0.1, "and forgets"


@pytest.mark.parametrize("mistake", [{"adapters_off": False}, {"shift": 0}], ids=["adapters on", "labels not shifted"])
def test_either_mistake_is_found(run, mistake):
    folder, path, samples = run
    targets, rises = measured(folder, samples, **mistake)
    with pytest.raises(AssertionError):
        check(path, targets, rises)
    if "shift" not in mistake:
        assert (rises == 0).all(), "nothing seems forgotten"
