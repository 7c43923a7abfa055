"""What all methods of quantization return."""

import pytest
import torch
from matrices import layer

from pliant.quantization.awq import awq
from pliant.quantization.gptq import factor, gptq
from pliant.quantization.grid import slices
from pliant.quantization.nearest import grid_levels, nearest


@pytest.mark.parametrize("scheme", ["symmetric", "full_range", "asymmetric"])
@pytest.mark.parametrize("granularity", ["tensor", "channel", 8])
@pytest.mark.parametrize("method", ["nearest", "gptq", "gptq by activity", "awq"])
def test_every_method_returns_values_on_the_grid_it_names(method, granularity, scheme):
    weight, inputs = layer(spread=5.0)
    moments = inputs.T @ inputs
    if method == "nearest":
        rounded = nearest(weight, 3, scheme, granularity)
    elif method == "awq":
        rounded = awq(weight, moments, inputs.abs().mean(0), 3, scheme, granularity)
    else:
        rounded = gptq(weight, factor(moments, act_order="activity" in method), 3, scheme, granularity)
    on_grid = slices(rounded.values if rounded.channel_scale is None else rounded.values * rounded.channel_scale, granularity)
    codes = rounded.grid.codes(on_grid)
    assert torch.allclose(rounded.grid.values(codes), on_grid, atol=1e-5)
    assert rounded.grid.low <= codes.min()
    assert codes.max() <= rounded.grid.high
    assert rounded.grid.high - rounded.grid.low == 7


def test_rounded_weights_are_recognised_and_others_are_not():
    weight = torch.randn(96, 1024, generator=torch.Generator().manual_seed(0))
    assert grid_levels(nearest(weight, 4).values) in range(8, 17)
    assert grid_levels(nearest(weight, 4, granularity=32).values) in range(8, 17)
    assert grid_levels(nearest(weight, 8).values) in range(128, 257)
    assert grid_levels(weight) is None
    assert grid_levels(weight.bfloat16()) is None
    assert grid_levels(weight[:, :16]) is None
