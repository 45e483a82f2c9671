"""ASHA, also when it is resumed, and the stop reasons of trials."""

import math
import re
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ray.tune.schedulers import AsyncHyperBandScheduler, HyperBandScheduler, MedianStoppingRule

from mnist_tune import TrialConfig, UserError
from mnist_tune.regimes.divergence import LOSS_CEILING, finite_loss
from mnist_tune.tuning.past import Past
from mnist_tune.tuning.stopping import asha, check_metric, early, keeping_ids, scheduler_name, stop_reason


@given(st.floats() | st.sampled_from([math.nan, math.inf, -math.inf, LOSS_CEILING, LOSS_CEILING * 1.01]))
def test_schedulers_see_finite_losses(loss):
    assert math.isfinite(finite_loss(loss))
    assert finite_loss(loss) <= LOSS_CEILING
    if abs(loss) <= LOSS_CEILING:
        assert finite_loss(loss) == loss


@pytest.mark.parametrize(
    ("epoch", "diverged", "reason"),
    [(1, False, ""), (3, False, "completed"), (1, True, "diverged"), (3, True, "diverged")],
)
def test_stop_reason(epoch, diverged, reason):
    assert stop_reason(epoch, 3, diverged) == reason


@pytest.mark.parametrize(
    ("scheduler", "name"),
    [
        (None, "fifo"),
        (asha(8, 2), "asha"),
        (AsyncHyperBandScheduler(), "asha"),
        (HyperBandScheduler(), "hyperband"),
        (MedianStoppingRule(), "medianstopping"),
    ],
)
def test_the_name_of_a_scheduler(scheduler, name):
    assert scheduler_name(scheduler, "fifo") == name


def test_a_trial_that_copies_another_ones_config_keeps_its_id():
    trial, donor = (
        SimpleNamespace(trial_id="tunes", config={"trial": {"trial_id": name, "learning_rate": rate}})
        for name, rate in (("00000", 0.1), ("00001", 0.2))
    )
    scheduler = SimpleNamespace(_get_new_config=lambda trial, donor: (donor.config, {"learning_rate": "copied"}))
    config, operations = keeping_ids(scheduler)._get_new_config(trial, donor)
    assert config == {"trial": {"trial_id": "00000", "learning_rate": 0.2}}
    assert operations == {"learning_rate": "copied"}


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
    for user in (None, asha(8, 2), AsyncHyperBandScheduler(metric="test_accuracy", mode="max"), MedianStoppingRule()):
        check_metric(user)


def test_a_trial_is_stopped_for_the_reason_that_is_given_and_its_own_end_is_told():
    taken, reasons = [], {}

    def take(trial_id, config, row, repeated):
        taken.append((trial_id, row["epoch"], repeated))
        return "slow" if row["epoch"] == 2 else ""

    scheduler, config = early(take, reasons), TrialConfig()
    trial = SimpleNamespace(trial_id="tunes", config={"trial": {"trial_id": "a"}})
    rows = [{"epoch": epoch, "trial_config": config, "repeated": epoch == 2} for epoch in (1, 2, 3)]
    assert [scheduler.on_trial_result(None, trial, row) for row in rows[:2]] == ["CONTINUE", "STOP"]
    scheduler.on_trial_complete(None, trial, rows[2])
    cannot_train = {"epoch": 0, "scheduler_loss": LOSS_CEILING}
    assert scheduler.on_trial_result(None, trial, cannot_train) == "CONTINUE"
    scheduler.on_trial_complete(None, trial, cannot_train)
    assert taken == [("a", 1, False), ("a", 2, True), ("a", 3, True)]
    assert reasons == {"a": "slow"}


def test_asha_counts_the_last_row_of_a_trial_and_forgets_one_that_is_removed():
    scheduled = Scheduled("ab")
    result = {"epoch": 2, "scheduler_loss": 0.1}
    scheduled.scheduler.on_trial_complete(None, scheduled.trials["a"], result)
    assert scheduled.rungs()[2] == [-0.1]
    scheduled.scheduler.on_trial_remove(None, scheduled.trials["b"])
    with pytest.raises(KeyError):
        scheduled.decide("b", 1, 0.1)


