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


def facts(guess=math.inf, target=None):
    guesses = {"cross-entropy": guess}
    return DataFacts(2_000, 500, 0.0, guesses, target, by_accuracy=False)


def curve(
    train, test=None, untrained=1.0, planned=20, noise=0.0, diverged=False, data=None
):
    """Return a curve of losses, to which noise is added that both parts have."""
    train = np.asarray(train, float)
    if test is None:
        test = train
    epochs = len(train)
    seed = int(1e6 * np.nan_to_num(train).var())
    rng = np.random.default_rng(seed)
    drawn = noise * rng.normal(size=epochs)
    is_lost = ~np.isfinite(train)
    if diverged:
        is_lost[-1] = True
    # the loss is above the untrained one since the step after this epoch
    below = np.flatnonzero(train <= untrained)
    last_below = int(below[-1]) + 1 if len(below) else 0
    above_since = None
    if last_below < epochs:
        above_since = 1 + STEPS * last_below
    no_accuracy = np.full(epochs, math.nan)
    return Curve(
        no_accuracy,
        planned,
        diverged=np.cumsum(is_lost) > 0,
        data=data or facts(),
        train_loss=train + drawn,
        held_out_loss=np.asarray(test, float) + drawn,
        untrained_loss=untrained,
        above_since=above_since,
    )


def labels(*curves):
    """Return the labels of these curves, at rates that double, as a text."""
    siblings = Family(running=False)
    for i, losses in enumerate(curves):
        siblings.put(i, Trial(0.01 * 2**i, 0.0, losses))
    return " ".join(siblings.label(i).regime for i in range(len(curves)))


def falls(rate, low=0.1, start=1.0):
    return low + (start - low) * np.exp(-rate * T)


def calm(rate, low=0.1):
    """A curve that falls with little noise."""
    return curve(falls(rate, low), noise=1e-3)


def test_the_best_converges_and_slower_rates_are_slow():
    trials = map(calm, (0.005, 0.02, 0.1, 0.6))
    assert labels(*trials) == "slow slow slow converged"


def moved(trial, scale, shift):
    """Return a curve whose losses are in another unit, with another zero."""
    losses = {}
    for name in ("train_loss", "held_out_loss", "untrained_loss"):
        losses[name] = scale * getattr(trial, name) + shift
    return replace(trial, **losses)


@pytest.mark.parametrize(("scale", "shift"), [(30, 0), (1, -7), (0.01, -3), (250, 40)])
def test_units_and_the_zero_of_a_loss_change_no_label(scale, shift):
    trials = [calm(rate) for rate in (0.005, 0.1, 0.6)]
    assert labels(*trials) == "slow slow converged"
    in_other_units = [moved(trial, scale, shift) for trial in trials]
    assert labels(*in_other_units) == labels(*trials)


def test_where_all_rates_are_too_slow_none_has_converged():
    slopes = (1e-5, 1e-4, 1e-3)
    trials = [curve(2.3 - slope * T, untrained=2.3) for slope in slopes]
    regimes = labels(*trials)
    assert "converged" not in regimes
    assert "oscillating" not in regimes


def test_a_curve_says_whether_its_scores_are_accuracies_or_shares_that_were_learned():
    losses = curve(1 - 0.025 * T)
    [shares] = as_shares([losses])
    assert shares.measure is Score.LEARNED_SHARE
    classes = replace(losses, data=MNIST)
    assert as_shares([classes]) == [classes]
    assert classes.measure is Score.ACCURACY


def test_a_lone_trial_halfway_down_a_line_is_on_its_way():
    line = curve(1 - 0.025 * T)
    [shares] = as_shares([line])
    target = target_of([shares])[0]
    assert target is None
    assert labels(line) == "undecided"


def test_a_lone_trial_that_has_levelled_off_has_converged():
    assert labels(calm(0.6)) == "converged"


def test_a_loss_that_falls_to_the_end_is_on_its_way_though_it_fell_faster_before():
    """As of a language model: half of what it learned takes a fifth of its epochs, and
    the rest still goes on."""
    power_law = curve(10.8 * T**-0.2, untrained=10.8)
    assert labels(power_law) == "undecided"


