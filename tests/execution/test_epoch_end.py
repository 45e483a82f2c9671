"""A row's judgements of an epoch, by hand: steps, windows of 128 images, limits of
noise, and the step since which its losses are too high."""

import math
import platform
import sys
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mnist_tune.execution.device_data import DeviceData
from mnist_tune.execution.epoch_end import (
    epoch_row,
    left_for_good,
    node_name,
    window_means,
)
from mnist_tune.execution.memory import Memory
from mnist_tune.trial import TrialConfig

DATA = DeviceData((), 1280, {"train": (0, 640), "test": (1280, 100)}, (128,) * 10)
SKEWED = replace(DATA, label_counts=(384,) + (100,) * 8 + (96,))
CONFIG = TrialConfig(batch_size=64)
"""Twenty steps of 64 images an epoch, in ten windows; half of the training images are
evaluated."""


def row_of(losses, before=None, train=(1.0, 0.5), data=DATA):
    """The row of an epoch with these step losses; by default the second of a trial
    whose untrained loss is 2.4."""
    second = {"untrained_loss": 2.4, "least_loss": 2.4, "step": 20, "epoch": 1}
    memory = Memory(**second | (before or {}))
    train_loss, train_accuracy = train
    scores = {
        "train": {"loss": train_loss, "accuracy": train_accuracy},
        "test": {"loss": 1.0, "accuracy": 0.5},
    }
    row, _ = epoch_row(memory, np.array(losses, np.float32), scores, CONFIG, data)
    return row


# a scheduler of Tune may change the batch size
@pytest.mark.parametrize("before", [20, 35])
def test_steps_are_counted_over_the_epochs(before):
    losses = [0.5] * 6 + [3.0] * 13 + [4.0]
    row = row_of(losses, {"epoch": 1, "step": before})
    assert (row.epoch, row.step) == (2, before + 20)
    assert row.above_since == before + 7
    assert row.guessing_since == before + 7
    assert row.step_loss_first == 0.5
    assert row.step_loss_max == 4.0
    assert row.step_loss_last == 4.0
    assert row.window_loss_max == 3.5


def test_each_run_of_steps_goes_on_where_it_began():
    row = row_of([3.0] * 20, {"epoch": 1, "above_since": 5, "guessing_since": 3})
    assert (row.above_since, row.guessing_since) == (5, 3)


@pytest.mark.parametrize(("loss", "since"), [(1.55, None), (1.57, 21)])
def test_a_guess_is_a_loss_within_the_noise_of_a_window(loss, since):
    """The limit is (sqrt(ln 10) - sqrt(ln(10 / 0.001) / 128))**2 = 1.560: a window has
    128 images, an epoch ten."""
    assert row_of([loss] * 20).guessing_since == since


@pytest.mark.parametrize(
    ("loss", "accuracy", "since", "diverged"),
    [
        (2.74, 0.33, 1021, True),
        (2.72, 0.33, 1021, False),
        (2.74, 0.36, 1021, False),
        (2.74, 0.33, 1022, False),
    ],
)
def test_a_trial_is_lost_by_the_images_that_it_saw(loss, accuracy, since, diverged):
    """Its loss is above (sqrt(2.4) + sqrt(ln(1 / 0.001) / 640))**2 = 2.733, it is right
    in at most 0.3 and three standard errors of 640 images, and 1,000 steps have gone
    by."""
    before = {"epoch": 100, "step": 2000, "above_since": since}
    row = row_of([3.0] * 20, before, (loss, accuracy), SKEWED)
    assert row.diverged is diverged


@pytest.mark.parametrize(
    ("step_loss", "train_loss"),
    [(math.nan, 1.0), (1.0, math.nan), (math.inf, 1.0), (1.0, math.inf)],
)
def test_a_loss_that_is_not_finite_is_told(step_loss, train_loss):
    row = row_of([1.0, step_loss, *[1.0] * 18], train=(train_loss, 0.5))
    assert row.finite is False
    assert row.diverged is True


def above_since_by_definition(above, first_step, since):
    """Return the first step from which on all are above, or the step of an earlier
    epoch."""
    starts = [i for i in range(len(above)) if all(above[i:])]
    if not starts:
        return None
    if starts[0] == 0 and since is not None:
        return since
    return first_step + starts[0]


