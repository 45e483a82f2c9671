"""What the published sweeps of others showed: long runs, batch norm, schedules, curves
without step losses."""

import math
from dataclasses import replace

import numpy as np
import pytest
from made_up_curves import curve, level, losses, rise, sweep
from text_tables import numbers

from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.data_facts import DataFacts
from mnist_tune.regimes.labels import curve_regime
from mnist_tune.regimes.learned_share import as_shares, least_loss

CIFAR = DataFacts.of([5_000] * 10, 10_000)


def healthy_run(epochs=100, late_rise=0.05, seed=0):
    """Held-out accuracy rises to the end, with the luck of single epochs, while its
    cross-entropy rises, too."""
    rng = np.random.default_rng(seed)
    t = np.arange(epochs)
    settled = 0.63 - 0.3 * np.exp(-t / 5)
    settled += late_rise * t / epochs
    held_out = settled + 0.006 * rng.normal(size=epochs)
    held_out[epochs // 2] += 0.03  # the luckiest epoch
    train = 0.99 - 0.6 * np.exp(-t / 20)
    train_loss = 4 * (1 - train)
    loss = 1.1 + 0.8 * np.exp(-t / 3)
    loss += 1.2 * t / epochs
    return curve(train, held_out, train_loss=train_loss, held_out_loss=loss, data=CIFAR)


@pytest.mark.parametrize("seed", range(5))
def test_a_run_whose_held_out_accuracy_still_rises_does_not_overfit(seed):
    """The best single epoch of a hundred is luck, and cross-entropy rises on networks
    that grow too confident."""
    rising = healthy_run(seed=seed)
    assert curve_regime(rising, 0.6).regime == "converged"
    falling = healthy_run(late_rise=-0.06, seed=seed)
    assert curve_regime(falling, 0.6).regime == "overfit"


def test_what_is_slow_beside_healthy_runs_is_not_converged():
    """The target does not sink to the slow one where the better ones only seem to
    overfit."""
    healthy = healthy_run()
    columns = {"test_accuracy": healthy.held_out, "train_loss": healthy.train_loss}
    columns["test_loss"] = healthy.held_out_loss
    good = (0.1, healthy.train_score, columns)
    accuracy = rise(0.25, 0.5, 100)
    loss = 2.3 - accuracy
    columns = {"test_accuracy": accuracy, "test_loss": loss, "train_loss": loss}
    slow = (1e-4, accuracy, columns)
    judged = sweep(good, slow, data=CIFAR)
    assert judged["regime"].tolist() == ["converged", "slow"]


def test_falls_that_nobody_sees_are_no_oscillation():
    """Beside a slower rate that ended higher, falls of 0.003 are not "rises and
    falls"."""
    to_and_fro = numbers("0.60 0.70 0.75 0.781 0.778 0.79 0.787 0.795 0.792 0.797")
    judged = sweep((0.1, level(0.97)), (1.0, to_and_fro))
    assert judged["regime"].tolist() == ["converged", "undecided"]


@pytest.mark.parametrize("late", [0.19, 0.25])
def test_a_collapse_to_little_above_chance_that_lasts_has_diverged(late):
    collapse = [0.7, 0.8, 0.85, 0.85, late, late]
    lasting = curve([*collapse, late, late])
    assert curve_regime(lasting).regime == "diverged"
    passing = curve([*collapse, 0.5, 0.6])
    assert curve_regime(passing).regime != "diverged"


LAGGING = curve(
    [0.010, 0.012, 0.015, 0.02],
    data=DataFacts.of([500] * 100, 10_000),
    train_loss=[12.0, 11.0, 9.5, 8.0],
    untrained_loss=4.7,
)
"""After an epoch, the network evaluates above ln 100."""


def test_evaluated_losses_alone_are_no_divergence():
    """At a tiny rate, running statistics of batch norm lag."""
    assert curve_regime(LAGGING, None).regime != "diverged"
    above = replace(LAGGING, diverged=np.zeros(4, bool), above_since=3)
    label = curve_regime(above, None)
    assert label.regime == "diverged", "here the losses of steps say so, too"


@pytest.mark.parametrize("losses", ["4.0 3.9 20.0 21.0", "12.0 500.0 600.0 800.0"])
def test_an_evaluated_loss_that_grows_without_end_is_divergence(losses):
    gone = replace(LAGGING, train_loss=np.array(numbers(losses)))
    assert curve_regime(gone, None).regime == "diverged"


TASK = DataFacts(2_000, 500, 0.0, {}, None, by_accuracy=False)


def task_curve(loss, data=TASK, **values):
    """Return a curve of a task, which has no accuracy."""
    epochs = len(loss)
    accuracy = np.full(epochs, math.nan)
    values |= {"train_loss": loss, "held_out_loss": loss}
    return Curve(accuracy, epochs, data=data, **values)


@pytest.mark.parametrize("own_steps", [False, True])
@pytest.mark.parametrize("above_since", [None, 40])
def test_of_a_task_steps_say_whether_the_loss_is_gone(above_since, own_steps):
    """Evaluated losses above the untrained one are divergence only if those of steps,
    where they compare, are, too."""
    facts = {"data": replace(TASK, own_steps=own_steps), "untrained_loss": 1.0}
    facts["diverged"] = np.zeros(8, bool)
    lagging = task_curve(np.linspace(3.0, 2.9, 8), above_since=above_since, **facts)
    good = task_curve(np.geomspace(0.9, 0.1, 8), **facts)
    shares = as_shares([lagging, good])
    is_diverged = curve_regime(shares[0], None).regime == "diverged"
    assert is_diverged is (own_steps or above_since is not None)


def test_nothing_is_known_of_losses_without_an_untrained_one_or_a_guess():
    falling = task_curve(np.geomspace(3.0, 0.1, 12))
    assert least_loss([falling]) is None


@pytest.mark.parametrize(
    ("schedule", "ended"),
    [("cosine", True), ("linear", True), ("constant", False), ("step", False)],
)
def test_only_some_schedules_end_at_rate_0(schedule, ended):
    assert curve(level(0.9), schedule=schedule).ended is ended


def test_where_a_slower_rate_got_there_the_network_is_not_too_small():
    """As of four epochs with a cosine: the larger rate is too high, and "underfit"
    would advise a larger network."""
    good = (0.03, [0.60, 0.78, 0.836, 0.87])
    high = (0.1, [0.60, 0.79, 0.8325, 0.833])
    data = replace(CIFAR, target=0.835)
    judged = sweep(good, high, schedule=["cosine", "cosine"], data=data)
    assert judged["regime"].tolist() == ["converged", "undecided"]
    alone = sweep(high, schedule=["cosine"], data=data)
    assert alone["regime"].tolist() == ["underfit"]


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_a_short_curve_that_still_rises_gives_no_target(schedule):
    """Four epochs show no plateau: what they reached is not what the network can
    learn."""
    loss = losses([1.3, 0.85, 0.72, 0.66], untrained=2.35)
    still_rising = (0.1, [0.50, 0.66, 0.73, 0.7711], loss)
    slower = (0.01, [0.3, 0.4, 0.48, 0.55])
    schedules = [schedule, schedule]
    judged = sweep(still_rising, slower, data=CIFAR, schedule=schedules)
    assert judged["target"].isna().all()
    regimes = judged["regime"].tolist()
    assert "converged" not in regimes
    assert "underfit" not in regimes
