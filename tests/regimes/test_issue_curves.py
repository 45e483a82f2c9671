"""What the labels of the made-up curves and sweeps say."""

from dataclasses import replace

import numpy as np
import pytest
from made_up_curves import ISSUE_CURVES, MNIST_5K, curve, rise, sweep

from mnist_tune.regimes.curve_rules import curve_regime, reached, shaken
from mnist_tune.regimes.data_facts import MNIST
from mnist_tune.regimes.diverged import diverged, since, stuck
from mnist_tune.regimes.forecast import forecast
from mnist_tune.regimes.oscillating import early_spike, oscillating, unstable


@pytest.mark.parametrize("name", ["late collapse", "late collapse of ten", "collapse in the last epoch"])
def test_a_late_collapse_says_where_it_was_and_when_it_fell(name):
    found, _ = ISSUE_CURVES[name]
    fell = int((found.accuracy > 0.5).sum()) + 1
    evidence = curve_regime(found)[1]
    assert evidence.startswith(f"late: accuracy {found.accuracy[fell - 2]:.4f}, then ")
    assert f"in epoch {fell}" in evidence


def test_a_dead_network_names_its_step():
    assert curve_regime(ISSUE_CURVES["dead"][0])[1].startswith("dead since step 7: accuracy never above 0.1124")
    assert since(curve([0.2, 0.1, 0.1, 0.1])) == " since epoch 2"


def test_single_spikes_are_evidence():
    assert curve_regime(ISSUE_CURVES["two spikes in fifty epochs"][0])[1].endswith("2 spikes in 50 epochs")


def test_a_target_belongs_to_the_data_set():
    found = ISSUE_CURVES["Fashion-MNIST"][0]
    assert curve_regime(found, MNIST.target)[0] != "converged"
    assert "no target known" in curve_regime(found, None)[1]


@pytest.mark.parametrize("epochs", range(1, 7))
def test_without_a_target_every_length_has_a_label(epochs):
    """No sibling has learned, so that there is no target, and the curve is above chance and rises ever faster."""
    found = curve([0.16, 0.17, 0.19, 0.22, 0.26, 0.31][:epochs])
    assert curve_regime(found, None)[0] == "undecided"


def test_too_few_epochs_promise_nothing():
    """Not even that the target is never reached."""
    assert str(forecast(curve([0.5, 0.7]), 0.95)) == "about epoch any later (3 to any later)"
    assert reached(curve([0.5, 0.7]), 0.95, "undecided") is None


POWER_LAW = 1 - 0.5 * np.arange(1, 9) ** -0.4
"""Its error is 0.05 in epoch 316, as 10**2.5."""

RISING = [0.9, 0.93, 0.94, 0.948]
CREPT = [0.9, 0.95, 0.96, *np.linspace(0.958, 0.94, 7)]
ACCIDENT = [0.95, 0.97, 0.98, 0.985, *[0.995] * 5, 0.94]
FASTER = 1 - 0.5 * np.arange(1, 9) ** -0.9


@pytest.mark.parametrize(
    ("accuracy", "label", "values", "said"),
    [
        (POWER_LAW, "slow", {}, "about epoch 320 (48 to 2100)"),
        (POWER_LAW, "slow", {"schedule": "cosine", "asked": 9}, "about epoch 320 (48 to 2100)"),
        (POWER_LAW, "slow", {"schedule": "cosine"}, "None"),  # its learning rate is 0
        (POWER_LAW, "underfit", {}, "never"),
        (POWER_LAW, "oscillating", {}, "None"),
        (POWER_LAW[:4], "slow", {}, "None"),
        ([0.96, 0.94, 0.96, 0.97], "converged", {}, "in epoch 3"),
        ([0.96, 0.94, 0.96, 0.97], "undecided", {"schedule": "cosine"}, "in epoch 3"),
        ([0.96, 0.94, 0.96, 0.97], "overfit", {}, "None"),
        ([0.96, 0.94, 0.96, 0.97], "diverged", {}, "None"),
        ([0.5, 0.7, 0.8, 0.88, 0.93, 0.9501, 0.9499], "undecided", {}, "None"),  # it was there, and is no more
    ],
)
def test_when_a_curve_reaches_its_target(accuracy, label, values, said):
    assert str(reached(curve(accuracy, **values), 0.95, label)) == said
    assert reached(curve(accuracy, **values), None, label) is None


