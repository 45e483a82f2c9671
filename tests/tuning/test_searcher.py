"""What searchers and schedulers may look at."""

import re

import pytest
from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule
from ray.tune.search import Repeater, Searcher

from mnist_tune import TrialConfig, UserError
from mnist_tune.tuning.searcher import KnownThenSearched, check_metric


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
        check_metric(user, TrialConfig(), measured=False)


@pytest.mark.parametrize(
    ("metric", "said"), [("validation_accuracy", "no images are held out; give 'holdout'"), ("sharpness", "measure it")]
)
def test_a_metric_that_no_epoch_of_this_sweep_has_is_one_line(metric, said):
    user = AsyncHyperBandScheduler(metric=metric, mode="max")
    with pytest.raises(UserError, match=re.escape(f"{metric!r}, which no epoch of this sweep has") + f".*{said}"):
        check_metric(user, TrialConfig(), measured=False)
    check_metric(user, TrialConfig(holdout=100), measured=True)


def test_the_searcher_of_tunes_repeater_gets_the_mean_of_the_repeats():
    heard = []

    class Heard(Searcher):
        def suggest(self, trial_id):
            return {"trial": {"learning_rate": 0.1}}

        def on_trial_complete(self, trial_id, result=None, error=False):
            heard.append((result["train_loss"], error))

    search = KnownThenSearched({}, Repeater(Heard("train_loss", "min"), repeat=2), slots=2)
    for name, loss in (("a", 1.0), ("b", 3.0)):
        search.suggest(name)
        search.on_trial_complete(name, {"train_loss": loss})
    assert heard == [(2.0, False)]


def test_metrics_that_an_epoch_has_are_taken():
    for user in (None, AsyncHyperBandScheduler(metric="test_accuracy", mode="max"), MedianStoppingRule()):
        check_metric(user, TrialConfig(), measured=False)
