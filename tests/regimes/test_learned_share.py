"""Labels of tasks that have a loss and no accuracy: they follow from the share of the
loss that was learned."""

import math
from dataclasses import replace
from unittest import mock

import numpy as np
import pandas as pd
import pytest

from mnist_tune.regimes.curve import Curve, Score
from mnist_tune.regimes.data_facts import MNIST, DataFacts
from mnist_tune.regimes.decision import standing
from mnist_tune.regimes.evidence import evidence
from mnist_tune.regimes.forecast import target_of
from mnist_tune.regimes.labels import Family, Trial
from mnist_tune.regimes.learned_share import as_shares, least_loss, paired_noise
from validation.label_cuts import complete

T = np.arange(1, 21)


STEPS = 16
"""Steps in an epoch of 2,000 examples."""


def facts(guess=None, target=None):
    guesses = {"cross-entropy": math.inf if guess is None else guess}
    return DataFacts(2_000, 500, 0.0, guesses, target, by_accuracy=False)


def curve(
    train, test=None, untrained=1.0, asked=20, noise=0.0, diverged=False, **options
):
    train = np.asarray(train, float)
    test = train if test is None else np.asarray(test, float)
    drawn = noise * np.random.default_rng(int(1e6 * np.nan_to_num(train).var())).normal(
        size=len(train)
    )
    flags = (
        np.cumsum(
            ~np.isfinite(train) | (np.arange(len(train)) == len(train) - 1) & diverged
        )
        > 0
    )
    known = {
        "train_loss": train + drawn,
        "held_out_loss": test + drawn,
        "untrained_loss": untrained,
    }
    below = np.flatnonzero(train <= untrained)
    after = int(below[-1]) + 1 if len(below) else 0
    known["above_since"] = 1 + STEPS * after if after < len(train) else None
    return Curve(
        np.full(len(train), math.nan),
        asked,
        diverged=flags,
        data=options.pop("data", facts()),
        **known,
    )


def labels(*curves):
    """Return the label of each, at rates that double."""
    family = Family(running=False)
    for i, one in enumerate(curves):
        family.put(i, Trial(0.01 * 2**i, 0.0, one))
    return [family.label(i).regime for i in range(len(curves))]


def falls(rate, low=0.1, start=1.0):
    return low + (start - low) * np.exp(-rate * T)


def test_the_best_converges_and_slower_rates_are_slow():
    found = labels(
        *(curve(falls(rate), noise=1e-3) for rate in (0.005, 0.02, 0.1, 0.6))
    )
    assert found == ["slow", "slow", "slow", "converged"]


@pytest.mark.parametrize(("scale", "shift"), [(30, 0), (1, -7), (0.01, -3), (250, 40)])
def test_units_and_the_zero_of_a_loss_change_no_label(scale, shift):
    curves = [curve(falls(rate), noise=1e-3) for rate in (0.005, 0.1, 0.6)]
    moved = [
        replace(
            one,
            train_loss=scale * one.train_loss + shift,
            held_out_loss=scale * one.held_out_loss + shift,
            untrained_loss=scale * one.untrained_loss + shift,
        )
        for one in curves
    ]
    assert labels(*moved) == labels(*curves) == ["slow", "slow", "converged"]


def test_where_all_rates_are_too_slow_none_has_converged():
    found = labels(
        *(curve(2.3 - slope * T, untrained=2.3) for slope in (1e-5, 1e-4, 1e-3))
    )
    assert "converged" not in found
    assert "oscillating" not in found


def test_a_curve_says_whether_its_scores_are_accuracies_or_shares_that_were_learned():
    losses = curve(1 - 0.025 * T)
    [shares] = as_shares([losses])
    assert shares.measure is Score.LEARNED_SHARE
    classes = replace(losses, data=MNIST)
    assert as_shares([classes]) == [classes]
    assert classes.measure is Score.ACCURACY


def test_a_lone_trial_halfway_down_a_line_is_on_its_way():
    [shares] = as_shares([curve(1 - 0.025 * T)])
    assert target_of([shares])[0] is None
    [one] = labels(curve(1 - 0.025 * T))
    assert one == "undecided"


def test_a_lone_trial_that_has_levelled_off_has_converged():
    assert labels(curve(falls(0.6), noise=1e-3)) == ["converged"]


def test_a_loss_that_falls_to_the_end_is_on_its_way_though_it_fell_faster_before():
    """As of a language model: half of what it learned takes a fifth of its epochs, and
    the rest still goes on."""
    power_law = 10.8 * T**-0.2
    assert labels(curve(power_law, untrained=10.8)) == ["undecided"]