def test_a_power_law_is_continued_with_the_noise_of_its_counts():
    ahead = forecast(curve(POWER_LAW), 0.95)
    assert (ahead.likely, ahead.exponent) == pytest.approx((10**2.5, 0.4))
    x, error = np.log(np.arange(4, 9)), 0.5 * np.arange(4, 9) ** -0.4
    noise = np.sqrt((1 - error) / error / 60_000)
    assert ahead.spread == pytest.approx(np.sqrt(np.mean(noise**2) / ((x - x.mean()) ** 2).sum()))
    assert (ahead.slowest, ahead.fastest) == pytest.approx((0.4 - 1.6449 * ahead.spread, 0.4 + 1.6449 * ahead.spread))
    near = forecast(curve(POWER_LAW), POWER_LAW[-1] + 0.0001)
    assert near.earliest == near.likely == 9, "the next epoch is the first that it may be"


def test_without_a_target_the_evidence_says_so_once():
    assert curve_regime(curve(POWER_LAW), None) == ("undecided", f"accuracy {POWER_LAW[-1]:.4f}, no target known")
    level = curve([0.610, 0.624, 0.622, 0.627, 0.636, 0.632, 0.635, 0.633, 0.636, 0.634])
    assert curve_regime(level, None) == ("underfit", "levelled off at accuracy 0.6340, no target known")


@pytest.mark.parametrize("last", [(0.96, 0.96, 0.90), (0.90, 0.90, 0.96)])
def test_one_low_epoch_on_held_out_images_is_not_overfit(last):
    found = curve([0.96, 0.97, 0.98, 0.985, 0.99, 0.99], held_out=[0.94, 0.95, 0.96, *last])
    assert curve_regime(found)[0] == "converged"
    both = curve([0.96, 0.97, 0.98, 0.985, 0.99, 0.99], held_out=[0.94, 0.95, 0.96, 0.96, 0.90, 0.90])
    assert curve_regime(both) == ("overfit", "held out 0.9600 in epoch 3, then 0.9000")


# --- with siblings


SMOKE = (0.01, [0.60, 0.725, 0.81]), (0.1, [0.886, 0.9048, 0.92]), (1.0, [0.9277, 0.9364, 0.944])


def test_the_smoke_sweep():
    assert sweep(*SMOKE)["regime"].tolist() == ["slow", "undecided", "undecided"]


def test_the_order_of_siblings_changes_nothing():
    assert sweep(*SMOKE[::-1])["regime"].tolist() == ["undecided", "undecided", "slow"]


DEAD = [0.1124] * 10, {"train_loss": [2.301] * 10, "untrained_loss": 2.4, "step_loss_max": [2.6] * 10}
GOOD = list(rise(0.94, 0.988, 10)), {"train_loss": [0.1] * 10, "untrained_loss": 2.4, "step_loss_max": [0.7] * 10}


def test_siblings_tell_dead_from_unlearnable():
    assert sweep((0.1, *GOOD), (3.0, *DEAD))["regime"].tolist() == ["converged", "diverged"]
    assert set(sweep((0.1, *DEAD), (3.0, *DEAD))["regime"]) <= {"underfit", "undecided"}
    assert sweep((0.1, *GOOD), (1e-6, *DEAD))["regime"].tolist() == ["converged", "slow"]


def test_the_best_of_a_sweep_is_slow_if_its_own_curve_says_so():
    slow = [list(rise(0.3 + 0.1 * i, 0.6 + 0.1 * i, 10)) for i in range(3)]
    found = sweep(*zip((1e-4, 1e-3, 1e-2), slow, strict=True))
    assert found["curve_regime"].tolist() == ["slow"] * 3
    assert found["regime"].tolist() == ["slow"] * 3


