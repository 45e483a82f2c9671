"""When a trial has diverged, and at which step."""

import math
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_tune.regimes.data_facts import MNIST
from mnist_tune.regimes.divergence import LOSS_CEILING, finite_loss, has_diverged

lost = partial(has_diverged, batch_size=128, chance=MNIST.chance, images=MNIST.train_images)
"""Whether a trial on MNIST has diverged after an epoch."""


LOST = {"step": 1500, "train_loss": 2.5, "train_accuracy": 0.15, "above_since": 501}


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, False),
        ({"finite": False}, True),
        ({"train_loss": 240.0}, True),
        ({"train_loss": 239.0}, False),
        (LOST, True),
        (LOST | {"above_since": 502}, False),
        (LOST | {"above_since": None}, False),
        (LOST | {"train_accuracy": 0.16}, False),
        (LOST | {"train_loss": 2.4}, False),
    ],
)
def test_has_diverged(epoch_row, values, expected):
    assert lost(epoch_row(2, **values)) is expected


def test_steps_of_few_images_count_by_their_images(epoch_row):
    row = epoch_row(2, **LOST)
    assert lost(row, batch_size=64) is False
    assert lost(row | {"step": 2500}, batch_size=64) is True
    assert lost(row, batch_size=2048) is True


@given(st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, LOSS_CEILING, LOSS_CEILING * 1.01]))
def test_schedulers_see_finite_losses(loss):
    assert math.isfinite(finite_loss(loss))
    assert finite_loss(loss) <= LOSS_CEILING
    if abs(loss) <= LOSS_CEILING:
        assert finite_loss(loss) == loss
