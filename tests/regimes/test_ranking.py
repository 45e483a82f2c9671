"""What tasks are compared by: losses and scores of their own, by one rule with
accuracies."""

import math

import numpy as np
import pandas as pd
import pytest

from mnist_tune import SweepOptions, UserError
from mnist_tune.regimes.contest import Contest
from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.measured_edge import PILOT, Learned
from mnist_tune.regimes.ranking import Ranking
from mnist_tune.training.rising_rate import Ramp, RangeCurve
from mnist_tune.trial import TrialConfig

LOSS = Ranking.of(False)


def test_higher_is_better_whatever_is_compared():
    rows = pd.DataFrame(
        {"validation_loss": [2.0, -1.0, math.inf], "score_kl": [1.0, 5.0, 3.0]}
    )
    assert LOSS.scores(rows, "validation")[:2].tolist() == [-2.0, 1.0]
    assert math.isnan(LOSS.scores(rows, "validation")[2]), (
        "what is not finite has no score"
    )
    assert Ranking.of(False, "score_kl:max").scores(rows, "validation").tolist() == [
        1.0,
        5.0,
        3.0,
    ]
    assert (
        Ranking.of(True, "score_kl:min").score_of({"score_kl": 4.0}, "validation")
        == -4.0
    )
    assert [one.difference(2e-6) for one in (Ranking.of(True), LOSS)] == [
        "0.0001",
        "2e-06",
    ]
    assert [*map(Ranking.of(True).difference, (1e-16, -2e-6, 0.0123))] == [
        "0.0000",
        "-0.0001",
        "0.0123",
    ]
    for wrong in ("loss:min", "score_kl", "score_KL:min", "score_kl:least"):
        with pytest.raises(
            UserError, match="--rank-by must be score_NAME:min or score_NAME:max"
        ):
            SweepOptions(rank_by=wrong)


def decided(losses, error=0.02, guess=math.inf, spread=0.01, untrained=math.nan):
    """Return a contest of settings with these losses, once it is over."""
    settings = [
        TrialConfig(learning_rate=0.1 * 2**k, holdout=100) for k in range(len(losses))
    ]
    one = Contest(
        settings,
        DataFacts(1, 1, 0.0, {"cross-entropy": guess}, None, by_accuracy=False),
        2,
        60,
    )
    for number, (order, setting) in enumerate(one.asked):  # which grows meanwhile
        noise = spread * np.random.default_rng([order, setting]).normal()
        row = {
            "validation_loss": losses[setting] + noise,
            "loss_error": error,
            "stop_reason": "completed",
        }
        row |= {"train_loss": losses[setting], "untrained_loss": untrained}
        one.tell(
            number,
            row | ({"stop_reason": "diverged"} if math.isinf(losses[setting]) else {}),
        )
    return one


def test_a_decision_of_losses_takes_the_least_within_half_an_error():
    found = decided([1.0, 0.5, math.inf, -0.2])
    assert (int(found.decision.leader), found.settled) == (3, True)
    assert found.decision.tolerance == pytest.approx(0.01)
    assert found.decision.failures.tolist()[2] >= 2


def test_a_trial_has_failed_if_it_learned_nothing_beside_a_guess_or_ended_above_its_untrained_loss():
    for fails, given in (
        (1, {"guess": 1.0}),
        (0, {}),
        (1, {"untrained": 0.92}),
        (0, {"untrained": 0.94}),
    ):
        assert (
            decided([0.1, 0.99], spread=0, **given).decision.failures[1] >= 2
        ) == fails, "by more than noise"


@pytest.mark.parametrize(("least", "half"), [(0.2, 0.6), (-3.0, -1.0), (1e-4, 1e-2)])
def test_a_trial_of_a_task_has_learned_half_way_to_the_least_loss_of_the_pilot(
    least, half
):
    """If a loss falls far, that is half-way by its logarithm."""

    def row(loss):
        return {
            "train_loss": loss,
            "untrained_loss": 1.0,
            "diverged": False,
            "train_accuracy": math.nan,
            "epoch": 3,
        }

    pilot = [
        (0.1 * rate, row(loss))
        for rate, loss in zip(PILOT, (math.inf, least, half, 1.0), strict=True)
    ]
    learned = Learned(math.inf, best=None).fixed_by(pilot)
    assert learned.best == least
    assert learned.holds(row(half - 0.05 * abs(half)))
    assert not learned.holds(row(half + 0.05 * abs(half)))
    assert (
        Learned(math.inf, best=None).fixed_by([(rate, row(1.0)) for rate, _ in pilot])
        is None
    )


def test_the_range_test_of_a_task_ends_half_way_back_whatever_the_sign():
    ramp, noise = Ramp(steps=400), 0.05 * np.random.default_rng(0).normal(size=300)
    losses = (
        np.concatenate(
            [np.full(100, -1.0), np.linspace(-1, -9, 100), np.linspace(-9, -1, 100)]
        )
        + noise
    )
    found = RangeCurve(ramp, losses, of_task=True)
    assert 235 < np.flatnonzero(ramp.rates == found.blow_up)[0] < 275
    for seed in range(20):  # the first batches may have less than the mean
        calm = RangeCurve(
            ramp, 5 + np.random.default_rng(seed).normal(size=300), of_task=True
        )
        assert calm.blow_up == ramp.rates[299]