def test_batch_sizes_are_told_apart():
    good, slow = list(rise(0.94, 0.988, 10)), list(rise(0.3, 0.7, 10))
    found = sweep((0.1, good), (0.1, slow), (0.01, DEAD[0]), batch_size=[8, 2048, 2048])
    assert found["regime"].tolist() == ["converged", "slow", "slow"]
    found = sweep((0.1, good), (3.0, *DEAD), batch_size=[8, 2048])
    assert found["regime"].tolist() == ["converged", "diverged"]


def test_what_is_at_the_target_is_not_slow_though_a_sibling_is_far_ahead():
    ahead, behind = [0.97, 0.98, 0.985], [0.90, 0.93, 0.951]
    assert sweep((0.1, ahead), (0.01, behind), asked=10)["regime"].tolist() == ["converged", "undecided"]
    assert sweep((0.1, ahead), (0.01, [*behind[:2], 0.949]), asked=10)["regime"][1] == "slow"


def test_memorised_labels_are_overfit():
    assert curve_regime(curve(rise(0.3, 0.99, 10), held_out=[0.1] * 10))[0] == "overfit"


@pytest.mark.parametrize(
    ("found", "label", "evidence"),
    [
        (curve([0.6]), "undecided", "1 epoch, accuracy 0.6000: too few to tell"),
        (curve([0.6, 0.7]), "undecided", "2 epochs, accuracy 0.7000: too few to tell"),
        (curve(CREPT), "undecided", "accuracy 0.9600 in epoch 3, crept to 0.9400"),
        (curve(ACCIDENT), "converged", "accuracy 0.9950, but for 0.9400 in epoch 10"),
        (curve([*RISING, 0.951, 0.952, 0.949]), "undecided", "accuracy 0.9490, about the target 0.95"),
        (curve([*RISING, 0.949, 0.952, 0.951]), "converged", "accuracy 0.9510 >= 0.95"),
        (curve(FASTER, schedule="cosine"), "undecided", "accuracy 0.9231 when the learning rate was 0"),
        (curve(FASTER, schedule="cosine", asked=9), "undecided", "on its way: 0.95 about epoch 13 (10 to 17)"),
        (curve([0.10, 0.105, 0.11, 0.116, 0.12]), "slow", "accuracy 0.1200; 0.95 not before epoch 1000"),
        (curve([0.5, 0.505, 0.51, 0.515]), "slow", "accuracy 0.5150; 0.95 not before epoch 1000"),
        (curve([0.12] * 2, train_loss=[2.5] * 2, untrained_loss=2.4), "diverged", "training loss 2.5, 2.4 untrained"),
        (
            curve([0.97, 0.98, 0.1, 0.1], guessing_since=7),
            "diverged",
            "late: accuracy 0.9800, then 0.1000 in epoch 3, a guess since step 7",
        ),
        (
            curve([0.2, 0.1, 0.1, 0.1], train_loss=[2.301] * 4, untrained_loss=8.0),
            "diverged",
            "dead since epoch 2: accuracy never above 0.1000 after 0.2000 in epoch 1, loss that of a guess",
        ),
        (
            curve([0.1124] * 5, train_loss=[0.45] * 5, untrained_loss=1.0, loss="mse"),
            "diverged",
            "dead since epoch 1: accuracy never above 0.1124, loss that of a guess",
        ),
    ],
)
def test_a_label_names_the_numbers_that_decided_it(found, label, evidence):
    assert curve_regime(found) == (label, evidence)


def test_what_is_at_chance_is_stuck_unless_its_loss_may_come_back():
    flat = {"accuracy": [0.1] * 5, "untrained_loss": 2.4, "batch_size": 60_000}  # a step an epoch
    assert stuck(curve(train_loss=[2.9] * 5, asked=5, **flat))
    assert not stuck(curve(train_loss=[2.9] * 5, asked=6, **flat)), "it is above the untrained loss, but not for long"
    assert stuck(curve(train_loss=[2.40, 2.36, 2.42, 2.37, 2.32], asked=6, **flat)), "it goes to and fro"
    assert not stuck(curve(train_loss=[2.40, 2.39, 2.38, 2.37, 2.32], asked=6, **flat))