def test_what_follows_the_best_trial_closely_is_on_its_way_like_that():
    """Where the best one still falls, others need not get to where it is now, but as
    near as a target is."""
    exponents = (0.05, 0.17, 0.2)
    trials = [curve(10.8 * T**-exponent, untrained=10.8) for exponent in exponents]
    assert labels(*trials) == "slow undecided undecided"


def test_a_trial_of_which_training_alone_still_falls_has_converged():
    """The held-out loss has been level since the fifth epoch."""
    training = 2.3 - 0.045 * T
    held_out = 1.85 + 0.45 * np.exp(-T)
    assert labels(curve(training, held_out, untrained=2.3)) == "converged"


@pytest.mark.parametrize("guess", [math.inf, 1.0])
def test_of_noise_alone_nothing_is_said(guess):
    rng = np.random.default_rng(0)
    data = facts(guess)
    for _ in range(20):
        noises = rng.normal(size=(5, 20))
        trials = [curve(1 + 0.01 * noise, data=data) for noise in noises]
        assert labels(*trials) == "undecided undecided undecided undecided undecided"


@pytest.mark.parametrize(
    ("error", "regimes"), [(0.004, {"undecided"}), (0.0005, {"slow", "converged"})]
)
def test_what_the_held_out_examples_may_be_by_chance_is_nothing_learned(error, regimes):
    """Losses that fall smoothly by a hundredth: whether that is noise, only the losses
    of parts of the examples say."""
    noise = np.full(20, error)
    curves = [curve(falls(rate, 0.99)) for rate in (0.01, 0.6)]
    trials = [replace(losses, gain_noise=noise) for losses in curves]
    assert set(labels(*trials).split()) == regimes


def test_paired_losses_of_eight_parts_say_how_certain_a_difference_is():
    hard = np.arange(8) ** 2.0
    harder = hard + [0.1, 0.3] * 4
    spread = 0.1 * math.sqrt(8 / 7)
    error = spread / math.sqrt(8)
    assert paired_noise(harder, hard) == pytest.approx(error)
    seven = hard[:7]
    assert math.isnan(paired_noise(seven, seven))


RISING = 0.3 + 0.02 * (T - 3.0) ** 2 / 10
MEMORISED = curve(np.geomspace(0.8, 1e-4, 20), RISING)
"""The training loss falls to nearly 0, and the held-out loss rises from the fourth
epoch on."""


def test_a_sibling_that_overfits_is_no_measure_of_the_good_one():
    good = curve(falls(0.6, 0.2), falls(0.6, 0.25), noise=1e-3)
    assert labels(good, MEMORISED) == "converged overfit"


def test_one_that_overfits_is_measured_by_its_least_loss_where_no_other_came_so_low():
    """It ended as low as the other, which still falls, but was far below before."""
    least = falls(0.6, 0.3)[:8]
    risen = np.concatenate([least, np.linspace(0.36, 0.5, 12)])
    memorised = curve(falls(0.6), risen)
    still_falling = curve(falls(0.04, 0.1))
    assert labels(still_falling, memorised).endswith(" overfit")


def test_one_that_overfits_alone_is_measured_by_what_it_reached_before():
    assert labels(MEMORISED) == "overfit"


def test_negative_losses_are_losses():
    """From -0.01 to -47, as a flow's does: that is no divergence."""
    slow = curve(falls(0.02, -47, -0.01), untrained=-0.01)
    fast = curve(falls(0.6, -47, -0.01), untrained=-0.01)
    assert labels(slow, fast) == "slow converged"


def test_losses_of_many_sizes_are_compared_by_their_logarithms():
    """Between 1e-2 and 1e-5 is as much as between 10 and 1e-2. In logarithms, the slow
    one is halfway."""
    slow_decades = 0.15 * T
    slow = curve(10 * 10**-slow_decades, untrained=10)
    fast_decades = 6 * (1 - np.exp(-T / 2))
    fast = curve(10 * 10**-fast_decades, untrained=10)
    shares = as_shares([slow, fast])
    last_share = shares[0].score[-1]
    assert last_share == pytest.approx(0.5, abs=0.02)


def test_losses_of_one_size_are_compared_as_they_are():
    least = least_loss([curve(falls(0.6))])
    assert least.logarithmic is False


