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


def sampled(accuracy, rng, asked=None):
    """A curve as images would show it: each accuracy a binomial count, the loss four
    times the error."""
    train, test = (
        rng.binomial(TRAIN, accuracy) / TRAIN,
        rng.binomial(TEST, accuracy - 0.01) / TEST,
    )
    return Curve(test, asked or len(accuracy), train_score=train)


def batches(loss, batch_size, rng, images=20_000):
    """Step losses of an epoch of a calm network: an image costs nothing, or Exp(1) with
    the probability `loss`."""
    costs = rng.exponential(1.0, images) * (rng.random(images) < loss)
    return np.add.reduceat(costs, range(0, images, batch_size)) / batch_size


def with_steps(curve, batch_size, rng, window=True):
    losses = np.minimum(4 * (1 - curve.score), 0.9)
    epochs = [batches(loss, batch_size, rng) for loss in losses]
    peaks = np.array([steps.max() for steps in epochs])
    means = (
        np.array([window_means(steps, batch_size, 20_000)[0].max() for steps in epochs])
        if window
        else None
    )
    values = {
        "step_loss_max": peaks,
        "window_loss_max": means,
        "batch_size": batch_size,
    }
    return replace(
        curve,
        train_loss=losses,
        untrained_loss=2.4,
        diverged=np.zeros(len(losses), bool),
        **values,
    )


# --- metamorphic


@pytest.mark.parametrize("name", CALM)
def test_another_seeds_noise_leaves_the_label(name):
    found = [
        curve_regime(sampled(CALM[name], np.random.default_rng(seed))).regime
        for seed in range(300)
    ]
    assert found.count(name.removesuffix("er")) >= 297


@pytest.mark.parametrize("name", CALM)
@pytest.mark.parametrize("window", [True, False])
def test_the_batch_size_of_a_calm_run_leaves_the_label(name, window):
    for seed, batch_size in enumerate((1, 2, 4, 8, 16, 32, 64, 128, 1024)):
        rng = np.random.default_rng(seed)
        found = with_steps(sampled(CALM[name], rng), batch_size, rng, window)
        assert curve_regime(found).regime == name.removesuffix("er"), batch_size


@given(
    st.sampled_from(sorted(LEARNED)),
    st.floats(0, 0.155),
    st.integers(1, 4),
    st.integers(0, 99),
)
def test_an_appended_collapse_is_never_slow_or_underfit(name, level, epochs, seed):
    found = sampled(LEARNED[name], np.random.default_rng(seed))
    fallen = np.append(found.train_score, np.full(epochs, level))
    collapsed = replace(
        found, train_score=fallen, held_out=fallen, epochs_asked=len(fallen)
    )
    assert curve_regime(collapsed).regime == "diverged"


@given(st.sampled_from(sorted(CALM)), st.floats(0.16, 0.75), st.integers(1, 4))
def test_an_appended_drop_is_never_slow_or_underfit(name, level, epochs):
    fallen = np.append(CALM[name], np.full(epochs, level))
    if level < CALM[name][-1] - 0.05:
        assert curve_regime(Curve(fallen, len(fallen), train_score=fallen)).regime in (
            "oscillating",
            "diverged",
        )


@given(
    st.floats(0.3, 0.95), st.floats(0.05, 0.2), st.integers(5, 40), st.integers(0, 99)
)
def test_a_decline_is_never_levelled_off(first, fall, epochs, seed):
    found = sampled(
        np.linspace(first, first - fall, epochs), np.random.default_rng(seed)
    )
    assert curve_regime(found, 0.97).reason is not Reason.LEVELLED_OFF


@pytest.mark.parametrize("exponent", [0.02, 0.1, 0.2, 0.3, 0.4, 0.6])
def test_more_epochs_of_one_run_never_turn_slow_into_underfit_and_back(exponent):
    rng = np.random.default_rng(round(100 * exponent))
    for _ in range(20):
        whole = sampled(1 - 0.5 * np.arange(1, 41) ** -exponent, rng)
        asked = (10, 12, 15, 18, 20, 25, 30, 40)
        found = [
            curve_regime(replace(cut(whole, n), epochs_asked=n)).regime for n in asked
        ]
        decided = [
            name
            for name, _ in groupby(
                name for name in found if name in ("slow", "underfit")
            )
        ]
        assert len(decided) <= 2, found


