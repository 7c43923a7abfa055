"""The one-layer model of `context_need_filter`, against what its formulas say by hand."""

from __future__ import annotations

import numpy as np
import pytest

from pliant.findings.context_need_filter import COPIED, EACH, RECALLED, WIDTH, made


@pytest.fixture(scope="module")
def task():
    return made(5)


def test_the_gradient_is_that_of_the_loss(task):
    generator = np.random.default_rng(0)
    keys, direction = generator.standard_normal((2, WIDTH))
    step = 1e-5
    ends = [task.examples.losses(keys + sign * step * direction).mean() for sign in (1, -1)]
    assert task.examples.gradient(keys) @ direction == pytest.approx((ends[0] - ends[1]) / (2 * step), rel=1e-6)


def test_need_before_tuning_is_the_closed_form(task):
    """Attention is a third each, and a half each without the context; of an unknown subject nothing is left but a guess."""
    known = np.random.default_rng(5).lognormal(0, 0.2, 3 * EACH)[: 2 * EACH] * (np.arange(2 * EACH) >= EACH)
    logits = [np.sqrt(0.5) * RECALLED * known / 2, np.sqrt(0.5) * (COPIED + RECALLED * known) / 3]
    without, given = (np.log(np.exp(value) + 3 * EACH - 1) - value for value in logits)
    np.testing.assert_allclose(task.need(), without - given, rtol=1e-12)
    assert without[0] == pytest.approx(np.log(3 * EACH))


def test_reliance_begins_where_attention_is_even_and_examples_without_memory_only_raise_it(task):
    known = np.random.default_rng(5).lognormal(0, 0.2, 3 * EACH)[2 * EACH :]
    curves = task.reliance(np.arange(EACH))
    np.testing.assert_allclose(curves[0], 1 / (1 + np.exp(np.sqrt(0.5) * (RECALLED * known - COPIED) / 3)), rtol=1e-12)
    assert (np.diff(curves.mean(axis=1)) > 0).all()