def test_what_follows_the_best_trial_closely_is_on_its_way_like_that():
    """Where the best one still falls, others need not get to where it is now, but as
    near as a target is."""
    exponents = 0.05, 0.17, 0.2
    trials = (curve(10.8 * T**-exponent, untrained=10.8) for exponent in exponents)
    assert labels(*trials) == ["slow", "undecided", "undecided"]


def test_a_trial_of_which_training_alone_still_falls_has_converged():
    """The held-out loss has been level since the fifth epoch."""
    held_out = 1.85 + 0.45 * np.exp(-T)
    assert labels(curve(2.3 - 0.045 * T, held_out, untrained=2.3)) == ["converged"]


@pytest.mark.parametrize("guess", [None, 1.0])
def test_of_noise_alone_nothing_is_said(guess):
    rng = np.random.default_rng(0)
    for _ in range(20):
        found = labels(
            *(
                curve(1 + 0.01 * rng.normal(size=20), data=facts(guess))
                for _ in range(5)
            )
        )
        assert found == ["undecided"] * 5


@pytest.mark.parametrize(
    ("error", "regimes"), [(0.004, {"undecided"}), (0.0005, {"slow", "converged"})]
)
def test_what_the_held_out_examples_may_be_by_chance_is_nothing_learned(error, regimes):
    """Losses that fall smoothly by a hundredth: whether that is noise, only the losses
    of parts of the examples say."""
    curves = [curve(falls(rate, 0.99)) for rate in (0.01, 0.6)]
    assert (
        set(labels(*(replace(one, gain_noise=np.full(20, error)) for one in curves)))
        == regimes
    )


def test_paired_losses_of_eight_parts_say_how_certain_a_difference_is():
    hard = np.arange(8) ** 2.0
    assert paired_noise(hard + [0.1, 0.3] * 4, hard) == pytest.approx(
        0.1 * math.sqrt(8 / 7) / math.sqrt(8)
    )
    assert math.isnan(paired_noise(hard[:7], hard[:7]))


def test_a_sibling_that_overfits_is_no_measure_of_the_good_one():
    memorised = curve(np.geomspace(0.8, 1e-4, 20), 0.3 + 0.02 * (T - 3.0) ** 2 / 10)
    good = curve(falls(0.6, 0.2), falls(0.6, 0.25), noise=1e-3)
    assert labels(good, memorised) == ["converged", "overfit"]


def test_one_that_overfits_alone_is_measured_by_what_it_reached_before():
    assert labels(
        curve(np.geomspace(0.8, 1e-4, 20), 0.3 + 0.02 * (T - 3.0) ** 2 / 10)
    ) == ["overfit"]


def test_negative_losses_are_losses():
    """From -0.01 to -47, as a flow's does: that is no divergence."""
    found = labels(
        curve(falls(0.02, -47, -0.01), untrained=-0.01),
        curve(falls(0.6, -47, -0.01), untrained=-0.01),
    )
    assert found == ["slow", "converged"]


def test_losses_of_many_sizes_are_compared_by_their_logarithms():
    """Between 1e-2 and 1e-5 is as much as between 10 and 1e-2. In logarithms, the slow
    one is halfway."""
    found = as_shares(
        [
            curve(10 * 10 ** (-0.15 * T), untrained=10),
            curve(10 * 10 ** (-6 * (1 - np.exp(-T / 2))), untrained=10),
        ]
    )
    assert found[0].score[-1] == pytest.approx(0.5, abs=0.02)
    assert least_loss([curve(falls(0.6))]).logarithmic is False


def test_losses_that_are_far_apart_have_not_both_converged():
    """As of an autoencoder that begins at 181: users see that 31.9 is far from 28.0. So
    it is in other units."""
    for scale in (1, 1e-3):
        losses = (low + 20 * np.exp(-0.3 * (T - 1)) for low in (31.9, 28.0))
        pair = (
            curve(scale * one, untrained=scale * 181, noise=scale * 0.05)
            for one in losses
        )
        assert labels(*pair) == ["slow", "converged"]


def test_what_left_for_good_has_diverged():
    gone = np.where(T < 6, falls(0.3), 1e5)
    above = np.where(T < 6, falls(0.3), 1.5 + 0.01 * (T % 2))
    nan = np.where(T < 6, falls(0.3), np.nan)
    found = labels(
        curve(falls(0.6), noise=1e-3),
        curve(gone, diverged=True),
        curve(above),
        curve(nan),
    )
    assert found == ["converged", "diverged", "diverged", "diverged"]


