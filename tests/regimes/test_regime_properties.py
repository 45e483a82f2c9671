"""What may change about a curve without changing its label, with real noise: binomial
accuracies, batches of images."""

import math
from dataclasses import replace
from itertools import groupby

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from made_up_curves import cut, rise
from real_curves import SWEEPS, data_of
from text_tables import rows

from mnist_tune.execution.epoch_end import left_for_good, window_means
from mnist_tune.regimes.curve import Curve, curves_of
from mnist_tune.regimes.data_facts import MNIST
from mnist_tune.regimes.divergence import has_diverged
from mnist_tune.regimes.labels import curve_regime
from mnist_tune.regimes.noise import (
    WINDOW_IMAGES,
    accuracy_noise,
    calm_floor,
    calm_limit,
    sigmas,
)
from mnist_tune.regimes.reasons import Reason

LEARNED = {
    "converged": rise(0.94, 0.99, 10),
    "slow": rise(0.58, 0.86, 10),
    "underfit": 0.84 - 0.16 * 0.45 ** np.arange(10),
}
CALM = LEARNED | {"slower": 0.12 + 0.03 * np.arange(10)}
"""What calm runs reach, less noise; one has learned too little for a collapse."""

TRAIN, TEST = 60_000, 10_000
SEEDS = st.integers(0, 99)


def label_of(name):
    """The label of a calm run."""
    return name.removesuffix("er")


def sampled(accuracy, rng):
    """A curve as images would show it: each accuracy a binomial count, the loss four
    times the error."""
    train = rng.binomial(TRAIN, accuracy) / TRAIN
    test = rng.binomial(TEST, accuracy - 0.01) / TEST
    return Curve(test, len(accuracy), train_score=train)


def batches(loss, batch_size, rng, images=20_000):
    """Step losses of an epoch of a calm network: an image costs nothing, or Exp(1) with
    the probability `loss`."""
    costs = rng.exponential(1.0, images)
    costs[rng.random(images) >= loss] = 0.0
    return np.add.reduceat(costs, range(0, images, batch_size)) / batch_size


def window_peak(steps, batch_size):
    """The largest mean loss of the windows of an epoch."""
    means, _ = window_means(steps, batch_size, 20_000)
    return means.max()


def with_steps(curve, batch_size, rng, window=True):
    losses = np.minimum(4 * (1 - curve.score), 0.9)
    epochs = [batches(loss, batch_size, rng) for loss in losses]
    peaks = [steps.max() for steps in epochs]
    curve = replace(curve, train_loss=losses, untrained_loss=2.4)
    curve = replace(curve, batch_size=batch_size, step_loss_max=np.array(peaks))
    if window:
        means = [window_peak(steps, batch_size) for steps in epochs]
        curve = replace(curve, window_loss_max=np.array(means))
    return replace(curve, diverged=np.zeros(len(losses), bool))


# --- metamorphic


@pytest.mark.parametrize("name", CALM)
def test_another_seeds_noise_leaves_the_label(name):
    labels = []
    for seed in range(300):
        curve = sampled(CALM[name], np.random.default_rng(seed))
        labels.append(curve_regime(curve).regime)
    assert labels.count(label_of(name)) >= 297


@pytest.mark.parametrize("name", CALM)
@pytest.mark.parametrize("window", [True, False])
def test_the_batch_size_of_a_calm_run_leaves_the_label(name, window):
    sizes = (1, 2, 4, 8, 16, 32, 64, 128, 1024)
    for seed, batch_size in enumerate(sizes):
        rng = np.random.default_rng(seed)
        run = sampled(CALM[name], rng)
        curve = with_steps(run, batch_size, rng, window)
        assert curve_regime(curve).regime == label_of(name), batch_size


def with_ending(curve, level, epochs):
    """Return a curve that goes on at one accuracy for some epochs."""
    accuracy = np.append(curve.train_score, np.full(epochs, level))
    curve = replace(curve, train_score=accuracy, held_out=accuracy)
    return replace(curve, epochs_asked=len(accuracy))


ENDING_EPOCHS = st.integers(1, 4)


@given(st.sampled_from(sorted(LEARNED)), st.floats(0, 0.155), ENDING_EPOCHS, SEEDS)
def test_an_appended_collapse_is_never_slow_or_underfit(name, level, epochs, seed):
    run = sampled(LEARNED[name], np.random.default_rng(seed))
    collapsed = with_ending(run, level, epochs)
    assert curve_regime(collapsed).regime == "diverged"


@given(st.sampled_from(sorted(CALM)), st.floats(0.16, 0.75), ENDING_EPOCHS)
def test_an_appended_drop_is_never_slow_or_underfit(name, level, epochs):
    accuracy = CALM[name]
    if level < accuracy[-1] - 0.05:
        run = Curve(accuracy, len(accuracy), train_score=accuracy)
        dropped = with_ending(run, level, epochs)
        assert curve_regime(dropped).regime in ("oscillating", "diverged")


@given(st.floats(0.3, 0.95), st.floats(0.05, 0.2), st.integers(5, 40), SEEDS)
def test_a_decline_is_never_levelled_off(first, fall, epochs, seed):
    accuracy = np.linspace(first, first - fall, epochs)
    decline = sampled(accuracy, np.random.default_rng(seed))
    assert curve_regime(decline, 0.97).reason is not Reason.LEVELLED_OFF


