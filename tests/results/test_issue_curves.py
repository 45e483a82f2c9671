"""Curves whose labels were wrong once, rebuilt from their descriptions; each is labelled as a person would."""

import numpy as np
import pandas as pd
import pytest

from mnist_tune.results.curve import Curve
from mnist_tune.results.data_facts import DATA, MNIST
from mnist_tune.results.lost import since
from mnist_tune.results.regimes import curve_regime, label_curves, label_siblings

MNIST_5K = DATA["mnist-5k"]


def assert_label(found, labels):
    label, evidence = curve_regime(found, found.data.target)
    assert label in labels, evidence


def curve(accuracy, held_out=None, asked=None, **values):
    """A curve of which the training accuracy is known; lists become arrays."""
    arrays = {name: np.array(value, float) if isinstance(value, list) else value for name, value in values.items()}
    accuracy = np.array(accuracy, float)
    held_out = accuracy - 0.005 if held_out is None else np.array(held_out, float)
    return Curve(held_out, asked or len(accuracy), train_accuracy=accuracy, **arrays)


def rise(first, last, epochs):
    """Accuracies whose errors fall as a power of the epochs."""
    power = np.log((1 - first) / (1 - last)) / np.log(epochs)
    return 1 - (1 - first) * np.arange(1, epochs + 1) ** -power


def alternating(low, high, last, epochs):
    values = np.where(np.arange(epochs) % 2, high, low)
    values[-1] = last
    return values


def spiked(epochs, at, peak, calm=0.4):
    peaks = np.full(epochs, calm)
    peaks[0], peaks[at] = 2.4, peak
    return peaks


LONG = rise(0.94, 0.995, 50)
CURVES = {
    "a small rate on mnist-5k": (
        curve(
            [0.1555, 0.1595, 0.1633], data=MNIST_5K, untrained_loss=2.344, train_loss=[2.334, 2.325, 2.315],
            step_loss_max=[2.39, 2.385, 2.38], diverged=[0, 0, 0],
        ),
        {"slow"},
    ),
    "dead": (
        curve(
            [0.1124] * 10, untrained_loss=8.0, train_loss=[2.301] * 10, step_loss_max=[400.0] + [2.4] * 9,
            diverged=[0] * 10, guessing_since=7,
        ),
        {"diverged"},
    ),
    "dead, of which little is known": (curve([0.1124] * 10, untrained_loss=8.0, train_loss=[2.301] * 10), {"diverged"}),
    "late collapse": (curve([0.97, 0.98, 0.985, 0.11, 0.10, 0.11]), {"diverged"}),
    "late collapse of ten": (curve([0.97, 0.98, 0.985, *[0.11, 0.10, 0.11] * 2, 0.1], asked=10), {"diverged"}),
    "collapse in the last epoch": (curve([*rise(0.97, 0.997, 9), 0.10]), {"diverged"}),
    "drop in the last epoch": (curve([*rise(0.97, 0.997, 9), 0.70]), {"oscillating"}),
    "batch size 1": (
        curve(
            rise(0.97, 0.992, 10), batch_size=1, untrained_loss=2.4, train_loss=4 * (1 - rise(0.97, 0.992, 10)),
            step_loss_max=[9.0, 8.5, 8, 7.4, 8, 9, 7, 7.5, 8, 7],
        ),
        {"converged"},
    ),
    "two spikes in fifty epochs": (
        curve(LONG, untrained_loss=2.4, train_loss=4 * (1 - LONG), step_loss_max=spiked(50, [17, 33], 3.5)),
        {"converged"},
    ),
    "to and fro about the target": (curve(alternating(0.945, 0.959, 0.951, 10)), {"oscillating", "undecided"}),
    "to and fro about the target, high": (curve(alternating(0.945, 0.959, 0.959, 10)), {"oscillating", "undecided"}),
    "to and fro about the target, short": (curve(alternating(0.945, 0.959, 0.951, 6)), {"oscillating", "undecided"}),
    "to and fro below it": (curve(alternating(0.90, 0.912, 0.912, 10)), {"oscillating", "underfit"}),
    "to and fro below it, falling": (curve(alternating(0.90, 0.912, 0.90, 10)), {"oscillating", "underfit"}),
    "random labels": (
        curve(
            [0.11] * 10, untrained_loss=2.305, train_loss=[2.309] * 10, step_loss_max=[2.45] * 10, diverged=[1] * 10,
        ),
        {"underfit", "undecided"},
    ),
    "random labels, falling a little": (
        curve(
            [0.112, 0.113, 0.111, 0.114, 0.115], untrained_loss=2.32, step_loss_max=[2.45] * 5, diverged=[0] * 5,
            train_loss=[2.309, 2.306, 2.305, 2.303, 2.302],
        ),
        {"underfit", "undecided"},
    ),
    "within the noise of 1,000 images": (
        curve(
            [0.97, 0.985, 0.995, 0.999, 1.0, 1.0, 1.0, 1.0], data=MNIST_5K,
            held_out=[0.91, 0.92, 0.931, 0.93, 0.926, 0.924, 0.922, 0.921],
        ),
        {"converged"},
    ),
    "overfit": (
        curve(
            [0.96, 0.99, 0.993, 0.996, 0.999, 1.0, 1.0, 1.0],
            held_out=[0.96, 0.978, 0.975, 0.972, 0.968, 0.964, 0.96, 0.958],
        ),
        {"overfit"},
    ),
    "Fashion-MNIST": (curve(rise(0.82, 0.905, 10), data=DATA["fashion-mnist"]), {"converged"}),
}  # fmt: skip


