"""GPTQ and AWQ against llm-compressor's: ||(W - Q) X||^2 of every linear layer, on the same weights and the same inputs.

Not a race: `ratio` is our error over theirs, summed over layers, in the worst setting; `target` is what it may be at most. GPTQ gets the
same second moments X X^T and the same grids (max|w| on the last positive code), once as the columns stand and once by falling diagonal
("act order"). The library's own symmetric grid is finer and clips the largest weight by half a step; what that gains is listed apart.
AWQ runs as the library runs it, on a network of its own and its own grids; its scales are read off the norms it changed.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")

import torch
from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme, fake_quantize
from compressed_tensors.quantization.utils import calculate_qparams
from datasets import Dataset
from llmcompressor import oneshot
from llmcompressor.modifiers.gptq.gptq_quantize import quantize_weight
from llmcompressor.modifiers.quantization import QuantizationModifier
from llmcompressor.modifiers.transform.awq import AWQModifier
from llmcompressor.pipelines.cache import IntermediatesCache
from loguru import logger
from precision import CONTEXT, CORPUS, trained_folder
from transformers import AutoModelForCausalLM

from pliant.changes.awq import awq, output_error
from pliant.changes.calibration import Calibration, calibrate
from pliant.changes.gptq import factor, gptq
from pliant.data import packed
from pliant.models import load
from pliant.rounding import fit_grid, slices

WINDOWS = 64
BITS, GROUPS = (3, 4), ("channel", 32)
BEHIND_NORMS = {"input_layernorm": ("self_attn.q_proj", "self_attn.k_proj"), "post_attention_layernorm": ("mlp.gate_proj",)}
"""Layers whose inputs the library's AWQ rescales and whose outputs it does not."""


def arguments(bits: int, group: str | int, act_order: bool = False) -> QuantizationArgs:
    """A symmetric grid in the library's words."""
    size = None if group == "channel" else group
    order = "static" if act_order else None
    return QuantizationArgs(num_bits=bits, symmetric=True, strategy="group" if size else "channel", group_size=size, actorder=order)


def theirs(weight: torch.Tensor, moments: torch.Tensor, bits: int, group: str | int, act_order: bool, own_grid: bool) -> torch.Tensor:
    """The library's GPTQ of one matrix, on its own grids or on ours, both from the extremes of each slice."""
    settings = arguments(bits, group, act_order)
    parts = slices(weight, group).reshape(len(weight), -1, weight.shape[1] if group == "channel" else group)
    scale, zero = calculate_qparams(parts.amin(-1), parts.amax(-1), settings)
    if not own_grid:
        scale = 1 / fit_grid(parts, bits).scale.squeeze(-1)
    rounded, _, _ = quantize_weight(weight.clone()[None], moments.clone()[None], scale[None], zero[None], None, settings)
    return rounded[0]


def gptq_ratios(network: Any, calibration: Calibration, own_grid: bool) -> dict[str, float]:
    """Ours over theirs, errors summed over layers, by setting."""
    found: dict[str, float] = {}
    modules = network.model.named_modules(prefix="model")
    layers = {name: layer.weight.detach() for name, layer in modules if isinstance(layer, torch.nn.Linear)}
    for bits in BITS:
        for group in GROUPS:
            for act_order in (False, True):
                errors = torch.zeros(2, dtype=torch.float64)
                for name, weight in layers.items():
                    moments = calibration.inputs(name).moments
                    ours = gptq(weight, factor(moments, act_order), bits, "symmetric", group).values
                    peer = theirs(weight, moments, bits, group, act_order, own_grid)
                    errors += torch.stack([output_error(weight - rounded, moments).sum() for rounded in (ours, peer)])
                found[f"gptq {bits} bits, {group}{', act order' if act_order else ''}"] = float(errors[0] / errors[1])
    return found


def awq_ratios(folder: Path, network: Any, calibration: Calibration, text: Dataset) -> dict[str, float]:
    """The same for AWQ; the library's Q is seen through the norm it rescaled: W s is rounded, the norm divided by s."""
    found: dict[str, float] = {}
    for bits in BITS:
        for group in GROUPS:
            changed = AutoModelForCausalLM.from_pretrained(folder)
            scheme = QuantizationScheme(targets=["Linear"], weights=arguments(bits, group))
            recipe = [AWQModifier(), QuantizationModifier(config_groups={"all": scheme}, ignore=["lm_head"])]
            oneshot(model=changed, dataset=text, recipe=recipe, num_calibration_samples=WINDOWS, max_seq_length=CONTEXT)
            errors = torch.zeros(2, dtype=torch.float64)
            for place, block in enumerate(network.model.layers):
                other = changed.model.layers[place]
                for norm, names in BEHIND_NORMS.items():
                    shrunk = other.get_submodule(norm).weight.detach() / block.get_submodule(norm).weight.detach()
                    for name in names:
                        weight = block.get_submodule(name).weight.detach()
                        inputs = calibration.inputs(f"model.layers.{place}.{name}")
                        ours = awq(weight, inputs.moments, inputs.magnitudes, bits, "symmetric", group).values
                        layer = other.get_submodule(name)
                        settings = layer.quantization_scheme.weights
                        rounded = fake_quantize(layer.weight, layer.weight_scale, layer.weight_zero_point, settings) * shrunk
                        errors += torch.stack([output_error(weight - q, inputs.moments).sum() for q in (ours, rounded)])
            found[f"awq {bits} bits, {group}"] = float(errors[0] / errors[1])
    return found


def main() -> None:
    """Prints one JSON object."""
    torch.set_num_threads(1)
    logger.remove()
    IntermediatesCache.pin_memory = lambda self, batch: None  # 0.14 pins pages for a GPU also where there is none, and fails
    folder = trained_folder()
    model = load(str(folder))
    windows = packed(CORPUS, model.tokenizer, "train").batch(0, WINDOWS, CONTEXT, seed=0)[:, :-1].tolist()
    calibration = calibrate(model, windows)
    text = Dataset.from_dict({"input_ids": windows, "attention_mask": [[1] * CONTEXT] * WINDOWS})
    with torch.no_grad():
        ratios = {**gptq_ratios(model.network, calibration, False), **awq_ratios(folder, model.network, calibration, text)}
        finer = gptq_ratios(model.network, calibration, True)
    worst = max(ratios.values())
    result = {
        "name": "check_gptq",
        "claim": f"Output errors of GPTQ and AWQ over llm-compressor's, {model.checkpoint.params} parameters; at most the target",
        "ratio": worst,
        "target": 1.02,
        "equal_results": worst <= 1.02,
        **ratios,
        "with the library's symmetric grid, max|w| / (2^(bits-1) - 1/2)": finer,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
