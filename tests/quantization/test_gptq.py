"""GPTQ against its definition and brute force on small matrices; several at once against one after the other."""

import itertools

import pytest
import torch
from matrices import error, layer

from pliant.errors import PliantError
from pliant.quantization.gptq import factor, gptq
from pliant.quantization.gptq_batched import gptq_batched
from pliant.quantization.grid import fit_grid, round_to_grid, slices


def least_squares_reference(weight, moments, order, grid_of):
    """The definition, one column after the other: round it, then solve for all later columns by least squares anew."""
    weight, moments = weight.double().clone(), moments.double()
    target, done = weight.clone(), []
    for position, column in enumerate(order):
        weight[:, column] = grid_of(column, weight).round(weight[:, column : column + 1].float())[:, 0].double()
        done.append(column)
        later = list(order[position + 1 :])
        if later:  # minimise ||(target - w) X|| over the later columns, the done ones fixed
            gap = target[:, done] - weight[:, done]
            weight[:, later] = target[:, later] + gap @ moments[done][:, later] @ torch.linalg.inv(moments[later][:, later])
    return weight.float()


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("scheme", ["symmetric", "asymmetric"])
def test_gptq_is_round_then_least_squares_column_by_column(act_order, scheme):
    weight, inputs = layer()
    moments = inputs.T @ inputs
    known = factor(moments, act_order, damping=1e-6)
    damped = moments.double() + torch.eye(len(moments)) * 1e-6 * moments.diagonal().mean()
    grid = fit_grid(weight, 3, scheme)
    expected = least_squares_reference(weight, damped, known.order.tolist(), lambda column, current: grid)
    assert torch.allclose(gptq(weight, known, 3, scheme).values, expected, atol=1e-4)


@pytest.mark.parametrize("group", [8, 16])
def test_gptq_fixes_a_group_s_grid_from_the_corrected_weights(group):
    weight, inputs = layer()
    moments = inputs.T @ inputs
    damped = moments.double() + torch.eye(len(moments)) * 1e-6 * moments.diagonal().mean()
    grids = {}

    def grid_of(column, current):
        if column % group == 0:
            grids[column // group] = fit_grid(current[:, column : column + group].float(), 4)
        return grids[column // group]

    expected = least_squares_reference(weight, damped, range(32), grid_of)
    assert torch.allclose(gptq(weight, factor(moments, damping=1e-6), 4, granularity=group).values, expected, atol=1e-4)


def test_gptq_lies_between_the_best_grid_point_and_round_to_nearest():
    for seed in range(5):
        weight, inputs = layer(outputs=1, width=6, seed=seed)
        moments = inputs.T @ inputs
        grid = fit_grid(weight, 2)
        levels = grid.values(torch.arange(grid.low, grid.high + 1.0)).flatten()
        best = min(error(weight, torch.tensor([point]), inputs) for point in itertools.product(levels.tolist(), repeat=6))
        rounded = gptq(weight, factor(moments, damping=1e-6), 2).values
        assert set(rounded.flatten().tolist()) <= set(levels.tolist())
        assert best <= error(weight, rounded, inputs) * (1 + 1e-6)
        nearest = error(weight, round_to_grid(weight, 2), inputs)
        assert error(weight, rounded, inputs) < 1.5 * nearest  # greedy: not always better on one row


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_gptq_beats_round_to_nearest_on_correlated_inputs_and_equals_it_on_white_ones(bits):
    weight, inputs = layer(outputs=64, width=64, tokens=1000, seed=3)
    assert error(weight, gptq(weight, factor(inputs.T @ inputs), bits).values, inputs) < 0.7 * error(
        weight, round_to_grid(weight, bits), inputs
    )
    assert torch.equal(gptq(weight, factor(torch.eye(64)), bits).values, round_to_grid(weight, bits))


def test_blocks_do_not_change_the_result():
    weight, inputs = layer(width=64)
    known = factor(inputs.T @ inputs, act_order=True)
    whole = gptq(weight, known, 3).values
    assert torch.allclose(gptq(weight, known, 3, block_size=8).values, whole, atol=1e-5)


@pytest.mark.parametrize("act_order", [False, True])
@pytest.mark.parametrize("scheme", ["symmetric", "asymmetric"])
@pytest.mark.parametrize("granularity", ["tensor", "channel", 8])
@pytest.mark.parametrize(("width", "block_size"), [(32, 128), (200, 64)])
def test_several_at_once_are_what_each_is_alone(width, block_size, granularity, scheme, act_order):
    """Bit for bit, whatever is beside them: values and grids."""
    layers = [layer(outputs=12, width=width, seed=seed, spread=5.0) for seed in range(4)]
    weights, factors = [weight for weight, _ in layers], [factor(inputs.T @ inputs, act_order) for _, inputs in layers]
    found = gptq_batched(weights, factors, 3, scheme, granularity, block_size)
    for weight, known, together in zip(weights, factors, found, strict=True):
        alone = gptq(weight, known, 3, scheme, granularity, block_size)
        assert torch.equal(together.values, alone.values)
        assert torch.equal(together.grid.scale, alone.grid.scale)
        assert (together.grid.zero is None) is (alone.grid.zero is None)
        assert together.grid.zero is None or torch.equal(together.grid.zero, alone.grid.zero)
        codes = slices(alone.values, granularity)
        assert torch.allclose(together.grid.round(codes), codes, atol=1e-5)


def test_the_weight_that_was_given_is_left_alone():
    weight, inputs = layer()
    before = weight.clone()
    gptq(weight, factor(inputs.T @ inputs), 3)
    assert torch.equal(weight, before)


def test_static_groups_under_act_order_stay_on_the_original_grids():
    weight, inputs = layer(spread=20.0)
    rounded = gptq(weight, factor(inputs.T @ inputs, act_order=True), 3, granularity=8).values
    grid = fit_grid(slices(weight, 8), 3)
    assert torch.allclose(grid.round(slices(rounded, 8)), slices(rounded, 8), atol=1e-6)


def test_an_input_that_is_always_zero_is_rounded_to_nearest():
    weight, inputs = layer()
    inputs[:, 5] = 0
    rounded = gptq(weight, factor(inputs.T @ inputs), 3).values
    assert torch.isfinite(rounded).all()
    assert torch.equal(rounded[:, 5], round_to_grid(weight, 3)[:, 5])


def test_infinite_moments_are_refused():
    with pytest.raises(PliantError, match="infinities or NaN"):
        factor(torch.full((4, 4), float("inf")))
