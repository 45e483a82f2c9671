"""What searchers and schedulers may look at."""

import re

import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule

from mnist_tune import UserError
from mnist_tune.tuning.searcher import check_metric


@pytest.mark.parametrize(
    ("user", "said"),
    [
        (
            AsyncHyperBandScheduler(metric="test_acuracy", mode="max"),
            "'test_acuracy', which no epoch has; did you",
        ),
        (AsyncHyperBandScheduler(time_attr="epochs"), "'epochs', which no epoch has; did you mean 'epoch'?"),
    ],
)
def test_a_mistyped_metric_is_one_line(user, said):
    with pytest.raises(UserError, match=re.escape(said)):
        check_metric(user)


def test_metrics_that_an_epoch_has_are_taken():
    for user in (None, AsyncHyperBandScheduler(metric="test_accuracy", mode="max"), MedianStoppingRule()):
        check_metric(user)
