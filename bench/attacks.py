"""PGD against torchattacks, and greedy coordinate gradient against nanogcg, on the same networks and budgets.

PGD: the same ResNet, images, epsilon, step and steps, without a random start, so that both must end at the same pixels (ours rounded to
eight bits), but where a gradient is nearly nothing and a sum in another order turns its sign. The peer is the faster one of torchattacks
and the plain loop. Greedy coordinate gradient: both are given one language model, prompt, target, start and number of candidates, and are
timed a step; where the peer cannot keep the prompt (its cache is of an older transformers), it runs without, and that is said. Equal
results: our losses of its candidates are the plain losses, and both lower the target's loss. `ratio` is the lesser of the two speeds.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

import nanogcg
import numpy as np
import torch
from tokenizers import Tokenizer as Words
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from pliant.attacks import Bim, Gcg
from pliant.data import load_tokenizer
from pliant.models import Checkpoint, ImageInput, Model, build
from pliant.objectives import Batch, Label
from pliant.objectives.labelled import network_input

EPSILON, STEP, STEPS, IMAGES = 8 / 255, 2 / 255, 10, 32
PROMPT_WORDS, SUFFIX, CANDIDATES, GCG_STEPS, TOP = 60, 20, 96, 2, 64


def timed(work: Callable[[], Any], repeats: int = 3) -> tuple[float, Any]:
    """The least seconds of `repeats` runs after a warm one, and the result."""
    result, seconds = work(), []
    for _ in range(repeats):
        start = time.perf_counter()
        result = work()
        seconds.append(time.perf_counter() - start)
    return min(seconds), result


def textbook(network: Any, pixels: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Pixels between 0 and 1 after the plain loop."""
    found = pixels.clone()
    for _ in range(STEPS):
        found.requires_grad_(True)
        loss = torch.nn.functional.cross_entropy(network(found), targets)
        (gradient,) = torch.autograd.grad(loss, found)
        found = (pixels + (found.detach() + STEP * gradient.sign() - pixels).clamp(-EPSILON, EPSILON)).clamp(0, 1)
    return found.detach()


def pgd() -> dict[str, Any]:
    """Seconds of ours, of torchattacks' where it can be imported, and of the plain loop."""
    form = ImageInput((32, 32), 3)
    model = build("resnet-20", images=form, labels=[str(number) for number in range(10)])
    model.network.eval()
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (IMAGES, 32, 32, 3), np.uint8)
    targets = torch.from_numpy(rng.integers(0, 10, IMAGES))
    batch = Batch(np.arange(IMAGES), {"pixel_values": network_input(pixels, form)}, targets, torch.ones(IMAGES))
    raw = torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous().float() / 255

    def network(images: torch.Tensor) -> torch.Tensor:
        return model.network((images - 0.5) / 0.5).logits

    attack = Bim(epsilon=EPSILON, step_size=STEP, steps=STEPS)
    objective = Label(data="builtin:digits")  # only its loss is asked for
    ours, found = timed(lambda: attack.perturb(model, batch, objective))
    plain, expected = timed(lambda: textbook(network, raw, targets))
    told = (found.inputs["pixel_values"] * 0.5 + 0.5) * 255
    same = float(((told - expected * 255).abs() <= 0.51).float().mean())
    result: dict[str, Any] = {"pgd_seconds": ours, "plain_loop_seconds": plain, "pgd_same_pixels": same}
    try:
        import torchattacks
    except ImportError as error:
        return result | {"pgd_ratio": plain / ours, "torchattacks": f"cannot be imported: {error}"}

    class Wrapped(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return network(images)

    peer = torchattacks.PGD(Wrapped().eval(), eps=EPSILON, alpha=STEP, steps=STEPS, random_start=False)
    theirs, moved = timed(lambda: peer(raw, targets))
    same = min(same, float(((told - moved * 255).abs() <= 0.51).float().mean()))
    return result | {"torchattacks_seconds": theirs, "pgd_ratio": min(theirs, plain) / ours, "pgd_same_pixels": same}


def language_model(folder: str) -> tuple[Model, PreTrainedTokenizerFast]:
    """A 3-million-parameter Llama over 4096 made-up words."""
    vocabulary = {f"w{number}": number for number in range(4096)}
    words = Words(WordLevel(vocabulary, unk_token="w0"))
    words.pre_tokenizer = Whitespace()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=words, unk_token="w0")
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    shape = {"hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 4, "num_attention_heads": 4}
    network = LlamaForCausalLM(LlamaConfig(**shape, vocab_size=4096, max_position_embeddings=512, bos_token_id=None)).eval()
    for parameter in network.parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.08)
    return Model(network, load_tokenizer(folder), Checkpoint(name="bench")), tokenizer