def test_what_is_stuck_at_a_larger_loss_than_a_guess_is_not_dead():
    found = curve([0.1124] * 5, train_loss=[5.0] * 5, untrained_loss=8.0)
    assert stuck(found)
    assert diverged(found) == ""


def test_what_guesses_is_not_unstable_though_its_loss_is_above_the_untrained_one():
    found = curve([0.1, 0.1, 0.5, 0.1], train_loss=[2.6] * 4, untrained_loss=2.4)
    assert unstable(found).tolist() == [False, True, False]


@pytest.mark.parametrize(
    ("losses", "said"), [("rise", "accuracy fell in 3 of 6 epochs, 0.6000 to 0.6800"), ("fall", "")]
)
def test_a_fall_within_the_noise_counts_where_the_loss_rose_with_it(losses, said):
    """Three falls by 0.02 are visible, and less than 4,000 images can tell."""
    accuracy = [0.60, 0.64, 0.62, 0.66, 0.64, 0.68, 0.66]
    loss = [4 * (1 - value) for value in accuracy] if losses == "rise" else np.linspace(1.6, 1.0, 7)
    found = curve(accuracy, train_loss=list(loss), untrained_loss=2.4, data=MNIST_5K)
    assert (found.falls[1::2] < found.falls_noise[1::2]).all()
    assert oscillating(found, 0.91) == said


@pytest.mark.parametrize(
    ("accuracy", "asked", "said"),
    [
        ([0.87 if i in (1, 3, 5) else 0.9 for i in range(13)], 13, ""),  # it was calm in its second half
        ([0.87 if i in (1, 3, 8) else 0.9 for i in range(13)], 13, "unstable in 3 of 12 epochs: falls of 0.030"),
        ([0.6, 0.7, 0.69, 0.75, 0.74], 5, "accuracy fell in 2 of 4 epochs, 0.6000 to 0.7500"),
        ([0.6, 0.7, 0.69, 0.75, 0.74], 6, ""),  # it is not over
        ([0.945, 0.957, 0.945, 0.957, 0.945, 0.957], 6, "accuracy fell in 2 of 5 epochs, 0.9450 to 0.9570"),
        ([0.945, 0.957, 0.945, 0.957, 0.951, 0.957], 6, ""),  # it ended at the target
    ],
)
def test_what_has_few_slips_oscillates_only_if_they_are_late_and_all(accuracy, asked, said):
    assert oscillating(curve(accuracy, asked=asked), 0.95) == said


def test_a_first_spike_that_is_hardly_above_the_untrained_loss_shakes_no_curve():
    values = {"train_loss": [0.4, 0.3, 0.3], "untrained_loss": 2.4}
    for first, expected in ((3.55, False), (3.65, True)):
        found = curve([0.90, 0.92, 0.93], window_loss_max=[first, 0.5, 0.5], **values)
        assert found.spikes().tolist() == [True, False, False]
        assert shaken(found) is expected
        assert early_spike(found) == ", loss up to 3.65 in epoch 1" * expected
    assert early_spike(curve([0.5, 0.5], window_loss_max=[40.0, 60.0], **values | {"train_loss": [0.4, 0.3]})).endswith(
        "up to 40 in epoch 1"
    )


def test_a_plateau_at_chance_may_end():
    assert curve_regime(curve([0.11, 0.11, 0.12], asked=10, train_loss=[2.302, 2.30, 2.299]))[0] == "undecided"


def test_the_best_sibling_is_the_measure_where_there_is_no_target():
    data = replace(MNIST, target=None)
    found = sweep((0.1, list(rise(0.82, 0.905, 10))), (0.01, list(rise(0.6, 0.8, 10))), data=data)
    assert found["regime"].tolist() == ["converged", "slow"]


def test_where_all_have_one_rate_none_is_the_best():
    slow = list(rise(0.3, 0.7, 10))
    assert sweep((0.1, slow), (0.1, slow))["regime"].tolist() == ["slow", "slow"]


def test_what_is_at_chance_at_the_rate_at_which_another_seed_learned_is_dead():
    assert sweep((0.1, *GOOD), (0.1, *DEAD))["regime"].tolist() == ["converged", "diverged"]
