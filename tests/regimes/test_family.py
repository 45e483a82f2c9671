"""What trials of one network say of each other, and what they may not."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_curves import curve, losses, rise, sweep

from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.data_facts import DATA, MNIST, DataFacts
from mnist_tune.regimes.labels import Family, Trial, label_trials
from mnist_tune.regimes.statistics import target_of

K = np.arange(10)
FAST, AT_CHANCE = list(rise(0.95, 0.99, 10)), [0.1124] * 10
GUESSING = losses([2.301] * 10)


def level(end):
    """Ten epochs that level off."""
    return end - 0.3 * 0.4**K


def labels(*trials):
    """Labels and evidence of trials, each its accuracies and what is not usual of it."""
    usual = {"learning_rate": 0.1, "batch_size": 128, "momentum": 0.0, "epochs_asked": 10, "seed": 0}
    table = pd.DataFrame([usual | fields | {"trial_id": f"{i}"} for i, (_, fields) in enumerate(trials)])
    rows = [
        {"trial_id": f"{i}", "test_accuracy": accuracy, "train_accuracy": accuracy, "untrained_loss": 2.4}
        for i, (curve, _) in enumerate(trials)
        for accuracy in curve
    ]
    found = label_trials(table, pd.DataFrame(rows))
    return list(zip(found["regime"], found["regime_evidence"], strict=True))


FASTER = (level(0.97), {"learning_rate": 1.0})


def test_another_seed_at_the_same_rate_says_nothing():
    alone = labels((level(0.80), {}))
    assert alone[0][0] == "underfit"
    assert labels((level(0.80), {}), (level(0.83), {"seed": 1}))[0] == alone[0]


def test_learning_rates_that_are_equal_but_for_rounding_are_equal():
    with_momentum = {"momentum": 0.9, "learning_rate": 0.1}
    assert 0.1 / 128 / (1 - 0.9) != 1 / 128
    assert labels((level(0.80), {"learning_rate": 1.0}), (level(0.97), with_momentum))[0][0] == "underfit"


def test_the_best_is_the_measure_a_faster_one_makes_slow_and_a_slower_one_oscillating():
    assert labels((level(0.80), {}), FASTER)[0] == ("slow", "accuracy 0.7999 after 10 epochs; rate 1 had 0.9699")
    to_and_fro = [0.5, 0.6, 0.65, 0.641, 0.70, 0.74, 0.731, 0.76, 0.759, 0.80]
    slower = (level(0.96), {"learning_rate": 0.01})
    said = "rises and falls: accuracy 0.8000 after 10 epochs; rate 0.01 had 0.9599"
    assert labels((to_and_fro, {}), slower)[0] == ("oscillating", said)
    assert labels((level(0.80), {}), slower)[0][0] == "undecided", "it does not go to and fro"
    assert labels((level(0.80), {}), (level(0.85), {"learning_rate": 1.0}), slower)[0][0] == "undecided"


def test_what_is_a_little_better_is_no_measure_unless_it_is_at_the_target():
    own, larger = (level(0.80), {}), {"learning_rate": 1.0}
    assert labels(own, (level(0.812), larger))[0] == labels(own)[0], "nobody sees the difference"
    assert labels(own, (level(0.82), larger))[0][0] == "slow"
    said = "accuracy 0.9399 after 10 epochs; rate 1 had 0.9519"
    assert labels((level(0.94), {}), (level(0.952), larger))[0] == ("slow", said)


@pytest.mark.parametrize("end", [level(0.97).tolist()[:5] + [0.1] * 5, None])
def test_what_diverged_or_memorised_is_no_measure(end):
    larger = (1.0, level(0.97), {"test_accuracy": [0.9, 0.95, 0.96, 0.96, *[0.9] * 6]}) if end is None else (1.0, end)
    found = sweep((0.1, level(0.80)), larger)["regime"].tolist()
    assert found == ["underfit", "overfit" if end is None else "diverged"]


@pytest.mark.parametrize(
    ("name", "first", "second"),
    [
        ("architecture", "mlp-16-tanh", "mlp-32-tanh"),
        ("label_noise", 0, 100),
        ("optimizer", "sgd", "adam"),
        ("schedule", "constant", "warm-up"),
        ("loss", "cross-entropy", "mse"),
        ("drop_last", False, True),
    ],
)
def test_only_trials_of_the_same_network_labels_and_training_are_siblings(name, first, second):
    own, better = (level(0.80), {name: first}), {"learning_rate": 1.0}
    assert labels(own, (level(0.97), better | {name: first}))[0][0] == "slow"
    assert labels(own, (level(0.97), better | {name: second}))[0] == labels(own)[0]


def test_rates_of_different_batches_are_compared_by_image():
    found = labels((level(0.80), {"learning_rate": 0.5, "batch_size": 8}), FASTER)
    assert found[0] == ("undecided", "accuracy 0.7999 after 10 epochs; rate 1 with batches of 128 had 0.9699")


# --- at chance


@pytest.mark.parametrize(("rate", "label"), [(0.001, "slow"), (0.01, "slow"), (0.03, "diverged"), (1.0, "diverged")])
def test_what_is_at_chance_is_dead_above_the_least_rate_that_learned_and_slow_from_there_on(rate, label):
    """At one rate, a luckier seed may learn: 0.01 is the least that did."""
    found = sweep((rate, AT_CHANCE, GUESSING), (0.01, FAST), (0.1, FAST))
    assert found["regime"][0] == label
    assert found["regime_evidence"][0].endswith("at chance; rate 0.1 reached 0.9900")


@given(st.floats(1.5, 9), st.integers(0, 9), st.booleans())
def test_no_rate_below_all_that_learned_is_diverged(untrained, falls, flagged):
    """Whatever its untrained loss was, and whether its loss fell."""
    course = np.full(10, 2.4) - 0.001 * np.minimum(np.arange(10), falls)
    values = losses(course, [untrained + 1, *[2.5] * 9], untrained, diverged=[flagged] * 10, above_since=1)
    assert sweep((0.001, AT_CHANCE, values), (0.01, FAST), (0.1, FAST))["regime"][0] != "diverged"


def test_a_loss_that_falls_is_not_dead():
    falling = losses(np.linspace(3.5, 2.6, 10), untrained=3.6)
    assert sweep((0.05, AT_CHANCE, falling), (0.01, FAST), (0.1, FAST))["regime"][0] == "slow"
    assert sweep((0.05, AT_CHANCE, falling))["regime"][0] == "slow"


def test_with_few_steps_an_epoch_chance_is_not_the_end_of_a_run_that_goes_on():
    found = sweep(
        (0.1, AT_CHANCE[:6], losses([2.5] * 6, untrained=2.35)), (0.01, FAST), asked=60, batch_size=[60_000] * 2
    )
    assert found["regime"][0] == "undecided"
    many = sweep((0.1, AT_CHANCE[:6], losses([2.5] * 6, untrained=2.35)), (0.01, FAST), asked=60)
    assert many["regime"][0] == "diverged"


def test_where_one_class_is_frequent_the_loss_decides_what_accuracy_can_not():
    rare = DataFacts.of([9_700, 300], 2_000)
    chance, falling = [0.97] * 10, losses(np.geomspace(0.13, 0.08, 10), untrained=0.7)
    still = losses([0.1347] * 10, untrained=0.7)
    learned = [0.97, *[0.985] * 9]
    found = sweep((0.03, chance, falling), (0.01, learned, falling), (0.1, chance, still), data=rare)
    assert found["regime"].tolist()[0] != "diverged"
    assert found["regime"].tolist()[2] == "diverged"


# --- late


CUT = [0.5, 0.7, 0.8, 0.84, 0.86]


def test_what_runs_is_slow_only_if_it_will_not_be_as_good_at_its_end_as_a_faster_one_is_by_now():
    assert labels((CUT, {}))[0][0] == "undecided"
    asked = [labels((CUT, {"epochs_asked": asked}), FASTER)[0] for asked in (6, 10, 20)]
    assert [label for label, _ in asked] == ["slow", "undecided", "undecided"]
    assert asked[0][1] == "accuracy 0.8600 after 5 epochs; rate 1 had 0.9623"
    slower = [0.3, 0.42, 0.49, 0.535, 0.57]
    assert [labels((slower, {"epochs_asked": n}), FASTER)[0][0] for n in (10, 40)] == ["slow", "undecided"]
    assert labels((slower, {}))[0][0] == "undecided"
    assert labels(([0.3, 0.42, 0.49, 0.44, 0.57], {}), FASTER)[0][0] == "undecided", "it is shaken"


def test_what_is_at_the_target_is_never_slow():
    own = [0.90, 0.91, 0.92, 0.93, 0.935, 0.94, 0.945, 0.948, 0.947, 0.9505]
    assert labels((own, {}), ([0.99] * 10, {"learning_rate": 1.0}))[0][0] == "undecided"


def test_after_a_schedule_that_ends_at_0_more_epochs_tell_nothing():
    for schedule in ("cosine", "linear"):
        found = sweep((0.1, list(rise(0.5, 0.9, 10))), schedule=[schedule])
        assert found["regime"][0] == "underfit"
        assert found["regime_evidence"][0] == "accuracy 0.9000 when the schedule ended at rate 0"
        assert found["reaches"].isna().all() or np.isinf(found["reaches"]).all()
    assert sweep((0.1, list(rise(0.5, 0.9, 10))), schedule=["constant"])["regime"][0] != "underfit"


# --- the target


NO_TARGET = replace(MNIST, target=None)


def test_a_target_that_follows_is_that_of_the_best_on_held_out_images_that_did_not_memorise():
    honest, memorised = level(0.90), level(0.99)
    assert target_of([], MNIST) == 0.95
    assert target_of([curve(honest)], NO_TARGET) == pytest.approx(np.median(honest[-3:]) - (1 - MNIST.chance) / 30)
    better_held_out = [curve(memorised, held_out=honest - 0.1), curve(honest, held_out=honest - 0.05)]
    assert target_of(better_held_out, NO_TARGET) == target_of([curve(honest)], NO_TARGET)
    overfitted = curve(memorised, held_out=[0.9, 0.95, 0.96, 0.96, *[0.93] * 6])
    assert target_of([curve(honest), overfitted], NO_TARGET) == target_of([curve(honest)], NO_TARGET)
    assert target_of([curve([0.2] * 5)], NO_TARGET) is None, "it has not learned"


def test_of_few_images_the_noise_of_the_best_is_below_it():
    few = DataFacts.of([97, 3], 50)
    found = target_of([curve([0.97, 0.98, 0.99, 0.99, 0.99], data=few)], few)
    assert found == pytest.approx(0.99 - 3 * 0.01)


def test_the_target_of_a_sweep_that_runs_is_that_of_what_is_complete():
    better_so_far = (1.0, FAST[:4])
    found = sweep((0.1, level(0.90)), better_so_far, data=NO_TARGET, asked=10)
    assert found["target"].tolist() == sweep((0.1, level(0.90)), data=NO_TARGET)["target"].tolist() * 2
    assert sweep(better_so_far, data=NO_TARGET, asked=10)["target"].notna().all(), "until there is one"


def test_the_target_is_that_of_the_data():
    assert sweep((0.1, level(0.93)), data=DATA["mnist-5k"])["target"].tolist() == [0.91]


# --- invariance


@given(st.permutations(range(6)))
def test_the_order_of_siblings_changes_nothing(order):
    trials = [
        (0.001, list(rise(0.58, 0.86, 10))),
        (0.1, FAST),
        (0.3, list(level(0.84))),
        (0.5, FAST),
        (1.0, [0.9, 0.8, 0.93, 0.85, 0.95, 0.9, 0.94, 0.91, 0.95, 0.9]),
        (3.0, AT_CHANCE),
    ]
    first = sweep(*trials)
    again = sweep(*(trials[i] for i in order))
    for name in ("regime", "regime_evidence"):
        assert again[name].tolist() == [first[name][i] for i in order]


def test_a_trial_without_an_epoch_is_undecided_and_says_nothing_of_others():
    empty = Trial(1.0, 0.0, Curve(np.array([]), 10), 0.95)
    own = Trial(0.1, 0.0, curve(level(0.80)), 0.95)
    assert Family([empty, own]).label(empty) == ("undecided", "no epoch finished")
    assert Family([empty, own]).label(own) == Family([own]).label(own)