def label_of_first(epochs, whole):
    """The label of a run as if it had been asked for its first epochs only."""
    shorter = replace(cut(whole, epochs), epochs_asked=epochs)
    return curve_regime(shorter).regime


@pytest.mark.parametrize("exponent", [0.02, 0.1, 0.2, 0.3, 0.4, 0.6])
def test_more_epochs_of_one_run_never_turn_slow_into_underfit_and_back(exponent):
    rng = np.random.default_rng(round(100 * exponent))
    t = np.arange(1, 41)
    accuracy = 1 - 0.5 * t**-exponent
    lengths = (10, 12, 15, 18, 20, 25, 30, 40)
    for _ in range(20):
        whole = sampled(accuracy, rng)
        labels = [label_of_first(epochs, whole) for epochs in lengths]
        decided = [label for label in labels if label in ("slow", "underfit")]
        runs = [label for label, _ in groupby(decided)]
        assert len(runs) <= 2, labels


def resampled(accuracy, images, rng):
    return rng.binomial(images, np.nan_to_num(accuracy)) / images


def with_noise(curve, rng):
    """Return a curve to which the binomial noise of its images is added once more."""
    train = resampled(curve.score, curve.images, rng)
    held_out = resampled(curve.held_out, curve.held_out_count, rng)
    return replace(curve, train_score=train, held_out=held_out)


def test_noise_of_the_counts_turns_no_decided_label_into_another():
    """Each real curve, with binomial noise of its images added once more, 20 times."""
    decided = flipped = 0
    for name, (trials, epochs) in SWEEPS.items():
        data = data_of(trials)
        rng = np.random.default_rng(len(name))
        for curve in curves_of(trials, epochs, data):
            label = curve_regime(curve, data.target).regime
            for _ in range(20):
                noisy_label = curve_regime(with_noise(curve, rng), data.target).regime
                if label == "undecided":
                    continue
                decided += 1
                if noisy_label not in ("undecided", label):
                    flipped += 1
    assert decided > 1_000
    assert flipped <= 0.01 * decided, (flipped, decided)


# --- spikes


WINDOWS = """
    1     300
    3     1000
    8     130
    100   50
    128   4000
    2048  4000
"""


@pytest.mark.parametrize(("batch_size", "images"), rows(WINDOWS))
def test_windows_hold_all_images_once(batch_size, images):
    steps = math.ceil(images / batch_size)
    losses = np.random.default_rng(0).random(steps)
    means, starts = window_means(losses, batch_size, images)
    first = starts * batch_size
    sizes = np.diff(np.append(first, images))
    assert sizes.min() >= min(WINDOW_IMAGES, images)
    image_losses = np.repeat(losses, batch_size)[:images]
    windows = np.split(image_losses, first[1:])
    expected = [window.mean() for window in windows]
    np.testing.assert_allclose(means, expected, rtol=1e-12)


@settings(max_examples=30)
@given(st.sampled_from([1, 4, 32, 128]), st.floats(0.02, 0.9), st.integers(0, 10**6))
def test_calm_batches_stay_below_the_limit(batch_size, loss, seed):
    steps = batches(loss, batch_size, np.random.default_rng(seed))
    limit = calm_limit(loss, batch_size, 20_000 / batch_size, risk=1e-6)
    assert steps.max() <= limit


def test_differences_must_exceed_three_standard_errors_and_more_where_there_are_many():
    for count in (0, 1, 7):
        assert sigmas(count) == 3
    assert sigmas(100) == pytest.approx(3.719, abs=1e-3)
    assert sigmas(1000) == pytest.approx(4.265, abs=1e-3)
    noise = accuracy_noise(np.array([0.5, 1.0, 0.0]), 100)
    assert noise == pytest.approx([0.05, 0.01, 0.01])


@given(st.floats(0.5, 50), st.integers(128, 60_000), st.integers(1, 60_000))
def test_the_floor_is_where_the_limit_begins(loss, images, draws):
    floor = calm_floor(loss, images, draws)
    assert calm_limit(floor, images, draws) == pytest.approx(loss)
    assert calm_floor(0.01, 128) == 0
    limit = calm_limit(4.0, 6 * math.log(10), 1_000)
    assert limit == pytest.approx(9.0), "the square roots are 1 apart"


# --- training


@pytest.mark.parametrize("batch_size", [1, 8, 128])
def test_a_lost_network_is_lost_at_any_batch_size(epoch_row, batch_size):
    """It answers one class: an image of that class costs nothing, the others 60
    nats."""
    images = 150_000
    is_answer = np.random.default_rng(0).random(images) < 0.1
    costs = np.where(is_answer, 0.0, 60.0)
    steps = np.add.reduceat(costs, range(0, images, batch_size)) / batch_size
    means, starts = window_means(steps, batch_size, images)
    assert left_for_good(means, 2.4, 1, None, starts) == 1
    row = epoch_row(1, 54.0, 0.1, above_since=1, step=len(steps))
    assert has_diverged(row, chance=MNIST.chance, images=MNIST.train_images)
