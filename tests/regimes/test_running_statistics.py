"""Running statistics of batch norm that lag: recorded curves, and what looks
similar."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from real_curves import SWEEPS, data_of
from text_tables import blocks, numbers

from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.running_statistics import lagging

IMAGES = 4000
DATA = DataFacts.of([IMAGES // 10] * 10, 1000)

# a convolutional network on mnist-5k, and curves that are made up: the evaluated
# training loss, and the largest batch loss of each epoch
LOSSES_TEXT = """
momentum 0.99, 32 steps an epoch, Adam at 0.001
    1.5431 1.1803 0.9733 0.8100 0.6606 0.5176 0.4116 0.3203 0.2545 0.1742
    2.5221 0.5842 0.4013 0.3179 0.1978 0.1585 0.1130 0.0948 0.0762 0.0624

momentum 0.99, 32 steps an epoch, Adam at 0.01, whose last evaluation happens to be good
    0.2775 0.1723 0.2730 0.1971 0.1772 0.2158 0.3401 0.0585 0.1474 0.0173
    2.5221 0.2170 0.1716 0.1445 0.1249 0.0944 0.0490 0.0321 0.0191 0.0343

momentum 0.99, 125 steps an epoch
    0.6010 0.2421 0.1130 0.0502 0.0362 0.0208
    2.5393 0.5142 0.3601 0.3843 0.2984 0.2258

calm, and then it rises for good
    0.9 0.6 0.5 0.9 1.4 2.0
    2.3 0.95 0.65 0.9 1.3 1.9

one late accident
    0.9 0.6 0.5 0.4 0.9 0.3
    2.3 1.0 0.7 0.6 0.5 0.85
"""
LOSSES = {title: [*map(numbers, lines)] for title, lines in blocks(LOSSES_TEXT)}


def lags(evaluated, largest, **settings):
    trials = pd.DataFrame({"trial_id": ["a"], "holdout": [0]}).assign(**settings)
    epochs = pd.DataFrame({"train_loss": evaluated, "step_loss_max": largest})
    epochs["trial_id"] = "a"
    epochs["epoch"] = np.arange(len(epochs)) + 1
    last_first = epochs.iloc[::-1]
    return bool(lagging(trials, last_first, DATA).item())


@pytest.mark.parametrize("name", LOSSES)
def test_statistics_lag_where_both_evaluations_about_an_epoch_are_above_all_its_batches(
    name,
):
    evaluated, largest = LOSSES[name]
    assert lags(evaluated, largest) == name.startswith("momentum 0.99, 32")


def test_nothing_is_said_of_one_epoch_or_without_batch_losses():
    evaluated, largest = LOSSES["momentum 0.99, 32 steps an epoch, Adam at 0.001"]
    unknown = [np.nan] * 10
    assert lags(evaluated[:2], largest[:2])
    assert not lags(evaluated[:1], largest[:1])
    assert not lags(evaluated, unknown)
    assert not lags(unknown, largest)


@pytest.mark.parametrize("name", SWEEPS)
def test_no_recorded_network_without_batch_norm_lags(name):
    trials, epochs = SWEEPS[name]
    trained_on_all = trials.assign(holdout=0)
    assert not lagging(trained_on_all, epochs, data_of(trials)).any()


@given(st.floats(0.01, 3), st.integers(1, 40), st.integers(0, 2**32))
def test_a_network_that_stands_still_does_not_lag(loss, steps, seed):
    """Its batch losses average to the evaluated one, so the largest is not below it."""
    batches = np.random.default_rng(seed).exponential(loss, steps)
    evaluated = [batches.mean()] * 6
    assert not lags(evaluated, [batches.max()] * 6)
