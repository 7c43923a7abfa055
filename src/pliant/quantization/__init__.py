"""Quantization: grids, rounding to nearest, GPTQ and AWQ, what they are calibrated with, packing, and the fake-quantized forward pass."""
