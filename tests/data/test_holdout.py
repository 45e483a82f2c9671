"""How many training examples are held out where nobody says so."""

from dataclasses import replace

import numpy as np
import pytest
from own_networks import patterns
from text_tables import rows

from mnist_tune import TrialConfig
from mnist_tune.data.dataset import Dataset, check_counts, load_dataset
from mnist_tune.data.holdout import BLOCKS, default_holdout
from mnist_tune.data.task_data import TaskData
from mnist_tune.data_spec import TaskSpec
from mnist_tune.regimes.learned_share import FEWEST


def of_count(count, name="data.npz"):
    """Return so many training examples of three classes."""
    images = np.zeros((count, 4), np.uint8)
    labels = np.arange(count, dtype=np.int32) % 3
    return Dataset(name, images, labels, images[:30], labels[:30])


def held_out(data, *trials):
    count, _ = default_holdout(data, trials or [TrialConfig(batch_size=100)])
    return count


HELD_OUT = """
    mnist          60000  0
    fashion-mnist  60000  6000
    digits         1500   150
    data.npz       3081   308
"""


@pytest.mark.parametrize(("name", "count", "expected"), rows(HELD_OUT))
def test_a_tenth_is_held_out_and_said_but_none_of_mnist(name, count, expected):
    data = of_count(count, name)
    line = f"{expected} of {count} training examples are held out, and choose the best; --holdout 0 holds out none"
    if not expected:
        line = ""
    assert default_holdout(data, [TrialConfig()]) == (expected, line)
    assert default_holdout(data, [TrialConfig(holdout=0)]) == (expected, "")


def test_the_stand_in_for_mnist_and_arrays_hold_out_a_tenth():
    assert held_out(load_dataset("mnist-5k")) == 400
    arrays = load_dataset(patterns((4, 3), 3))
    assert held_out(arrays, TrialConfig(batch_size=20)) == 20


def test_a_last_batch_that_would_be_small_is_held_out_as_well():
    """3,600 of mnist-5k leave 16 of a batch of 128, which can make large rates
    oscillate."""
    data = of_count(4000)
    trial = TrialConfig()
    assert held_out(data, trial) == 416
    assert held_out(data, trial, TrialConfig(batch_size=100)) == 416
    assert held_out(data, TrialConfig(drop_last=True)) == 400
    large_batch = TrialConfig(batch_size=3300)
    assert held_out(data, large_batch) == 400, "it is more than half a tenth"


@pytest.mark.parametrize("count", [1, 2, 9, 10, 60, 199])
def test_of_few_examples_none_are_held_out_and_that_is_said(count):
    note = f"note: no examples are held out, so the test set chooses the best: a tenth of {count} training examples is too few"
    held_out_count, line = default_holdout(of_count(count), [TrialConfig(batch_size=1)])
    assert held_out_count == 0
    assert line == note


def test_of_200_examples_a_tenth_is_held_out():
    assert held_out(of_count(200)) == 20


def test_of_examples_in_order_of_class_none_are_held_out_and_that_is_said():
    """The last tenth is then of classes that nothing is trained on: no setting would do
    better than guessing."""
    data = of_count(3000)
    in_order = replace(data, train_labels=np.sort(data.train_labels))
    count, line = default_holdout(in_order, [TrialConfig()])
    assert count == 0
    assert "the best: the training examples are in order of class" in line


@pytest.mark.parametrize(
    "fields",
    [
        {"label_noise": 3000},
        {"label_noise": 2701},
        {"batch_size": 2701, "drop_last": True},
    ],
)
def test_no_command_is_refused_for_what_is_held_out_by_default(fields):
    data = of_count(3000)
    usual = TrialConfig(batch_size=100)
    trials = [usual, replace(usual, **fields)]
    count, line = default_holdout(data, trials)
    assert count == 0
    needed = max(fields.values())
    assert f"a trial needs {needed} of the 3000 training examples" in line
    check_counts([trial.holding_out(count) for trial in trials], data)


def task(count, test=100, chance=None, **values):
    return TaskData(TaskSpec("a task", count, test, chance=chance), **values)


def test_tasks_hold_out_whole_blocks_where_a_score_is_of_these():
    assert held_out(task(1500)) == 150
    assert held_out(task(5000, whole=20, block=20)) == 500
    single = TrialConfig(batch_size=1)
    assert held_out(task(4950, whole=20, block=20), single) == 480
    large_blocks = task(1600, whole=100, block=100)
    assert held_out(large_blocks) == 0, "one block says nothing of its noise"


def test_a_task_whose_noise_is_known_of_its_test_set_alone_holds_out_none_and_says_so():
    """Without it, labels do not know what is learned; its test set has 10 blocks, a
    tenth of its training set 2."""
    assert BLOCKS == FEWEST
    single = TrialConfig(batch_size=1)
    count, line = default_holdout(task(5000, 2560, block=256), [single])
    assert count == 0
    assert "give the task a smaller block" in line
    assert held_out(task(5000, 2560, block=64)) == 500
    few_blocks = task(5000, 1000, block=256)
    assert held_out(few_blocks) == 500, "of its test set, it is not known either"
    of_classes = task(5000, 2560, block=256, chance=0.1)
    assert held_out(of_classes) == 500, "labels follow its accuracy"


def test_what_a_trial_says_counts_and_one_that_says_nothing_holds_out_the_default():
    trials = [TrialConfig(), TrialConfig(holdout=0), TrialConfig(holdout=9)]
    assert [trial.held_out for trial in trials] == [0, 0, 9]
    assert [trial.holding_out(30).held_out for trial in trials] == [30, 0, 9]
