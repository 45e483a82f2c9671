"""The counts of images that the noise and the patience of a curve follow from."""

from dataclasses import replace

import numpy as np
import pytest
from recorded_data import recorded_data

from mnist_tune.execution.epoch_row import window_means
from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.data_facts import MNIST, DataFacts, data_facts
from mnist_tune.regimes.noise import window_images


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


def test_a_class_without_images_is_no_part_of_a_guess():
    facts = DataFacts.of([60, 40, 0], 20)
    assert (facts.classes, facts.chance) == (3, 0.6)
    assert facts.guess_losses == {"cross-entropy": pytest.approx(0.6730, abs=1e-4), "mse": pytest.approx(0.24)}


def test_the_share_of_wrong_labels_is_that_among_the_evaluated():
    share = {
        "all": Curve(np.zeros(1), 1, label_noise=30_000),
        "held out": Curve(np.zeros(1), 1, holdout=20_000, label_noise=20_000),
        "few evaluated": Curve(np.zeros(1), 1, label_noise=30_000, data=replace(MNIST, evaluated=20_000)),
    }
    assert {name: found.wrong_labels for name, found in share.items()} == pytest.approx(
        {"all": 0.45, "held out": 0.45, "few evaluated": 0.9}
    )