def test_noise_of_the_counts_turns_no_decided_label_into_another():
    """Each real curve, with binomial noise of its images added once more, 20 times."""
    decided = flipped = 0
    for name, (trials, epochs) in SWEEPS.items():
        data, rng = data_of(trials), np.random.default_rng(len(name))
        for curve in curves_of(trials, epochs, data):
            label = curve_regime(curve, data.target).regime
            for _ in range(20):
                noisy = replace(
                    curve,
                    train_score=again(curve.score, curve.images, rng),
                    held_out=again(curve.held_out, curve.held_out_count, rng),
                )
                other = curve_regime(noisy, data.target).regime
                decided += label != "undecided"
                flipped += "undecided" not in (label, other) and label != other
    assert decided > 1_000
    assert flipped <= 0.01 * decided, (flipped, decided)


def again(accuracy, images, rng):
    return rng.binomial(images, np.nan_to_num(accuracy)) / images


# --- spikes


@pytest.mark.parametrize(
    ("batch_size", "images"),
    [(1, 300), (3, 1000), (8, 130), (100, 50), (128, 4000), (2048, 4000)],
)
def test_windows_hold_all_images_once(batch_size, images):
    losses = np.random.default_rng(0).random(-(-images // batch_size))
    means, starts = window_means(losses, batch_size, images)
    first = starts * batch_size
    sizes = np.diff(np.append(first, images))
    assert sizes.min() >= min(WINDOW_IMAGES, images)
    each = np.repeat(losses, batch_size)[:images]
    expected = [each[a : a + n].mean() for a, n in zip(first, sizes, strict=True)]
    np.testing.assert_allclose(means, expected, rtol=1e-12)


@settings(max_examples=30)
@given(st.sampled_from([1, 4, 32, 128]), st.floats(0.02, 0.9), st.integers(0, 10**6))
def test_calm_batches_stay_below_the_limit(batch_size, loss, seed):
    peak = batches(loss, batch_size, np.random.default_rng(seed)).max()
    assert peak <= calm_limit(loss, batch_size, 20_000 / batch_size, risk=1e-6)


def test_differences_must_exceed_three_standard_errors_and_more_where_there_are_many():
    assert [sigmas(count) for count in (0, 1, 7)] == [3, 3, 3]
    assert (sigmas(100), sigmas(1000)) == pytest.approx((3.719, 4.265), abs=1e-3)
    assert accuracy_noise(np.array([0.5, 1.0, 0.0]), 100) == pytest.approx(
        [0.05, 0.01, 0.01]
    )


@given(st.floats(0.5, 50), st.integers(128, 60_000), st.integers(1, 60_000))
def test_the_floor_is_where_the_limit_begins(loss, images, draws):
    floor = calm_floor(loss, images, draws)
    assert calm_limit(floor, images, draws) == pytest.approx(loss)
    assert calm_floor(0.01, 128) == 0
    assert calm_limit(4.0, 6 * math.log(10), 1_000) == pytest.approx(9.0), (
        "the square roots are 1 apart"
    )


# --- training


@pytest.mark.parametrize("batch_size", [1, 8, 128])
def test_a_lost_network_is_lost_at_any_batch_size(epoch_row, batch_size):
    """It answers one class: an image of that class costs nothing, the others 60
    nats."""
    steps = np.where(np.random.default_rng(0).random(150_000) < 0.1, 0.0, 60.0)
    steps = np.add.reduceat(steps, range(0, 150_000, batch_size)) / batch_size
    means, starts = window_means(steps, batch_size, 150_000)
    assert left_for_good(means, 2.4, 1, None, starts) == 1
    row = epoch_row(1, 54.0, 0.1, above_since=1, step=len(steps))
    assert has_diverged(row, chance=MNIST.chance, images=MNIST.train_images)
