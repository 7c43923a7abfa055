"""AWQ against a search by hand on small matrices."""

import pytest
import torch
from matrices import error, layer

from pliant.quantization.awq import awq, output_error
from pliant.quantization.grid import round_to_grid


@pytest.mark.parametrize("granularity", ["channel", 8])
@pytest.mark.parametrize("bits", [3, 4])
def test_awq_is_never_worse_than_round_to_nearest_and_wins_with_outlier_channels(bits, granularity):
    weight, inputs = layer(outputs=32, spread=1.0)
    inputs[:, 7] *= 50
    moments = inputs.T @ inputs
    rounded = awq(weight, moments, inputs.abs().mean(0), bits, granularity=granularity).values
    plain = round_to_grid(weight, bits, granularity=granularity)
    assert error(weight, rounded, inputs) < 0.8 * error(weight, plain, inputs)
    calm = awq(weight, moments, torch.ones(32), bits, granularity=granularity).values
    assert error(weight, calm, inputs) <= error(weight, plain, inputs) * (1 + 1e-5)


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