def gcg(folder: str) -> dict[str, Any]:
    """Seconds a step of ours and of nanogcg, with what each ended at."""
    logging.disable(logging.INFO)
    model, tokenizer = language_model(folder)
    prompt = " ".join(f"w{number}" for number in np.random.default_rng(0).integers(1, 4096, PROMPT_WORDS))
    target, start = " ".join(f"w{number}" for number in range(7, 15)), " ".join(["w5"] * SUFFIX)
    ours_attack = Gcg(target=target, start=start, length=SUFFIX, steps=GCG_STEPS, candidates=CANDIDATES, top=TOP)
    ours, found = timed(lambda: ours_attack.suffix(model, [prompt], seed=0), 1)
    result: dict[str, Any] = {"gcg_seconds_a_step": ours / GCG_STEPS, "gcg_losses": [found.losses[0], found.losses[-1]]}
    for cached in (True, False):
        options = {"optim_str_init": start, "search_width": CANDIDATES, "topk": TOP, "use_prefix_cache": cached, "verbosity": "ERROR"}
        config = nanogcg.GCGConfig(num_steps=GCG_STEPS, seed=0, **options)
        name = f"nanogcg_{'with' if cached else 'without'}_cache"
        try:
            theirs, peer = timed(lambda config=config: nanogcg.run(model.network, tokenizer, prompt + " ", target, config), 1)
        except Exception as error:  # its cache is of an older transformers
            result[name] = f"fails: {type(error).__name__}: {str(error)[:100]}"
            continue
        ids = tokenizer(peer.best_string, add_special_tokens=False)["input_ids"]
        result[f"{name}_seconds_a_step"] = theirs / GCG_STEPS
        result[f"{name}_losses"] = [peer.losses[0], peer.losses[-1]]
        result[f"{name}_told_and_true"] = [peer.best_loss, plain_loss(model, prompt, ids, target)]
        result["gcg_ratio"] = min(result.get("gcg_ratio", float("inf")), theirs / ours)
    true = plain_loss(model, prompt, list(found.ids), target)
    return result | {"gcg_told_and_true": [found.loss, true], "gcg_equal": abs(true - found.loss) < 1e-3}


def plain_loss(model: Model, prompt: str, suffix: list[int], target: str) -> float:
    """Nats a token of the target, everything read at once."""
    before, after = (ids.tolist() for ids in model.tokenizer.encode([prompt, target]))
    opening = [] if model.tokenizer.opening_id is None else [model.tokenizer.opening_id]
    with torch.no_grad():
        logits = model.network(torch.tensor([[*opening, *before, *suffix, *after]])).logits[0, -len(after) - 1 : -1]
    return float(torch.nn.functional.cross_entropy(logits, torch.tensor(after)))


def main() -> None:
    """Both, and one line of JSON."""
    import tempfile

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        result = pgd() | gcg(folder)
    print(
        json.dumps(
            {
                "name": "attacks",
                "claim": "PGD is no slower than torchattacks', and greedy coordinate gradient twice as fast as nanogcg's, at equal results",
                "ratio": min(result["pgd_ratio"], result["gcg_ratio"]),
                "target": 1.0,
                "equal_results": result["pgd_same_pixels"] > 0.95 and result["gcg_equal"],
                **result,
            }
        )
    )


if __name__ == "__main__":
    main()