def test_not_every_trial_that_ends_makes_the_shares_of_all_anew(monkeypatch):
    """While trials run, a verdict would take as long as there are trials."""
    family, made = Family(running=False), mock.Mock(wraps=least_loss)
    monkeypatch.setattr("mnist_tune.regimes.labels.least_loss", made)
    for i in range(200):
        family.put(i, Trial(0.1, 0.0, curve(falls(0.6), noise=1e-3)))
        family.trial(i)
        assert made.call_count == i + 1 or i > 15
    assert made.call_count < 80


def test_two_losses_in_a_sentence_are_told_apart():
    family = Family(running=False)
    for i, one in enumerate(
        (
            curve(1.3921 + 0 * T, untrained=1.3879),
            curve(1.3879 - 0.01 * T, untrained=1.3879),
        )
    ):
        family.put(i, Trial(0.1 * (2 - i), 0.0, one))
    label = family.label(0)
    assert label.regime == "diverged"
    assert evidence(label).startswith("training loss 1.392 (untrained 1.388)")


def test_a_larger_rate_that_stays_where_it_was_while_the_best_learned_is_lost():
    """Whether a guess's loss is known or not. Below the best rate, it is slow, unless
    it is known to guess."""
    good, stays = falls(0.6), np.full(20, 0.9) + 1e-4 * np.sin(T)
    for guess in (0.9, None):
        data = facts(guess)
        above = labels(curve(good, data=data), curve(stays, data=data))
        below = labels(curve(stays, data=data), curve(good, data=data))
        assert (above, below) == (["converged", "diverged"], ["slow", "converged"])


def test_a_larger_rate_that_ends_where_its_first_epoch_did_is_lost():
    """As of a translator that blows up, and of which a schedule that ends brings back
    no more than a guess."""
    blown_up = 0.7 + 0.5 * np.sin(np.pi * (T - 1) / 19)
    family = Family(running=False)
    for rate, losses in ((0.01, falls(0.6)), (0.1, blown_up)):
        family.put(rate, Trial(rate, 0.0, curve(losses, untrained=1.0)))
    label = family.label(0.1)
    assert label.regime == "diverged"
    text = evidence(label, Score.LEARNED_SHARE)
    assert text.startswith("learned nothing after epoch 1: loss 0.7;")


def test_of_two_seeds_at_a_rate_one_may_be_lost():
    blew_up = np.where(T < 8, falls(0.3), 0.6)
    family = Family(running=False)
    for seed, losses in enumerate((falls(0.6), blew_up)):
        family.put(seed, Trial(0.1, 0.0, curve(losses, noise=1e-3)))
    assert [family.label(seed).regime for seed in (0, 1)] == ["converged", "diverged"]


@pytest.mark.parametrize(("epochs", "regime"), [(100, "undecided"), (130, "diverged")])
def test_a_run_that_was_cut_is_lost_after_a_thousand_steps_on_a_plateau(epochs, regime):
    complete = curve(0.1 + 0.9 * np.exp(-0.1 * np.arange(1, 201)), asked=200)
    cut = curve(0.8 + 1e-4 * np.sin(np.arange(epochs)), asked=200)
    assert labels(complete, cut) == ["converged", regime]


def test_a_larger_rate_that_stays_at_a_guess_within_noise_does_not_oscillate():
    """As at ln 127 in eight epochs, of a task that does not say its guess."""
    guess = math.log(127)
    wobble = 0.004 * (-1) ** np.arange(8)
    for named, regime in ((None, "undecided"), (guess, "diverged")):
        data = facts(named)
        learns = curve(np.linspace(5.4, 4.5, 8), untrained=5.5, asked=8, data=data)
        stays = curve(guess + wobble, untrained=5.5, asked=8, data=data)
        assert labels(learns, stays)[1] == regime
        # one that jumps by more than noise still does
        jumps = curve(guess + 20 * wobble, untrained=5.5, asked=8, data=facts())
        assert labels(learns, jumps)[1] == "oscillating"