LOSSES = st.sampled_from([0.5, 2.0, 2.1, 9.0, math.inf, math.nan])
STEPS = st.integers(1, 5000)


@given(st.lists(LOSSES, min_size=1, max_size=12), STEPS, st.none() | STEPS)
def test_left_for_good(losses, first_step, since):
    above = [not loss <= 2.0 for loss in losses]
    values = np.array(losses, np.float32)
    step = left_for_good(values, 2.0, first_step, since, range(len(losses)))
    assert step == above_since_by_definition(above, first_step, since)


def test_images_that_were_left_out_are_in_no_window():
    """With batches of 50, a window is three steps; 8 steps leave 20 of 420 images."""
    losses = np.arange(8.0)
    left_out = window_means(losses, 50, 420)
    whole = window_means(losses, 50, 400)
    np.testing.assert_array_equal(left_out, whole)
    np.testing.assert_array_equal(whole, [[1.0, 5.0], [0, 3]])


@given(st.lists(st.sampled_from([0.5, 9.0]), min_size=6, max_size=6))
def test_left_for_good_does_not_depend_on_where_epochs_end(losses):
    losses = np.array(losses, np.float32)
    since = None
    for start in (0, 2, 4):
        epoch = losses[start : start + 2]
        since = left_for_good(epoch, 2.0, start + 1, since, range(2))
    assert since == left_for_good(losses, 2.0, 1, None, range(len(losses)))


@pytest.mark.parametrize(
    ("losses", "expected"),
    [([9.0, 0.5, 9.0, 9.0], 109), ([9.0] * 4, 101), ([0.5] * 4, None)],
)
def test_windows_are_told_by_their_first_steps(losses, expected):
    starts = np.array([0, 4, 8, 12])
    step = left_for_good(np.array(losses), 2.0, 101, None, starts=starts)
    assert step == expected


WINDOWS = """\
1 2 3 4   |  64 | 256 | 1*64+2*64 3*64+4*64      | 0 2
1 2 3 4   |  64 | 240 | 1*64+2*64+3*64+4*48      | 0
1 2 3 4 5 |  64 | 288 | 1*64+2*64 3*64+4*64+5*32 | 0 2
1 2 3     | 300 | 700 | 1*300 2*300+3*100        | 0 1
1 2 3     | 300 | 900 | 1*300 2*300 3*300        | 0 1 2
7 1       |  64 | 100 | 7*64+1*36                | 0
1 inf 1 1 |  64 | 256 | 1*64+inf*64 1*64+1*64    | 0 2
"""
"""The losses of an epoch's steps, the batch size, the images, the windows as losses
times their images, and the first steps of the windows."""


def mean_of(window):
    """Return the mean of losses that are weighted by their images."""
    pairs = [term.split("*") for term in window.split("+")]
    images = [int(count) for _, count in pairs]
    return np.average([float(loss) for loss, _ in pairs], weights=images)


@pytest.mark.parametrize("line", WINDOWS.splitlines())
def test_a_window_has_128_images_or_more_and_every_image_counts_once(line):
    losses, batch_size, images, windows, starts = line.split("|")
    losses = np.array(losses.split(), np.float32)
    means, first_steps = window_means(losses, int(batch_size), int(images))
    expected = [mean_of(window) for window in windows.split()]
    np.testing.assert_allclose(means, expected, rtol=1e-12)
    assert first_steps.tolist() == [int(start) for start in starts.split()]


@pytest.mark.parametrize(("nodes", "name"), [(1, "here"), (2, "here (abcdef)")])
def test_nodes_of_one_machine_have_names_of_their_own(monkeypatch, nodes, name):
    monkeypatch.setattr(platform, "node", lambda: "here")
    there = {"NodeManagerHostname": "there", "Alive": True}
    here = {"NodeManagerHostname": "here", "Alive": True}
    dead = {"NodeManagerHostname": "here", "Alive": False}
    ray = Mock()
    ray.nodes.return_value = [there, dead] + nodes * [here]
    ray.get_runtime_context.return_value.get_node_id.return_value = "abcdef0123"
    monkeypatch.setitem(sys.modules, "ray", ray)
    assert node_name.__wrapped__() == name
