"""GPTQ and AWQ against independent brute force on small matrices."""

import itertools

import pytest
import torch

from pliant.errors import PliantError
from pliant.quantization.awq import awq, output_error
from pliant.quantization.gptq import factor, gptq
from pliant.quantization.grid import fit_grid, round_to_grid, slices
from pliant.quantization.nearest import grid_levels, nearest


def layer(outputs=12, width=32, tokens=400, seed=0, spread=1.0):
    """A weight and correlated inputs (tokens, width)."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(width, width, generator=generator) * torch.linspace(1, spread, width)
    inputs = torch.randn(tokens, width, generator=generator) @ mixing
    return torch.randn(outputs, width, generator=generator), inputs


def error(weight, rounded, inputs):
    return float(((weight - rounded).double() @ inputs.T.double()).square().sum())


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
    assert torch.allclose(gptq(weight, factor(moments, damping=1e-6), 4, per=group).values, expected, atol=1e-4)


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


def test_blocks_do_not_change_the_result(monkeypatch):
    weight, inputs = layer(width=64)
    known = factor(inputs.T @ inputs, act_order=True)
    whole = gptq(weight, known, 3).values
    monkeypatch.setattr("pliant.quantization.gptq.LAZY", 8)
    assert torch.allclose(gptq(weight, known, 3).values, whole, atol=1e-5)


def test_static_groups_under_act_order_stay_on_the_original_grids():
    weight, inputs = layer(spread=20.0)
    rounded = gptq(weight, factor(inputs.T @ inputs, act_order=True), 3, per=8).values
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


@pytest.mark.parametrize("per", ["channel", 8])
@pytest.mark.parametrize("bits", [3, 4])
def test_awq_is_never_worse_than_round_to_nearest_and_wins_with_outlier_channels(bits, per):
    weight, inputs = layer(outputs=32, spread=1.0)
    inputs[:, 7] *= 50
    moments = inputs.T @ inputs
    rounded = awq(weight, moments, inputs.abs().mean(0), bits, per=per).values
    plain = round_to_grid(weight, bits, per=per)
    assert error(weight, rounded, inputs) < 0.8 * error(weight, plain, inputs)
    calm = torch.ones(32)
    assert error(weight, awq(weight, moments, calm, bits, per=per).values, inputs) <= error(weight, plain, inputs) * (1 + 1e-5)


def test_output_error_is_the_error_of_the_outputs():
    weight, inputs = layer()
    plain = round_to_grid(weight, 3)
    assert float(output_error(weight - plain, inputs.T @ inputs).sum()) == pytest.approx(error(weight, plain, inputs), rel=1e-4)


@pytest.mark.parametrize(("scheme", "half"), [("symmetric", 3.0), ("full_range", 3.5)])
def test_awq_is_the_best_of_a_search_by_hand(scheme, half):
    """Every exponent and then every clip tried on the inputs themselves, weight by weight, codes -4..3."""
    weight, inputs = layer(outputs=3, width=6, tokens=50, spread=8.0)
    weight, inputs = weight.double(), inputs.double()
    if scheme == "full_range":
        weight = weight.abs()  # the most negative weight would lie on the border between two values

    def rounded(row, stretch, share):
        step = share * max(abs(w * s) for w, s in zip(row, stretch, strict=True)) / half
        return [min(max(round(w * s / step), -4), 3) * step / s for w, s in zip(row, stretch, strict=True)]

    def loss(row, other):
        return sum(sum((w - q) * x for w, q, x in zip(row, other, sample, strict=True)) ** 2 for sample in inputs.tolist())

    magnitudes = [sum(abs(x) for x in column) / 50 for column in inputs.T.tolist()]
    candidates = []
    for step in range(20):
        stretch = [magnitude ** (step / 20) for magnitude in magnitudes]
        candidates.append((sum(loss(row, rounded(row, stretch, 1.0)) for row in weight.tolist()), stretch))
    _, stretch = min(candidates, key=lambda candidate: candidate[0])
    assert stretch != candidates[0][1], "round-to-nearest is best: nothing is tested"
    shares = [1 - step / 20 for step in range(11)]
    expected = [
        min((rounded(row, stretch, share) for share in shares), key=lambda other, row=row: loss(row, other)) for row in weight.tolist()
    ]
    assert scheme == "full_range" or any(
        loss(row, best) < loss(row, rounded(row, stretch, 1.0)) for row, best in zip(weight.tolist(), expected, strict=True)
    )
    found = awq(weight.float(), (inputs.T @ inputs).float(), inputs.abs().mean(0).float(), 3, scheme)
    assert torch.allclose(found.values, torch.tensor(expected), atol=1e-4)


def test_awq_does_not_depend_on_the_unit_of_the_inputs():
    weight, inputs = layer()
    rounded = awq(weight, inputs.T @ inputs, inputs.abs().mean(0), 3).values
    again = awq(weight, 1e4 * inputs.T @ inputs, 100 * inputs.abs().mean(0), 3).values
    assert torch.allclose(rounded, again, atol=1e-5)


@pytest.mark.parametrize("scheme", ["symmetric", "full_range", "asymmetric"])
@pytest.mark.parametrize("per", ["tensor", "channel", 8])
@pytest.mark.parametrize("method", ["nearest", "gptq", "gptq by activity", "awq"])
def test_every_method_returns_values_on_the_grid_it_names(method, per, scheme):
    weight, inputs = layer(spread=5.0)
    moments = inputs.T @ inputs
    if method == "nearest":
        rounded = nearest(weight, 3, scheme, per)
    elif method == "awq":
        rounded = awq(weight, moments, inputs.abs().mean(0), 3, scheme, per)
    else:
        rounded = gptq(weight, factor(moments, act_order="activity" in method), 3, scheme, per)
    on_grid = slices(rounded.values if rounded.stretch is None else rounded.values * rounded.stretch, per)
    codes = rounded.grid.codes(on_grid)
    assert torch.allclose(rounded.grid.values(codes), on_grid, atol=1e-5)
    assert rounded.grid.low <= codes.min()
    assert codes.max() <= rounded.grid.high
    assert rounded.grid.high - rounded.grid.low == 7


def test_rounded_weights_are_recognised_and_others_are_not():
    weight = torch.randn(96, 1024, generator=torch.Generator().manual_seed(0))
    assert grid_levels(nearest(weight, 4).values) in range(8, 17)
    assert grid_levels(nearest(weight, 4, per=32).values) in range(8, 17)
    assert grid_levels(nearest(weight, 8).values) in range(128, 257)
    assert grid_levels(weight) is None
    assert grid_levels(weight.bfloat16()) is None
    assert grid_levels(weight[:, :16]) is None
