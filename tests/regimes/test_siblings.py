"""What siblings may say of each other, and what they may not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_up_curves import sweep
from recorded_data import recorded_data

from mnist_tune.execution.epoch_row import window_means
from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.curve_rules import curve_regime
from mnist_tune.regimes.data_facts import DATA, MNIST, DataFacts, data_facts
from mnist_tune.regimes.noise import window_images
from mnist_tune.regimes.siblings import Standings, Trial, far_ahead, label_trials, near_best

K = np.arange(10)


def level(end):
    """Ten epochs that level off."""
    return end - 0.3 * 0.4**K


def labels(*trials):
    """Labels and evidence of trials, each its accuracies and what is not usual of it."""
    usual = {"learning_rate": 0.1, "batch_size": 128, "momentum": 0.0, "epochs_asked": 10, "seed": 0}
    table = pd.DataFrame([usual | fields | {"trial_id": f"{i}"} for i, (_, fields) in enumerate(trials)])
    rows = [
        {"trial_id": f"{i}", "test_accuracy": accuracy, "train_accuracy": accuracy, "window_loss_max": peak}
        for i, (curve, fields) in enumerate(trials)
        for accuracy, peak in zip(curve, [fields.get("first_peak", 1.0)] + [1.0] * (len(curve) - 1), strict=True)
    ]
    epochs = pd.DataFrame(rows).assign(untrained_loss=2.4)
    found = label_trials(table, epochs)
    return list(zip(found["regime"], found["regime_evidence"], strict=True))


def test_another_seed_at_the_same_rate_says_nothing():
    alone = labels((level(0.80), {}))
    assert alone[0][0] == "underfit"
    assert labels((level(0.80), {}), (level(0.83), {"seed": 1}))[0] == alone[0]


def test_a_smaller_rate_still_counts_beside_a_better_seed_at_the_same_one():
    to_and_fro = [0.5, 0.6, 0.65, 0.641, 0.70, 0.74, 0.731, 0.76, 0.78, 0.80]
    better = (level(0.97), {"seed": 1})
    assert labels((to_and_fro, {}), better)[0] == labels((to_and_fro, {}))[0]
    regime, evidence = labels((to_and_fro, {}), better, (level(0.96), {"learning_rate": 0.01}))[0]
    assert regime == "oscillating"
    assert "; rate 0.01 had 0.9599" in evidence


def test_learning_rates_that_are_equal_but_for_rounding_are_equal():
    with_momentum = {"momentum": 0.9, "learning_rate": 0.1, "nesterov": False}
    without = {"momentum": 0.0, "learning_rate": 1.0, "nesterov": False}
    assert 0.1 / 128 / (1 - 0.9) != 1 / 128
    found = labels((level(0.80), without), (level(0.97), with_momentum))
    assert found[0][0] == "underfit"


def test_what_diverged_later_is_no_measure():
    collapsed = [0.8, 0.9, 0.93, 0.95, 0.96, 0.1, 0.1, 0.1, 0.1, 0.1]
    found = labels(([0.5, 0.7, 0.8, 0.84, 0.86], {}), (collapsed, {"learning_rate": 1.0}))
    assert [regime for regime, _ in found] == ["undecided", "diverged"]


CUT = [0.5, 0.7, 0.8, 0.84, 0.86]


def test_a_peer_that_trained_longer_is_a_measure_after_as_many_epochs():
    assert labels((CUT, {}))[0][0] == "undecided"
    regime, evidence = labels((CUT, {}), (level(0.97), {"learning_rate": 1.0}))[0]
    assert regime == "slow"
    assert evidence.startswith("0.95 about epoch 16 (")
    assert evidence.endswith("); rate 1: in epoch 4")


def test_a_slip_in_the_last_epoch_is_not_being_far_behind():
    faster = (level(0.97), {"learning_rate": 1.0})
    assert labels(([*CUT[:3], 0.94, 0.90], {}), faster)[0][0] == "undecided"
    assert labels(([*CUT[:3], 0.84, 0.86], {}), faster)[0][0] == "slow"


def test_what_is_on_its_way_within_the_epochs_asked_is_not_slow():
    faster = (level(0.97), {"learning_rate": 1.0})
    assert labels(([*CUT[:3], 0.90, 0.90], {}), faster)[0][0] == "undecided"
    assert labels(([*CUT[:3], 0.90, 0.90], {"epochs_asked": 6}), faster)[0][0] == "undecided"


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("architecture", "mlp-16-tanh", "mlp-32-tanh"),
        ("label_noise", 0, 100),
        ("optimizer", "sgd", "adam"),
        ("schedule", "constant", "cosine"),
        ("loss", "cross-entropy", "mse"),
    ],
)
def test_only_trials_of_the_same_network_labels_and_training_are_siblings(name, first, second):
    own, better = (level(0.80), {name: first}), {"learning_rate": 1.0}
    assert labels(own, (level(0.97), better | {name: first}))[0][0] == "slow"
    assert labels(own, (level(0.97), better | {name: second}))[0] == labels(own)[0]


def test_the_table_says_when_each_trial_reaches_its_target():
    """Never, if it is underfit; what a sibling has shown to be slow may get there."""
    found = sweep((0.1, CUT), (0.01, level(0.97)), (0.001, level(0.80)), asked=10)
    alone = sweep((0.001, level(0.80)))
    assert [*found["regime"], *alone["regime"]] == ["undecided", "converged", "slow", "underfit"]
    assert found["regime_evidence"][0] == "on its way: 0.95 about epoch 16 (9 to 31)"
    assert found["target"].tolist() == [0.95] * 3
    columns = ["reaches", "reaches_from", "reaches_to"]
    expected = [[16, 9, 31], [4, 4, 4], [np.nan] * 3, [np.inf] * 3]
    np.testing.assert_array_equal(pd.concat([found, alone])[columns].round(), expected)


def test_where_the_best_sibling_is_the_measure_the_target_is_nearly_as_good():
    assert near_best(0.9, 0.5) == pytest.approx(0.9 - 0.5 / 30)
    assert near_best(0.66, 0.5) is not None
    assert near_best(0.64, 0.5) is None, "it has learned less than 30% of what can be learned"
    found = sweep((0.1, level(0.9)), data=replace(MNIST, target=None, chance=0.5))
    assert found["target"][0] == pytest.approx(near_best(level(0.9)[-2], 0.5))


def test_what_got_to_the_target_at_last_is_not_slow_beside_what_was_there_at_once():
    own = [0.90, 0.91, 0.92, 0.93, 0.935, 0.94, 0.945, 0.948, 0.947, 0.9505]
    assert [regime for regime, _ in labels((own, {}), ([0.99] * 10, {"learning_rate": 1.0}))] == [
        "undecided",
        "converged",
    ]


def test_a_cut_curve_is_not_behind_what_diverged_later():
    collapsed = [0.8, 0.9, 0.93, 0.95, 0.96, 0.1, 0.1, 0.1, 0.1, 0.1]
    own = (CUT[:4], {})
    assert labels(own, (collapsed[:4], {"learning_rate": 1.0}))[0][0] == "slow"
    assert labels(own, (collapsed, {"learning_rate": 1.0}))[0] == labels(own)[0]


def test_a_faster_sibling_that_is_not_the_best_is_no_measure():
    own, faster, slower = (level(0.80), {}), (level(0.85), {"learning_rate": 1.0}), {"learning_rate": 0.01}
    assert labels(own, faster)[0] == ("slow", "at 10 epochs 0.7999; rate 1 had 0.8499")
    found = labels(own, faster, (level(0.90), slower))[0]
    assert found == ("undecided", "at 10 epochs 0.7999; rate 0.01 had 0.8999")


def test_what_is_a_little_better_is_no_measure_unless_it_is_at_the_target():
    own, larger = (level(0.80), {}), {"learning_rate": 1.0}
    assert labels(own, (level(0.812), larger))[0] == labels(own)[0], "nobody sees the difference"
    assert labels(own, (level(0.82), larger))[0][0] == "slow"
    there = (level(0.952), larger)
    assert labels((level(0.94), {}), there)[0] == ("slow", "at 10 epochs 0.9399; rate 1 had 0.9519")


@pytest.mark.parametrize(("asked", "label"), [(5, "slow"), (6, "undecided")])
def test_five_epochs_are_enough_to_be_behind_if_they_are_all(asked, label):
    own = [0.5, 0.6, 0.65, 0.64, 0.66]
    found = labels((own, {"epochs_asked": asked}), (level(0.80), {"learning_rate": 1.0}))
    assert found[0][0] == label


def test_what_a_peer_reached_later_does_not_count():
    own = [0.5, 0.6, 0.65, 0.64, 0.66]
    late = [0.5, 0.6, 0.66, 0.66, 0.67, 0.9, *[0.97] * 4]
    found = labels((own, {"epochs_asked": 6}), (late, {"learning_rate": 1.0}))
    assert found[0] == labels((own, {"epochs_asked": 6}))[0]


def test_far_ahead_is_a_third_of_the_errors_of_the_better_of_the_last_two_epochs():
    slipped = Curve(np.array([0.5, 0.90, 0.86]), 3)
    assert [far_ahead(accuracy, slipped) for accuracy in (0.96, 0.97)] == [False, True]


def test_the_target_is_that_of_the_data():
    assert sweep((0.1, level(0.93)), data=DATA["mnist-5k"])["target"].tolist() == [0.91]


def test_what_a_larger_rate_memorised_need_not_be_reached():
    memorised = {"test_accuracy": [0.9, 0.95, 0.96, 0.96, *[0.9] * 6]}
    own, larger = (0.1, level(0.80)), (1.0, level(0.97))
    assert sweep(own, larger)["regime"].tolist() == ["slow", "converged"]
    assert sweep(own, (*larger, memorised))["regime"].tolist() == ["underfit", "overfit"]


def test_what_goes_a_little_to_and_fro_oscillates_only_once_it_has_ended():
    own, smaller = (0.1, [0.70, 0.75, 0.749, 0.76, 0.759, 0.765, 0.764, 0.766]), (0.01, level(0.97)[:8])
    assert sweep(own, smaller)["regime"].tolist() == ["oscillating", "converged"]
    assert sweep(own, smaller, asked=10)["regime"].tolist() == ["undecided", "converged"]


def test_what_is_on_its_way_is_not_slow_beside_what_is_on_its_way_too():
    """Though it needs four times the epochs: the larger rate may never get there."""
    own, larger = 1 - 0.5 * np.arange(1, 11) ** -0.684, 1 - 0.5 * np.arange(1, 6) ** -1.18
    found = sweep((0.1, own), (1.0, larger))
    assert found["regime"].tolist() == ["undecided", "undecided"]
    assert found["reaches"].round().tolist() == [29, 7]


def test_trials_of_different_lengths_are_compared_at_the_shorter_one():
    found = labels((level(0.80), {}), ([0.9, 0.95, 0.96, 0.965, 0.97], {"learning_rate": 1.0, "epochs_asked": 5}))
    assert found[0] == ("slow", "at 5 epochs 0.7923; rate 1 had 0.9700")


@pytest.mark.parametrize("order", [1, -1])
def test_ties_go_to_the_slower_then_to_the_earlier_row(order):
    curve = Curve(np.full(3, 0.9), 3)
    trials = [Trial(row, rate, rate, curve, "slow", "", None) for row, rate in enumerate((2.0, 1.0, 1.0, 3.0, 3.0))]
    found = Standings(trials[::order])
    assert found.best.row == 1
    assert (found.above(1.0).row, found.above(2.0).row, found.above(3.0)) == (0, 3, None)
    assert (found.below(3.0).row, found.below(2.0).row, found.below(1.0)) == (1, 1, None)


def test_what_spiked_in_its_first_epoch_is_not_slow():
    faster = (level(0.97), {"learning_rate": 1.0})
    assert labels((level(0.80), {}), faster)[0][0] == "slow"
    assert labels((level(0.80), {"first_peak": 9.0}), faster)[0][0] == "undecided"


@pytest.mark.parametrize(("asked", "label"), [(10, "undecided"), (8, "slow")])
def test_what_gets_there_within_the_epochs_asked_for_is_on_its_way(asked, label):
    """Though a larger rate was there in its first epoch: it will be there in epoch 9."""
    own, faster = 1 - 0.15 * np.arange(1, 8) ** -0.5, 1 - 0.04 * np.arange(1, 11) ** -0.5
    found = labels((own, {"epochs_asked": asked}), (faster, {"learning_rate": 1.0}))
    assert found[0][0] == label
    assert found[1][0] == "converged"


def test_rates_of_different_batches_are_compared_by_image():
    found = labels((level(0.80), {"learning_rate": 0.5, "batch_size": 8}), (level(0.97), {"learning_rate": 1.0}))
    assert found[0][0] == "undecided"
    assert found[0][1] == "at 10 epochs 0.7999; rate 1 with batches of 128 had 0.9699"


# --- counts of images, which decide noise and patience


@pytest.mark.parametrize("batch_size", [1, 8, 100, 128, 200, 4096])
@pytest.mark.parametrize("holdout", [0, 10_000, 50_000])
def test_windows_are_those_of_training(batch_size, holdout):
    curve = Curve(np.zeros(1), 1, batch_size=batch_size, holdout=holdout)
    images = 60_000 - holdout
    means, _ = window_means(np.ones(-(-images // batch_size)), batch_size, images)
    assert abs(curve.windows - len(means)) <= 1


def test_images_that_are_left_out_are_evaluated_but_in_no_window():
    curve = Curve(np.zeros(1), 1, batch_size=3000, holdout=10_000, drop_last=True)
    assert (curve.trained, curve.windows, curve.evaluated) == (48_000, 16, 50_000)
    assert replace(curve, drop_last=False).trained == 50_000
    assert replace(curve, batch_size=60_000).trained == 1


def test_trials_without_their_last_batch_are_no_siblings_of_those_with_it():
    slow = level(0.80), {"drop_last": False}

    def beside(drop_last):
        return labels(slow, (level(0.99), {"learning_rate": 1.0, "drop_last": drop_last}))[0]

    assert beside(drop_last=True) == labels(slow)[0]
    assert beside(drop_last=False) != labels(slow)[0]


@pytest.mark.parametrize(("batch_size", "images"), [(1, 128), (3, 129), (100, 200), (128, 128), (1000, 1000)])
def test_a_window_is_whole_batches(batch_size, images):
    assert window_images(batch_size) == images


def test_facts_of_a_data_set_follow_from_its_counts():
    said = recorded_data("mnist", label_counts=[60, 40], test_images=20, target=0.8)
    guesses = {"cross-entropy": pytest.approx(0.6730, abs=1e-4), "mse": pytest.approx(0.24)}
    assert data_facts({"dataset": said, "options": {"target": 0.9, "train_evaluation": 50}}) == DataFacts(
        100, 20, chance=0.6, guess_losses=guesses, target=0.9, classes=2, evaluated=50
    )
    assert data_facts({"dataset": said}).target == 0.8
    assert data_facts({"dataset": said | {"target": None}}).target is None


def test_a_class_without_images_counts_for_an_untrained_network_alone():
    facts = DataFacts.of([60, 40, 0], 20)
    assert (facts.classes, facts.chance) == (3, 0.6)
    assert facts.guess_losses == {"cross-entropy": pytest.approx(0.6730, abs=1e-4), "mse": pytest.approx(0.24)}
    assert facts.uniform_loss("cross-entropy") == pytest.approx(np.log(3))
    assert facts.uniform_loss("mse") == pytest.approx(1 / 3)


def lost(epochs, holdout=0, evaluated=None):
    data = data_facts({"dataset": recorded_data("mnist"), "options": {"train_evaluation": evaluated}})
    chance, loss = np.full(epochs, 0.1), np.full(epochs, 2.9)
    curve = Curve(
        chance, 10, train_accuracy=chance, train_loss=loss, untrained_loss=2.43, above_since=2,
        diverged=np.zeros(epochs, bool), holdout=holdout, data=data,
    )  # fmt: skip
    return curve_regime(curve)[0]


def test_patience_counts_steps_whatever_is_evaluated():
    assert lost(3) == lost(3, evaluated=6_000) == "diverged"
    assert lost(2) == lost(2, evaluated=6_000) == "undecided"
    assert lost(3, holdout=50_000) == "undecided"  # 237 steps


def test_the_share_of_wrong_labels_is_that_among_the_evaluated():
    share = {
        "all": Curve(np.zeros(1), 1, label_noise=30_000),
        "held out": Curve(np.zeros(1), 1, holdout=20_000, label_noise=20_000),
        "few evaluated": Curve(np.zeros(1), 1, label_noise=30_000, data=replace(MNIST, evaluated=20_000)),
    }
    assert {name: found.wrong_labels for name, found in share.items()} == pytest.approx(
        {"all": 0.45, "held out": 0.45, "few evaluated": 0.9}
    )