class Scheduled:
    """A scheduler with made-up Tune trials, whose Tune ids differ from ours."""

    def __init__(self, trials, epochs=8, grace_period=2, past_rows=(), session="a"):
        past = pd.DataFrame(past_rows, columns=["trial_id", "epoch", "train_loss"])
        self.scheduler = asha(epochs, grace_period, Past(rows=past) if past_rows else None)
        self.trials = {
            trial: SimpleNamespace(trial_id=f"{session}_{trial}", config={"trial": {"trial_id": trial}})
            for trial in trials
        }
        for tune_trial in self.trials.values():
            self.scheduler.on_trial_add(None, tune_trial)

    def decide(self, trial, epoch, loss, repeated=False):
        result = {"epoch": epoch, "train_loss": loss, "scheduler_loss": finite_loss(loss), "repeated": repeated}
        result["trial_config"] = TrialConfig()
        return self.scheduler.on_trial_result(None, self.trials[trial], result)

    def rungs(self):
        (bracket,) = self.scheduler._brackets
        return {milestone: sorted(recorded.values()) for milestone, recorded in bracket._rungs}


@pytest.mark.parametrize("loss", [math.nan, math.inf, 1e30, 5.0])
def test_asha_stops_a_diverged_trial(loss):
    scheduled = Scheduled("abc")
    assert scheduled.decide("a", 1, loss) == "CONTINUE"
    assert [scheduled.decide("b", epoch, 0.5) for epoch in (1, 2)] == ["CONTINUE"] * 2
    assert scheduled.decide("a", 2, loss) == "STOP"
    assert scheduled.decide("c", 2, 0.4) == "CONTINUE"
    assert np.isfinite(scheduled.rungs()[2]).all()


def test_asha_rungs_double_from_the_grace_period():
    assert sorted(Scheduled("a", epochs=20, grace_period=5).rungs()) == [5, 10, 20]
    assert sorted(Scheduled("a", epochs=3, grace_period=5).rungs()) == [3]


def test_asha_does_not_decide_a_repeated_row_again():
    past = [{"trial_id": trial, "epoch": 2, "train_loss": loss} for trial, loss in (("a", 0.1), ("b", 9.0))]
    scheduled = Scheduled("ab", past_rows=past)
    assert scheduled.decide("b", 2, 9.0, repeated=True) == "CONTINUE"
    assert scheduled.rungs()[2] == [-9.0, -0.1]


def run(scheduled, curves, stopped, epochs):
    """Run one epoch of every trial after the other. Return the decisions by (trial, epoch), and the rows."""
    decisions, rows = {}, []
    for epoch in epochs:
        for trial, losses in curves.items():
            if trial in stopped:
                continue
            decisions[trial, epoch] = scheduled.decide(trial, epoch, losses[epoch - 1])
            rows.append({"trial_id": trial, "epoch": epoch, "train_loss": losses[epoch - 1]})
            if decisions[trial, epoch] == "STOP":
                stopped.add(trial)
    return decisions, rows


SOME_LOSSES = st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.5, 2.0, math.nan]), min_size=7, max_size=7)


@settings(max_examples=50)
@given(st.lists(SOME_LOSSES, min_size=2, max_size=6), st.integers(1, 6))
def test_asha_decides_the_same_after_a_resume(losses, cut):
    curves = {f"{i:05d}": values for i, values in enumerate(losses)}
    uninterrupted, stopped = Scheduled(curves), set()
    _, rows = run(uninterrupted, curves, stopped, range(1, cut + 1))
    left = {trial: values for trial, values in curves.items() if trial not in stopped}
    resumed = Scheduled(left, past_rows=rows, session="b")
    expected, _ = run(uninterrupted, left, set(), range(cut + 1, 8))
    found, _ = run(resumed, left, set(), range(cut + 1, 8))
    assert found == expected
    if left:
        assert resumed.rungs() == uninterrupted.rungs()