@pytest.mark.parametrize("scale", [1, 1e-3])
def test_losses_that_are_far_apart_have_not_both_converged(scale):
    """As of an autoencoder that begins at 181: users see that 31.9 is far from 28.0. So
    it is in other units."""
    fall = 20 * np.exp(-0.3 * (T - 1))
    losses = [scale * (low + fall) for low in (31.9, 28.0)]
    units = {"untrained": scale * 181, "noise": scale * 0.05}
    pair = [curve(loss, **units) for loss in losses]
    assert labels(*pair) == "slow converged"


def test_what_left_for_good_has_diverged():
    def good_until_6(then):
        return np.where(T < 6, falls(0.3), then)

    gone = curve(good_until_6(1e5), diverged=True)
    above = curve(good_until_6(1.5 + 0.01 * (T % 2)))
    not_finite = curve(good_until_6(np.nan))
    regimes = labels(calm(0.6), gone, above, not_finite)
    assert regimes == "converged diverged diverged diverged"


def test_not_every_trial_that_ends_makes_the_shares_of_all_anew(monkeypatch):
    """While trials run, a verdict would take as long as there are trials."""
    siblings = Family(running=False)
    counted = mock.Mock(wraps=least_loss)
    monkeypatch.setattr("mnist_tune.regimes.labels.least_loss", counted)
    for i in range(200):
        siblings.put(i, Trial(0.1, 0.0, calm(0.6)))
        siblings.trial(i)
        assert counted.call_count == i + 1 or i > 15
    assert counted.call_count < 80


def test_two_losses_in_a_sentence_are_told_apart():
    stays = curve(1.3921 + 0 * T, untrained=1.3879)
    learns = curve(1.3879 - 0.01 * T, untrained=1.3879)
    siblings = Family(running=False)
    siblings.put(0, Trial(0.2, 0.0, stays))
    siblings.put(1, Trial(0.1, 0.0, learns))
    label = siblings.label(0)
    assert label.regime == "diverged"
    assert evidence(label).startswith("training loss 1.392 (untrained 1.388)")


@pytest.mark.parametrize("guess", [0.9, math.inf])
def test_a_larger_rate_that_stays_where_it_was_while_the_best_learned_is_lost(guess):
    """Whether a guess's loss is known or not. Below the best rate, it is slow, unless
    it is known to guess."""
    data = facts(guess)
    good = curve(falls(0.6), data=data)
    stays = curve(np.full(20, 0.9) + 1e-4 * np.sin(T), data=data)
    assert labels(good, stays) == "converged diverged"
    assert labels(stays, good) == "slow converged"


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
    assert family.label(0).regime == "converged"
    assert family.label(1).regime == "diverged"


@pytest.mark.parametrize(("epochs", "regime"), [(100, "undecided"), (130, "diverged")])
def test_a_run_that_was_cut_is_lost_after_a_thousand_steps_on_a_plateau(epochs, regime):
    all_epochs = np.arange(1, 201)
    complete = curve(0.1 + 0.9 * np.exp(-0.1 * all_epochs), planned=200)
    ripples = 1e-4 * np.sin(np.arange(epochs))
    cut = curve(0.8 + ripples, planned=200)
    assert labels(complete, cut) == f"converged {regime}"


@pytest.mark.parametrize(
    ("guess", "regime"), [(math.inf, "undecided"), (math.log(127), "diverged")]
)
def test_a_larger_rate_that_stays_at_a_guess_within_noise_does_not_oscillate(
    guess, regime
):
    """As at ln 127 in eight epochs, of a task that does not say its guess."""
    wobble = 0.004 * (-1) ** np.arange(8)
    eight_epochs = {"untrained": 5.5, "planned": 8}
    data = facts(guess)
    falling = np.linspace(5.4, 4.5, 8)
    learns = curve(falling, data=data, **eight_epochs)
    about_guess = math.log(127) + wobble
    stays = curve(about_guess, data=data, **eight_epochs)
    assert labels(learns, stays) == f"undecided {regime}"
    # one that jumps by more than noise still does
    wild = math.log(127) + 20 * wobble
    jumps = curve(wild, **eight_epochs)
    assert labels(learns, jumps) == "undecided oscillating"