@pytest.mark.parametrize("name", CURVES)
def test_the_curves_of_the_issue(name):
    assert_label(*CURVES[name])


@pytest.mark.parametrize("name", ["late collapse", "late collapse of ten", "collapse in the last epoch"])
def test_a_late_collapse_says_where_it_was_and_when_it_fell(name):
    found, _ = CURVES[name]
    fell = int((found.accuracy > 0.5).sum()) + 1
    evidence = curve_regime(found)[1]
    assert evidence.startswith(f"late: accuracy {found.accuracy[fell - 2]:.4f} after epoch {fell - 1}")
    assert f"in epoch {fell} " in evidence


def test_a_dead_network_names_its_step():
    assert curve_regime(CURVES["dead"][0])[1].startswith("dead since step 7: accuracy never above 0.1124")
    assert since(curve([0.2, 0.1, 0.1, 0.1])) == " since epoch 2"


def test_single_spikes_are_evidence():
    assert curve_regime(CURVES["two spikes in fifty epochs"][0])[1].endswith(
        "above the untrained 2.4 in 2 of 50 epochs"
    )


def test_a_target_belongs_to_the_data_set():
    found = CURVES["Fashion-MNIST"][0]
    assert curve_regime(found, MNIST.target)[0] != "converged"
    assert "no target known" in curve_regime(found, None)[1]


# --- with siblings


def sweep(*trials, data=MNIST, asked=None, **columns):
    """Labels of a sweep of (learning rate, accuracies, further columns of its epochs)."""
    rows, epochs = [], []
    for i, (rate, accuracy, *measured) in enumerate(trials):
        row = {"trial_id": f"{i:05d}", "architecture": "mlp-16-tanh", "label_noise": 0, "learning_rate": rate}
        row |= {"epochs_asked": asked or len(accuracy), "batch_size": 128}
        rows.append(row | {name: values[i] for name, values in columns.items()})
        table = pd.DataFrame(
            {"train_accuracy": accuracy, "test_accuracy": accuracy, **(measured[0] if measured else {})}
        )
        epochs.append(table.assign(trial_id=f"{i:05d}", epoch=range(1, len(table) + 1)))
    table, epochs = pd.DataFrame(rows), pd.concat(epochs, ignore_index=True)
    table["train_accuracy"] = [accuracy[-1] for _, accuracy, *_ in trials]
    return label_siblings(label_curves(table, epochs, data), epochs, data)


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


def test_the_best_of_a_sweep_is_never_slow():
    slow = [list(rise(0.3 + 0.1 * i, 0.6 + 0.1 * i, 10)) for i in range(3)]
    found = sweep(*zip((1e-4, 1e-3, 1e-2), slow, strict=True))
    assert found["curve_regime"].tolist() == ["slow"] * 3
    assert found["regime"].tolist() == ["slow", "slow", "undecided"]


def test_where_all_have_one_rate_none_is_the_best():
    slow = list(rise(0.3, 0.7, 10))
    assert sweep((0.1, slow), (0.1, slow))["regime"].tolist() == ["slow", "slow"]


def test_what_is_at_chance_at_the_rate_at_which_another_seed_learned_is_dead():
    assert sweep((0.1, *GOOD), (0.1, *DEAD))["regime"].tolist() == ["converged", "diverged"]


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


def test_what_crept_away_from_the_target_is_neither_slow_nor_underfit():
    assert curve_regime(curve([0.9, 0.95, 0.96, *np.linspace(0.958, 0.94, 7)]))[0] == "undecided"


def test_a_plateau_at_chance_may_end():
    assert curve_regime(curve([0.11, 0.11, 0.12], asked=10, train_loss=[2.302, 2.30, 2.299]))[0] == "undecided"


def test_the_best_sibling_is_the_measure_where_there_is_no_target():
    data = DATA["mnist"].__class__(target=None)
    found = sweep((0.1, list(rise(0.82, 0.905, 10))), (0.01, list(rise(0.6, 0.8, 10))), data=data)
    assert found["regime"].tolist() == ["converged", "slow"]
