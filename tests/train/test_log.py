import pickle
from math import inf, isnan, log, nan

import pytest
import torch

from pliant.train.log import Diverged, LossWatch, thin


def feed(watch, losses, lr=0.1):
    for loss in losses:
        watch.add(torch.tensor(loss), lr)


def test_a_loss_that_falls_is_kept():
    watch = LossWatch(log(100))
    feed(watch, [4.5, 4.0, 3.0])
    assert watch.losses == [4.5, 4.0, 3.0]


@pytest.mark.parametrize("bad", [nan, inf])
def test_stops_at_the_first_loss_that_is_no_number(bad):
    watch = LossWatch(log(100))
    with pytest.raises(Diverged, match="step 2") as caught:
        feed(watch, [4.5, 4.0, bad, 3.0], lr=0.25)
    assert (caught.value.step, caught.value.lr) == (2, 0.25)
    assert not caught.value.loss < inf


def test_stops_when_worse_than_guessing_for_long():
    uniform = log(100)
    watch = LossWatch(log(100))
    feed(watch, [2.0] * 30 + [uniform + 0.9] * 200 + [3.0] * 30)
    feed(watch, [50.0])  # one bad batch is not divergence: (19 x 3 + 50) / 20 = 5.35 < 4.6 + 1
    with pytest.raises(Diverged, match="knowing nothing"):
        feed(watch, [uniform + 2] * 20)


def test_a_network_that_starts_worse_than_guessing_may_stay_there():
    watch = LossWatch(log(100))
    feed(watch, [9.0] + [9.9] * 100)
    with pytest.raises(Diverged):
        feed(watch, [10.2] * 20)


def test_resumed_losses_count():
    watch = LossWatch(100, [2.0, 2.0])
    with pytest.raises(Diverged, match="step 2"):
        feed(watch, [nan])


def test_a_divergence_keeps_its_figures():
    error = Diverged("the loss is nan", 3, nan, 0.1).within("16M")
    for found in (error, pickle.loads(pickle.dumps(error))):
        assert str(found) == "16M: the loss is nan"
        assert isnan(found.loss)
        assert (found.step, found.lr) == (3, 0.1)


def test_thinned_losses_are_means():
    assert thin([1.0, 3.0, 5.0], 1000) == ([1.0, 3.0, 5.0], 1)
    assert thin([1.0, 3.0, 5.0, 7.0, 9.0], 2) == ([3.0, 8.0], 3)
    kept, every = thin([0.0] * 7812)
    assert (len(kept), every) == (977, 8)


def test_before_the_first_step_the_learning_rate_is_not_to_blame():
    with pytest.raises(Diverged, match="before the first step; the weights") as caught:
        feed(LossWatch(log(100)), [nan])
    assert "lower" not in str(caught.value)