def test_a_guess_far_below_the_untrained_loss_leaves_what_was_learned_known():
    """How far the loss fell from 66 differs much between examples. How far it lies
    below the guess of 4 does not."""
    start = {"untrained": 66.0, "data": facts(4.0)}
    noise = np.full(20, 6.5)
    fell = falls(1.7, 1e-6, 66.0)
    errors = {"gain_noise": noise, "loss_error": 0.1 * fell}
    slow = replace(curve(falls(0.05, 0.0, 66.0), **start), **errors)
    fast = replace(curve(fell, **start), **errors)
    assert labels(slow, fast) == "slow converged"
    near = curve(falls(0.6, 3.9, 66.0), **start)
    error = np.full(20, 0.2)
    uncertain = replace(near, gain_noise=noise, loss_error=error)
    assert labels(uncertain) == "undecided", "its own loss is not as certain"


def test_a_trial_that_goes_to_and_fro_oscillates_even_if_all_do():
    wild = 0.3 + 0.15 * (T % 2)
    assert labels(calm(0.6), curve(wild)) == "converged oscillating"
    all_wild = [curve(wild + 0.01 * k) for k in range(3)]
    assert labels(*all_wild) == "oscillating oscillating oscillating"


def with_target(trials, target):
    data = facts(target=target)
    return [replace(trial, data=data) for trial in trials]


def test_a_trial_that_ends_above_another_is_underfit_only_by_a_target_loss():
    pair = [calm(0.6, 0.5), calm(0.6, 0.1)]
    assert labels(*pair) == "slow converged"
    first = pair[:1]
    assert labels(*with_target(first, 0.2)) == "underfit"
    assert labels(*with_target(pair, 0.6)) == "converged converged"


@pytest.mark.parametrize("target", [0.005, 0.0, -0.1])
def test_a_target_loss_far_below_all_trials_leaves_the_slow_ones_slow(target):
    slow = curve(1 - 0.02 * T / 20, noise=1e-3)
    good = curve(falls(0.6, 0.05), noise=0.003)
    pair = with_target([slow, good], target)
    assert labels(*pair) == "slow underfit"


def test_before_a_trial_has_run_all_its_epochs_nobody_knows_how_much_can_be_learned():
    short = [curve(falls(rate)[:10]) for rate in (0.02, 0.6)]
    assert least_loss(short) is None
    assert labels(*short) == "undecided undecided"
    gone = curve(np.full(10, 1e9), diverged=True)
    assert labels(*short, gone) == "undecided undecided diverged"


def test_who_gives_the_least_loss_is_known():
    slow = curve(falls(0.1))
    fast = falls(0.6)
    best = curve(fast, falls(0.6, 0.2))
    short = curve(fast[:8], falls(0.9, 0.0)[:8])
    least = least_loss([slow, best, short])
    assert least.untrained == 1.0
    assert least.held_out == pytest.approx(0.2, abs=1e-3)
    assert least.logarithmic is False
    end = best.train_loss[-3:].mean()
    assert least.train == pytest.approx(end, abs=1e-3)
    about_best = np.array([0.21, 0.2, 0.19, 0.18])
    gains = np.diff(least.share(about_best, True))
    assert (gains > 0).all()
    losses = np.array([1.5, 0.6, 0.4])
    shares = least.share(losses, True)
    assert shares == pytest.approx([0, 0.5, 0.75], abs=1e-2)


TASK_TRIALS = pd.DataFrame(
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


def test_the_best_trial_of_a_task_has_the_least_held_out_loss():
    best = standing(complete(TASK_TRIALS), facts())
    assert best["learning_rate"].tolist() == [0.2, 0.4, 0.1]
    assert best["close"].tolist() == [True, True, False]


def test_losses_of_seeds_that_are_far_apart_are_compared_by_their_ratios():
    losses = np.array([0.2, 1e-3, 4e-3, 9])
    precise = TASK_TRIALS.assign(loss_noise=1e-5)
    seeds = [precise.assign(test_loss=losses * k, seed=k) for k in (1, 1.2)]
    best = standing(complete(pd.concat(seeds)), facts())
    assert best["close"].tolist() == [True, False, False]


def test_the_best_setting_of_a_task_has_the_least_mean_loss_of_its_seeds():
    """The second has the least loss of all, by luck."""
    lucky, unlucky = 1e-3, 9e-3
    seeds = []
    for second in (lucky, unlucky):
        losses = [0.2, second, 4e-3, 9]
        seeds.append(TASK_TRIALS.assign(test_loss=losses, seed=second))
    best = standing(complete(pd.concat(seeds)), facts())
    assert best["learning_rate"].iloc[0] == 0.4
