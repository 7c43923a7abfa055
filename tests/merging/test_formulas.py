"""The formulas of merging against the papers', written once more over whole tensors, and the identities that they have."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from pliant.errors import PliantError
from pliant.merging import pieces
from pliant.merging.formulas import FORMULAS, Setting
from pliant.merging.pieces import Entry, Tensors


class Held:
    """One tensor in memory, called w."""

    def __init__(self, tensor: torch.Tensor, address: str = "held") -> None:
        self.tensor, self.address = tensor, address
        self.entries = {"w": Entry(tuple(tensor.shape), str(tensor.dtype).removeprefix("torch."))}

    def read(self, name: str, begin: int, end: int) -> torch.Tensor:
        return self.tensor.reshape(-1)[begin:end]


def merged(method: str, base, others, weight, shares=None, density=1.0, seed="0 0") -> torch.Tensor:
    base, *others = (torch.as_tensor(one, dtype=torch.float32) for one in (base, *others))
    tensors = Tensors("w", Held(base), [Held(other) for other in others])
    combine = FORMULAS[method].of(tensors, Setting(weight, tuple(shares or [1.0] * len(others)), density, seed))
    found = torch.cat([combine(was, these) for _, was, these in tensors.pieces()])
    return found.to(torch.float32).view(base.shape)


def drawn(count: int, shape=(7, 5), seed=0, close=0.1) -> list[torch.Tensor]:
    """A base and checkpoints near it."""
    generator = torch.Generator().manual_seed(seed)
    base = torch.randn(shape, generator=generator)
    return [base, *(base + close * torch.randn(shape, generator=generator) for _ in range(count - 1))]


@pytest.fixture(autouse=True)
def small_pieces(monkeypatch):
    """Tensors of several pieces, the last one shorter."""
    monkeypatch.setattr(pieces, "PIECE", 8)


# the formulas once more


def expected(method: str, base, others, weight, shares, density) -> np.ndarray:
    b, o, s = base.double().numpy(), [other.double().numpy() for other in others], np.array(shares)[:, None, None]
    d = np.stack(o) - b
    if method == "linear":
        return np.average(np.stack([b, *o]), axis=0, weights=[1, *(weight * np.array(shares))])
    if method == "wise_ft":
        return b + weight * d[0]
    if method == "task_arithmetic":
        return b + weight * (s * d).sum(0)
    if method == "slerp":
        angle = math.acos((b * o[0]).sum() / np.linalg.norm(b) / np.linalg.norm(o[0]))
        return (math.sin((1 - weight) * angle) * b + math.sin(weight * angle) * o[0]) / math.sin(angle)
    kept = np.zeros_like(d)
    for place, one in enumerate(d):
        largest = np.argsort(-np.abs(one), axis=None)[: max(1, int(density * one.size))]
        kept[place].flat[largest] = one.flat[largest]
    sign = np.where((s * kept).sum(0) >= 0, 1, -1)
    agrees = np.sign(kept) == sign
    weights = (s * agrees).sum(0)
    return b + weight * np.divide((s * kept * agrees).sum(0), weights, out=np.zeros_like(b), where=weights != 0)


@pytest.mark.parametrize(
    ("method", "count", "weight", "shares", "density"),
    [
        ("linear", 3, 0.7, [1.0, 2.0], 1),
        ("wise_ft", 2, 0.3, [1.0], 1),
        ("slerp", 2, 0.3, [1.0], 1),
        ("task_arithmetic", 4, 0.4, [1.0, -0.5, 2.0], 1),
        ("ties", 4, 1.3, [1.0, 1.0, 1.0], 0.4),
        ("ties", 4, -0.6, [0.5, 2.0, 1.0], 0.2),
        ("ties", 3, 1, [1.0, 1.0], 1),
    ],
)
def test_every_formula_is_the_published_one(method, count, weight, shares, density):
    base, *others = drawn(count, close=2.0)
    found = merged(method, base, others, weight, shares, density)
    np.testing.assert_allclose(found, expected(method, base, others, weight, shares, density), rtol=1e-6, atol=1e-7)


# identities


@pytest.mark.parametrize("method", FORMULAS)
def test_a_model_merged_with_itself_is_itself(method):
    base, *_ = drawn(1)
    others = [base] if FORMULAS[method].single else [base, base, base]
    assert torch.equal(merged(method, base, others, 0.7, density=0.3), base)


@pytest.mark.parametrize("method", FORMULAS)
def test_weight_zero_is_the_model(method):
    base, *others = drawn(2 if FORMULAS[method].single else 4)
    assert torch.equal(merged(method, base, others, 0.0, density=0.3), base)


@pytest.mark.parametrize("method", ["wise_ft", "slerp", "task_arithmetic", "ties", "dare_linear", "dare_ties"])
def test_weight_one_of_one_checkpoint_is_that_checkpoint(method):
    base, other = drawn(2)
    assert torch.equal(merged(method, base, [other], 1.0), other)


@pytest.mark.parametrize("method", ["linear", "task_arithmetic", "ties"])
def test_the_order_of_checkpoints_does_not_matter(method):
    base, *others = drawn(4, close=1.0)
    forward = merged(method, base, others, 0.8, [1.0, 2.0, 3.0], 0.4)
    assert torch.allclose(forward, merged(method, base, others[::-1], 0.8, [3.0, 2.0, 1.0], 0.4), rtol=1e-7, atol=0)


def test_linear_is_the_soup_of_all_whoever_is_the_model():
    one, two, three = drawn(3)
    soup = torch.stack([one, two, three]).double().mean(0).float()
    for model, others in ((one, [two, three]), (three, [one, two])):
        assert torch.equal(merged("linear", model, others, 1.0), soup)


def test_slerp_keeps_norms_and_divides_the_angle():
    generator = torch.Generator().manual_seed(0)
    one, other = (3 * vector / vector.norm() for vector in torch.randn(2, 40, generator=generator, dtype=torch.float64))
    angle = math.acos(float(one @ other) / 9)
    for weight in (0.25, 0.5, 0.9):
        found = merged("slerp", one.float(), [other.float()], weight).double()
        assert float(found.norm()) == pytest.approx(3, rel=1e-6)
        assert math.acos(float(found @ one) / 9) == pytest.approx(weight * angle, rel=1e-5)


def test_slerp_of_parallel_tensors_is_linear_and_of_zeros_at_a_right_angle():
    one = torch.arange(1.0, 12.0)
    assert torch.allclose(merged("slerp", one, [2 * one], 0.25), 1.25 * one)
    assert torch.allclose(merged("slerp", torch.zeros(11), [one], 0.5), one / math.sqrt(2))


# TIES by hand


def test_ties_by_hand():
    """Five numbers, density 0.6 keeps three of each: the two smallest changes of each are trimmed.

    a: [3, -1, 0.5, 2, 0.1] -> [3, -1, 0, 2, 0];  b: [-1, -2, 4, 0.2, 0.3] -> [-1, -2, 4, 0, 0].
    Sums [2, -3, 4, 2, 0], so the means of those that agree are [3, -1.5, 4, 2, 0].
    """
    base = torch.ones(5)
    others = [base + torch.tensor([3, -1, 0.5, 2, 0.1]), base + torch.tensor([-1, -2, 4, 0.2, 0.3])]
    assert torch.allclose(merged("ties", base, others, 1.0, density=0.6), base + torch.tensor([3, -1.5, 4, 2, 0]))
    assert torch.allclose(merged("ties", base, others, 0.5, density=0.6), base + torch.tensor([1.5, -0.75, 2, 1, 0]))
    # with weights 1 and 4 the first number's sum is 3 - 4 < 0, the second's mean (-1 - 8) / 5
    assert torch.allclose(merged("ties", base, others, 1.0, [1, 4], 0.6), base + torch.tensor([-1, -1.8, 4, 2, 0]))


def test_votes_that_cancel_count_as_plus_and_equal_magnitudes_are_all_kept():
    base = torch.zeros(4)
    assert torch.equal(merged("ties", base, [[1.0, 0, 0, 0], [-1.0, 0, 0, 0]], 1.0), torch.tensor([1.0, 0, 0, 0]))
    assert torch.equal(merged("ties", base, [[2.0, -2, 2, 1]], 1.0, density=0.25), torch.tensor([2.0, -2, 2, 0]))


# DARE


def test_dare_drops_by_seed_and_keeps_the_expectation():
    base, other = torch.zeros(6000), torch.linspace(1, 2, 6000)
    once = merged("dare_linear", base, [other], 1.0, density=0.25, seed="0 0")
    assert torch.equal(once, merged("dare_linear", base, [other], 1.0, density=0.25, seed="0 0"))
    assert not torch.equal(once, merged("dare_linear", base, [other], 1.0, density=0.25, seed="1 0"))
    kept = once != 0
    assert torch.allclose(once[kept], 4 * other[kept])
    assert abs(float(kept.double().mean()) - 0.25) < 4 * math.sqrt(0.25 * 0.75 / 6000)
    deviation = math.sqrt(3 * float((other**2).sum())) / 6000  # of the mean: variance x^2 (1 - p) / p each
    assert abs(float(once.double().mean()) - 1.5) < 4 * deviation


def test_dare_drops_for_each_checkpoint_anew_and_elects_signs():
    base, other = torch.zeros(4000), torch.ones(4000)
    both = merged("dare_linear", base, [other, other], 1.0, density=0.5)
    shares = [float((both == value).double().mean()) for value in (0, 2, 4)]
    assert np.allclose(shares, [0.25, 0.5, 0.25], atol=0.03)
    ties = merged("dare_ties", base, [other, -other], 1.0, density=0.5)
    assert sorted(set(ties.tolist())) == [-2, 0, 2]  # the mean of those that agree: never the sum of both
    assert float((ties == 2).double().mean()) == pytest.approx(0.5, abs=0.03)  # alone, or against a minus: a tie is a plus


# numbers


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("place", [0, 30])
def test_numbers_that_are_none_are_named(bad, place):
    base, other = drawn(2)
    other = other.clone()
    other.view(-1)[place] = bad
    tensors = Tensors("w", Held(base), [Held(other, "./diverged")])
    with pytest.raises(PliantError, match=r"\./diverged: w holds what is not a finite number"):
        list(tensors.pieces())


def test_scalars_and_empty_tensors_are_tensors():
    assert float(merged("slerp", torch.tensor(2.0), [torch.tensor(3.0)], 0.5)) == 2.5
    tensors = Tensors("w", Held(torch.zeros(0, 3)), [Held(torch.zeros(0, 3))])
    assert list(tensors.pieces()) == []
    for formula in FORMULAS.values():
        formula.of(tensors, Setting(0.5, (1.0,), 0.5))


def test_a_share_below_zero_takes_away():
    base, other = drawn(2)
    assert torch.allclose(merged("task_arithmetic", base, [other], 1.0, [-1.0]), 2 * base - other, atol=1e-6)