def test_a_guess_far_below_the_untrained_loss_leaves_what_was_learned_known():
    """How far the loss fell from 66 differs much between examples. How far it lies
    below the guess of 4 does not."""
    data = facts(4.0)
    fell, slow = falls(1.7, 1e-6, 66.0), falls(0.05, 0.0, 66.0)
    far = {"gain_noise": np.full(20, 6.5), "loss_error": 0.1 * fell}
    learns = replace(curve(fell, untrained=66.0, data=data), **far)
    assert labels(replace(curve(slow, untrained=66.0, data=data), **far), learns) == [
        "slow",
        "converged",
    ]
    near = replace(
        curve(falls(0.6, 3.9, 66.0), untrained=66.0, data=data),
        gain_noise=np.full(20, 6.5),
    )
    assert labels(replace(near, loss_error=np.full(20, 0.2))) == ["undecided"], (
        "its own loss is not as certain"
    )


def test_a_trial_that_goes_to_and_fro_oscillates_even_if_all_do():
    wild = 0.3 + 0.15 * (T % 2)
    assert labels(curve(falls(0.6), noise=1e-3), curve(wild)) == [
        "converged",
        "oscillating",
    ]
    assert labels(*(curve(wild + 0.01 * k) for k in range(3))) == ["oscillating"] * 3


def test_a_trial_that_ends_above_another_is_underfit_only_by_a_target_loss():
    pair = [curve(falls(0.6, 0.5), noise=1e-3), curve(falls(0.6, 0.1), noise=1e-3)]
    assert labels(*pair) == ["slow", "converged"]
    asked = [replace(one, data=facts(target=0.2)) for one in pair[:1]]
    assert labels(*asked) == ["underfit"]
    assert labels(*(replace(one, data=facts(target=0.6)) for one in pair)) == [
        "converged",
        "converged",
    ]


@pytest.mark.parametrize("target", [0.005, 0.0, -0.1])
def test_a_target_loss_far_below_all_trials_leaves_the_slow_ones_slow(target):
    pair = [curve(1 - 0.02 * T / 20, noise=1e-3), curve(falls(0.6, 0.05), noise=0.003)]
    assert labels(*(replace(one, data=facts(target=target)) for one in pair)) == [
        "slow",
        "underfit",
    ]


def test_before_a_trial_has_run_all_its_epochs_nobody_knows_how_much_can_be_learned():
    short = [curve(falls(rate)[:10]) for rate in (0.02, 0.6)]
    assert least_loss(short) is None
    assert labels(*short) == ["undecided", "undecided"]
    assert labels(*short, curve(np.full(10, 1e9), diverged=True)) == [
        "undecided",
        "undecided",
        "diverged",
    ]


def test_who_gives_the_least_loss_is_known():
    curves = [
        curve(falls(0.1)),
        curve(falls(0.6), falls(0.6, 0.2)),
        curve(falls(0.6)[:8], falls(0.9, 0.0)[:8]),
    ]
    found = least_loss(curves)
    assert (found.untrained, found.held_out, found.logarithmic) == (
        1.0,
        pytest.approx(0.2, abs=1e-3),
        False,
    )
    assert found.train == pytest.approx(curves[1].train_loss[-3:].mean(), abs=1e-3)
    assert (np.diff(found.share(np.array([0.21, 0.2, 0.19, 0.18]), True)) > 0).all()
    assert found.share(np.array([1.5, 0.6, 0.4]), True) == pytest.approx(
        [0, 0.5, 0.75], abs=1e-2
    )


def test_the_best_trial_of_a_task_has_the_least_held_out_loss():
    trials = pd.DataFrame(
        {
            "learning_rate": [0.1, 0.2, 0.4, 0.8],
            "test_loss": [-3.0, -3.2, -3.199, -9.0],
            "test_accuracy": np.nan,
            "regime": ["slow", "converged", "converged", "diverged"],
            "stop_reason": "completed",
            "seed": 0,
            "loss_noise": [9.0, 0.001, 0.001, 0.001],
            "untrained_loss": 1.0,
        }
    )
    found = standing(complete(trials), facts())
    assert found["learning_rate"].tolist() == [0.2, 0.4, 0.1]
    assert found["close"].tolist() == [True, True, False]
    far = [
        trials.assign(
            test_loss=np.array([0.2, 1e-3, 4e-3, 9]) * k, loss_noise=1e-5, seed=k
        )
        for k in (1, 1.2)
    ]
    assert standing(complete(pd.concat(far)), facts())["close"].tolist() == [
        True,
        False,
        False,
    ], "ratios are compared"
    luck = [
        trials.assign(test_loss=[0.2, one, 4e-3, 9], untrained_loss=1.0, seed=one)
        for one in (1e-3, 9e-3)
    ]
    assert (
        standing(complete(pd.concat(luck)), facts())["learning_rate"].iloc[0] == 0.4
    ), "the least mean loss"
