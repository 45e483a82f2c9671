"""When a trial counts as diverged in training, what counts as guessing, and what
schedulers see of a loss."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_tune.execution.epoch_end import epoch_row as row_of
from mnist_tune.execution.memory import Memory
from mnist_tune.regimes.divergence import (
    LOSS_CEILING,
    chance_ceiling,
    chance_of,
    finite_loss,
    guess_loss,
    least_guess_loss,
)
from mnist_tune.trial import TrialConfig

ODD_LOSSES = [math.nan, math.inf, -math.inf, LOSS_CEILING, LOSS_CEILING * 1.01]


@given(st.floats() | st.sampled_from(ODD_LOSSES))
def test_schedulers_see_finite_losses(loss):
    seen = finite_loss(loss)
    assert math.isfinite(seen)
    assert seen <= LOSS_CEILING
    if abs(loss) <= LOSS_CEILING:
        assert seen == loss


@pytest.mark.parametrize(
    ("batch_size", "steps", "lost"),
    [(8, 900, False), (8, 1_200, True), (32, 1_260, True)],
)
def test_patience_is_counted_in_steps_at_any_batch_size(batch_size, steps, lost):
    config = TrialConfig(batch_size=batch_size)
    data = SimpleNamespace(
        train_count=steps * batch_size,
        label_counts=[10] * 10,
        splits={"train": (None, 1_000)},
    )
    memory = Memory(untrained_loss=2.4, least_loss=2.4)
    at_chance = {"loss": 9.0, "accuracy": 0.1}
    evaluated = {"train": at_chance, "test": at_chance}
    row, _ = row_of(memory, np.full(steps, 9.0), evaluated, config, data)
    assert row.diverged == lost


@pytest.mark.parametrize("labels", range(1, 31))
def test_no_constant_guess_has_a_loss_below_the_least_one(labels):
    label_counts = np.random.default_rng(labels).integers(1, 1_000, labels)
    least = least_guess_loss(chance_of(label_counts))
    assert least <= guess_loss(label_counts) + 1e-9


@pytest.mark.parametrize("label_counts", [[10] * 10, [1] * 49, [970, 30], [7]])
def test_the_least_loss_of_a_guess_is_that_of_equal_labels_and_of_two(label_counts):
    least = least_guess_loss(chance_of(label_counts))
    assert least == pytest.approx(guess_loss(label_counts), abs=1e-9)


def test_where_guessing_is_never_right_no_loss_of_a_guess_is_known():
    assert least_guess_loss(0.0) == math.inf


SHARES = [[0.5, 0.5], [0.63, 0.37], [0.97, 0.03], [0.1] * 10]


@pytest.mark.parametrize("shares", SHARES)
@pytest.mark.parametrize("images", [100, 1_000])
def test_answers_that_do_not_depend_on_the_images_are_guesses(shares, images):
    """Whatever part of the images is answered otherwise than by the most frequent
    label."""
    rng = np.random.default_rng(0)
    classes = len(shares)
    counts = np.round(np.array(shares) * images).astype(int)
    labels = np.repeat(np.arange(classes), counts)
    ceiling = chance_ceiling(shares[0], len(labels))
    shape = (500, len(labels))
    for share in (0, 0.02, 0.1, 0.5, 1):
        any_label = rng.integers(classes, size=shape)
        is_other = rng.random(shape) < share
        answers = np.where(is_other, any_label, 0)
        accuracies = (answers == labels).mean(1)
        assert (accuracies > ceiling).mean() <= 0.01


def test_a_rare_class_that_is_learned_is_no_guess():
    assert chance_ceiling(0.97, 1_000) == pytest.approx(0.9715)
