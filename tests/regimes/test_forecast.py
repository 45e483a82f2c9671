"""When a curve reaches its target, and how often what was said of cut curves came
true."""

import math
from dataclasses import replace

import numpy as np
import pytest
from made_up_curves import curve
from made_up_curves import sweep as labelled

from mnist_tune.regimes.data_facts import DATA, DataFacts
from mnist_tune.regimes.data_facts import target as target_of_data
from mnist_tune.regimes.evidence import when
from mnist_tune.regimes.forecast import (
    KNOWN,
    arrived,
    epochs_to,
    forecast,
    interval,
    reached,
)
from mnist_tune.regimes.labels import curve_regime
from validation.label_cuts import projections, read_set

POWER_LAW = 1 - 0.5 * np.arange(1, 9) ** -0.4
"""Its error is 0.05 in epoch 316, as 10**2.5."""
FASTER = 1 - 0.5 * np.arange(1, 9) ** -0.9
"""Its error is 0.05 in epoch 13, as 10**(1 / 0.9)."""


@pytest.mark.parametrize(
    ("accuracy", "epoch"),
    [
        ([0.9, 0.93, 0.94, 0.96, 0.97, 0.98], 4),
        ([0.96, 0.97, 0.93, 0.97, 0.97], 1),
        ([0.9, 0.9, 0.9, 0.99, 0.99], 4),
        ([0.96, 0.97, 0.98, 0.97, 0.94], 1),
        ([0.96, 0.97, 0.93, 0.94, 0.93], None),
        ([0.9, 0.96], 2),
        ([0.96], 1),
        ([0.9], None),
        ([0.9, 0.91, 0.92], None),
        ([0.9, 0.91, 0.96], 3),
        ([0.96, 0.93, 0.93, 0.93, 0.96], 5),
    ],
)
def test_single_epochs_below_the_target_are_passed_over(accuracy, epoch):
    found = curve(accuracy)
    assert arrived(found, 0.95) == epoch
    if curve_regime(found).regime == "converged":
        assert (
            epochs_to(reached(found, 0.95, "converged"), "converged") == (epoch,) * 3
        ), "never beside converged"


def test_a_power_law_is_continued():
    ahead = forecast(curve(FASTER), 0.95)
    assert ahead.likely == pytest.approx(10 ** (1 / 0.9), rel=1e-6)
    assert ahead.exponent == pytest.approx(0.9, abs=1e-9)
    assert when(ahead) == "at epoch 13 (80%: 10 to 17)"
    far = forecast(curve(POWER_LAW), 0.95)
    assert (far.likely, far.latest) == (pytest.approx(10**2.5), math.inf)
    assert when(far) == "later than epoch 19"


def test_few_images_make_the_exponent_less_sure():
    many, few = curve(POWER_LAW), curve(POWER_LAW, holdout=59_000)
    assert forecast(few, 0.95).spread > 3 * forecast(many, 0.95).spread


@pytest.mark.parametrize(
    ("accuracy", "label", "epochs"),
    [
        ([0.5, 0.7], "undecided", (math.nan,) * 3),  # too few to tell
        *(
            (FASTER, label, (math.nan,) * 3)
            for label in ("oscillating", "diverged", "overfit")
        ),
        (FASTER, "underfit", (math.inf,) * 3),
        (POWER_LAW, "undecided", (math.nan, 19, math.inf)),  # too far
    ],
)
def test_what_is_not_calm_or_too_far_is_promised_no_epoch(accuracy, label, epochs):
    np.testing.assert_equal(
        np.round(epochs_to(reached(curve(accuracy), 0.95, label), label)), epochs
    )


def test_intervals_begin_before_the_law_and_grow_with_it():
    x = np.linspace(0.01, 12, 200)
    first, last = np.array([interval(one) for one in x]).T
    assert (np.diff(first) >= 0).all()
    assert (first < x).all()
    assert (last > x).all()
    assert (np.isinf(last) == (x > KNOWN)).all()


# --- the target


def test_the_best_of_a_sweep_is_no_target_while_it_still_rises():
    rising, level = (
        0.725 - 0.05 * np.arange(9, -1, -1),
        np.array([0.30, 0.40, 0.42, *[0.43] * 7]),
    )
    data = DataFacts.of([1_000] * 10, 1_000)
    course = {"untrained_loss": 2.4}
    found = labelled(
        (0.1, rising, {"train_loss": np.linspace(2.3, 0.9, 10), **course}),
        (0.01, level, {"train_loss": np.array([2.0, 1.8, 1.75, *[1.7] * 7]), **course}),
        data=data,
    )
    assert found["target"].isna().all()
    assert found["regime"].tolist() == ["undecided", "slow"]
    assert (
        found["regime_evidence"][0]
        == "on its way: accuracy 0.7250, not levelled off; no target before the best trial has"
    )
    longer = np.append(rising, [0.75, *[0.755] * 20])
    assert labelled((0.1, longer), data=data)["regime"].tolist() == ["converged"]


def test_behind_wrong_labels_held_out_accuracy_counts_and_the_target_knows_the_noise():
    """The first learns, and memorises nothing; the second memorises the wrong
    labels."""
    held_out, memorised = (
        0.88 - 0.4 * np.arange(1, 21) ** -1.5,
        0.86 - 0.1 * np.arange(20) / 20,
    )
    found = labelled(
        (0.1, 0.8 * held_out + 0.02, {"test_accuracy": held_out}),
        (1.0, np.linspace(0.7, 0.95, 20), {"test_accuracy": memorised}),
        data=DATA["mnist-5k"],
        label_noise=[800, 800],
    )
    assert (
        found["target"].tolist() == [pytest.approx(held_out[-2] - 0.03, abs=0.005)] * 2
    )
    assert found["regime"].tolist() == ["converged", "overfit"]
    assert (
        DATA["mnist"].with_wrong_labels(30_000).target
        == target_of_data("mnist", 15_000)
        == 0.9295
    )
    asked = replace(DATA["mnist"], target=0.94, name="")
    assert asked.with_wrong_labels(30_000).target == 0.94, "what was asked for holds"


@pytest.mark.parametrize(
    ("sets", "how"),
    [((1, 4, 5), {"complete": False}), ([7], {"complete": True, "longer": 3})],
)
def test_four_in_five_intervals_hold_the_epoch_and_what_was_said_to_be_later_was_later(
    sets, how
):
    """The interval was fitted to the first five sets, of which the second and third
    tell little. The seventh, which was trained three times as long as asked, has
    nothing of these."""
    found = [one for number in sets for one in projections(read_set(number), **how)]
    there = [one for one in found if one.epoch < math.inf]
    ranges = [one for one in there if one.finite]
    assert len(there) >= 40
    assert len(ranges) >= 0.6 * len(there)
    assert 0.7 * len(ranges) <= sum(one.holds for one in ranges) <= 0.95 * len(ranges)
    assert np.median([one.end / one.start for one in ranges]) <= 4
    limits = [one for one in found if one.may_be_false]
    assert len(limits) >= 40
    assert sum(one.is_false for one in limits) <= 0.1 * len(limits)
