"""What searchers and schedulers may look at."""

import re

import pytest
from ray import tune
from ray.tune.schedulers import AsyncHyperBandScheduler, MedianStoppingRule
from ray.tune.search import Repeater, Searcher

from mnist_tune import TrialConfig, UserError
from mnist_tune.tuning.searcher import KnownThenSearched, check_metric


def looks_at(metric):
    return AsyncHyperBandScheduler(metric=metric, mode="max")


@pytest.mark.parametrize(
    ("user", "line"),
    [
        (
            looks_at("test_acuracy"),
            "'test_acuracy', which no epoch has; did you mean 'test_accuracy'?",
        ),
        (
            AsyncHyperBandScheduler(time_attr="epochs"),
            "'epochs', which no epoch has; did you mean 'epoch'?",
        ),
        (
            looks_at("validation_loss"),
            "which no epoch of this sweep has: no examples are held out; give 'holdout'",
        ),
        (
            looks_at("sharpness"),
            "'sharpness', which no epoch of this sweep has; measure it",
        ),
        (looks_at("score_kl"), "'score_kl', which no epoch has"),
    ],
)
def test_a_metric_that_no_epoch_of_this_sweep_has_is_one_line(user, line):
    with pytest.raises(UserError, match=re.escape(line)):
        check_metric(user, TrialConfig(), measured=False)


@pytest.mark.parametrize(
    "metric", ["test_accuracy", "validation_loss", "sharpness", "score_kl"]
)
def test_metrics_that_an_epoch_has_are_taken(metric):
    for user in (None, MedianStoppingRule(), looks_at(metric)):
        check_metric(
            user, TrialConfig(holdout=100), measured=True, rank_by="score_kl:min"
        )


def test_the_searcher_of_tunes_repeater_gets_the_mean_of_the_repeats():
    heard = []

    class Heard(Searcher):
        def suggest(self, trial_id):
            return {"trial": {"learning_rate": 0.1}}

        def on_trial_complete(self, trial_id, result=None, error=False):
            heard.append((result["train_loss"], error))

    search = KnownThenSearched(
        {}, Repeater(Heard("train_loss", "min"), repeat=2), slots=2
    )
    for name, loss in (("a", 1.0), ("b", 3.0)):
        search.suggest(name)
        search.on_trial_complete(name, {"train_loss": loss})
    assert heard == [(2.0, False)]


def test_what_is_proposed_is_recorded_with_the_values_that_nobody_searches():
    class Proposes(Searcher):
        def suggest(self, trial_id):
            return {"trial": {"learning_rate": 0.3}}

    recorded = []
    search = KnownThenSearched({}, Proposes(), record=recorded.append)
    search.set_search_properties(
        None, None, {"trial": {"learning_rate": tune.uniform(0, 1), "epochs": 2}}
    )
    assert search.suggest("a") == {"trial": recorded[0]}
    assert recorded == [{"trial_id": "00000", "epochs": 2, "learning_rate": 0.3}]
