"""What labels rest on: facts of the data, where a run is lost, and curves with gaps."""

import math

import numpy as np
import pytest
from recorded_data import recorded_data
from text_tables import rows

from mnist_tune.regimes.curve import Curve
from mnist_tune.regimes.data_facts import data_facts
from mnist_tune.regimes.divergence import has_diverged


def test_the_facts_of_a_data_set_are_those_that_sweep_json_records():
    recorded = recorded_data(
        "mnist", label_counts=[60, 40, 0], test_images=20, target=0.8
    )
    facts = data_facts({"dataset": recorded})
    assert facts.train_images == 100
    assert facts.test_images == 20
    assert facts.chance == 0.6
    assert facts.target == 0.8
    assert facts.guess_losses["mse"] == pytest.approx(0.24)
    entropy = -0.6 * math.log(0.6) - 0.4 * math.log(0.4)
    assert facts.guess_losses["cross-entropy"] == pytest.approx(entropy)
    assert facts.with_wrong_labels(50).target is None, (
        "of 25 images no target was measured"
    )
    of_four_answers = recorded | {"positions": 4}
    assert data_facts({"dataset": of_four_answers}).train_images == 25


def test_a_target_that_was_asked_for_holds_whatever_the_labels():
    recorded = recorded_data(
        "mnist", label_counts=[60, 40, 0], test_images=20, target=0.8
    )
    options = {"target": 0.9, "train_evaluation": 50}
    facts = data_facts({"dataset": recorded, "options": options})
    assert facts.target == 0.9
    assert facts.evaluated == 50
    assert facts.with_wrong_labels(50).target == 0.9


@pytest.mark.parametrize(("chance", "target"), [(None, -0.5), (0.1, None)])
def test_a_target_loss_is_that_of_a_task_without_an_accuracy(chance, target):
    recorded = {"train_images": 9, "test_images": 4, "chance": chance}
    meta = {"dataset": recorded, "options": {"target_loss": -0.5}}
    assert data_facts(meta).target == target


ABOVE_UNTRAINED = {
    "finite": True,
    "train_loss": 2.5,
    "untrained_loss": 2.4,
    "train_accuracy": 0.11,
    "above_since": 501,
    "step": 1500,
}
# what differs in the row of a run, and whether the run is lost
LOST = """
    {}                                                             True
    {"finite": False, "train_loss": 0.1}                           True
    {"train_loss": 240.0, "train_accuracy": 0.3}                   True
    {"train_loss": 239.9, "train_accuracy": 0.3}                   False
    {"above_since": 502}                                           False
    {"above_since": None}                                          False
    {"train_accuracy": 0.154}                                      True
    {"train_accuracy": 0.155}                                      False
    {"train_loss": 2.43}                                           False
    {"step": 1499}                                                 False
    # 166 times the untrained loss
    {"train_loss": 398.4, "train_accuracy": 0.2, "step": 1102}     False
    {"train_loss": 398.4, "train_accuracy": 0.2, "step": 1103}     True
"""


@pytest.mark.parametrize(("changed", "lost"), rows(LOST))
def test_a_run_is_lost_at_chance_with_a_loss_above_the_untrained_one_for_a_thousand_steps(
    changed, lost
):
    row = ABOVE_UNTRAINED | changed
    assert has_diverged(row, 0.11, 60_000) == lost


@pytest.mark.parametrize("gaps", [[], [0], [0, 2], [1, 2]])
def test_gaps_of_the_training_accuracy_are_filled_from_the_held_out_one_or_the_epoch_before(
    gaps,
):
    measured = np.array([0.5, 0.6, 0.6, 0.7])
    train = measured.copy()
    train[gaps] = math.nan
    held_out = np.array([0.5, 0.58, math.nan, 0.69])
    curve = Curve(held_out, 4, train_score=train)
    assert np.isfinite(curve.score).all()
    assert np.abs(curve.score - measured).max() <= 0.021
    assert curve.complete
    assert not Curve(held_out, 5, train_score=train).complete


def test_a_loss_within_a_window_that_exceeds_the_calm_limit_is_a_spike():
    peaks = np.array([3.4, 2.3, 3.65, 2.5])
    losses = np.array([2.2, 0.3, 0.3, 0.3])
    measured = {"train_loss": losses, "step_loss_max": peaks, "untrained_loss": 2.4}
    curve = Curve(np.full(4, 0.5), 4, batch_size=128, **measured)
    assert curve.spikes(1.5).tolist() == [False, False, True, False]
    assert curve.spikes(1).tolist() == [False, False, True, True]
