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
    rows = pd.DataFrame({"validation_loss": [2.0, -1.0, math.inf]})
    rows["score_kl"] = [1.0, 5.0, 3.0]
    of_loss = LOSS.scores(rows, "validation")
    assert of_loss[:2].tolist() == [-2.0, 1.0]
    assert math.isnan(of_loss[2]), "what is not finite has no score"
    most = Ranking.of(False, "score_kl:max")
    assert most.scores(rows, "validation").tolist() == [1.0, 5.0, 3.0]
    least = Ranking.of(True, "score_kl:min")
    assert least.score_of({"score_kl": 4.0}, "validation") == -4.0


def test_a_difference_has_the_digits_of_what_is_compared():
    accuracy = Ranking.of(True)
    assert accuracy.difference(2e-6) == "0.0001"
    assert LOSS.difference(2e-6) == "2e-06"
    assert accuracy.difference(1e-16) == "0.0000"
    assert accuracy.difference(-2e-6) == "-0.0001"
    assert accuracy.difference(0.0123) == "0.0123"


@pytest.mark.parametrize(
    "wrong", ["loss:min", "score_kl", "score_KL:min", "score_kl:least"]
)
def test_what_is_no_score_cannot_be_ranked_by(wrong):
    with pytest.raises(
        UserError, match="--rank-by must be score_NAME:min or score_NAME:max"
    ):
        SweepOptions(rank_by=wrong)


def decided(losses, error=0.02, guess=math.inf, spread=0.01, untrained=math.nan):
    """Return a contest of settings with these losses, once it is over."""
    rates = [0.1 * 2**k for k in range(len(losses))]
    settings = [TrialConfig(learning_rate=rate, holdout=100) for rate in rates]
    guesses = {"cross-entropy": guess}
    task = DataFacts(1, 1, 0.0, guesses, None, by_accuracy=False)
    contest = Contest(settings, task, 2, 60)
    for number, (order, setting) in enumerate(contest.asked):  # which grows meanwhile
        loss = losses[setting]
        noise = spread * np.random.default_rng([order, setting]).normal()
        row = {"validation_loss": loss + noise, "loss_error": error}
        row |= {"train_loss": loss, "untrained_loss": untrained}
        row["stop_reason"] = "diverged" if math.isinf(loss) else "completed"
        contest.tell(number, row)
    return contest


def test_a_decision_of_losses_takes_the_least_within_half_an_error():
    contest = decided([1.0, 0.5, math.inf, -0.2])
    assert contest.settled is True
    decision = contest.decision
    assert int(decision.leader) == 3
    assert decision.tolerance == pytest.approx(0.01)
    assert decision.failures.tolist()[2] >= 2


@pytest.mark.parametrize(
    ("fails", "losses"),
    [
        (True, {"guess": 1.0}),
        (False, {}),
        (True, {"untrained": 0.92}),
        (False, {"untrained": 0.94}),
    ],
)
def test_a_trial_has_failed_if_it_learned_nothing_beside_a_guess_or_ended_above_its_untrained_loss(
    fails, losses
):
    contest = decided([0.1, 0.99], spread=0, **losses)
    has_failed = contest.decision.failures[1] >= 2
    assert has_failed == fails, "by more than noise"


def row_of(loss):
    row = {"train_loss": loss, "untrained_loss": 1.0, "diverged": False}
    return row | {"train_accuracy": math.nan, "epoch": 3}


@pytest.mark.parametrize(("least", "half"), [(0.2, 0.6), (-3.0, -1.0), (1e-4, 1e-2)])
def test_a_trial_of_a_task_has_learned_half_way_to_the_least_loss_of_the_pilot(
    least, half
):
    """If a loss falls far, that is half-way by its logarithm."""
    rates = [0.1 * rate for rate in PILOT]
    losses = (math.inf, least, half, 1.0)
    pilot = [*zip(rates, map(row_of, losses), strict=True)]
    rule = Learned(math.inf, best=None)
    learned = rule.fixed_by(pilot)
    assert learned.best == least
    little = 0.05 * abs(half)
    assert learned.holds(row_of(half - little))
    assert not learned.holds(row_of(half + little))
    nothing = [(rate, row_of(1.0)) for rate in rates]
    assert rule.fixed_by(nothing) is None


def test_the_range_test_of_a_task_ends_half_way_back_whatever_the_sign():
    ramp = Ramp(steps=400)
    flat = np.full(100, -1.0)
    down = np.linspace(-1, -9, 100)
    back = np.linspace(-9, -1, 100)
    noise = 0.05 * np.random.default_rng(0).normal(size=300)
    losses = np.concatenate([flat, down, back]) + noise
    curve = RangeCurve(ramp, losses, of_task=True)
    [step] = np.flatnonzero(ramp.rates == curve.blow_up)
    assert 235 < step < 275


@pytest.mark.parametrize("seed", range(20))
def test_a_loss_that_stays_does_not_end_a_range_test(seed):
    """The first batches may have less than the mean."""
    ramp = Ramp(steps=400)
    noise = np.random.default_rng(seed).normal(size=300)
    calm = RangeCurve(ramp, 5 + noise, of_task=True)
    assert calm.blow_up == ramp.rates[299]
