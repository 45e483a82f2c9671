"""How many training examples are held out where nobody says so."""

from dataclasses import replace

import numpy as np
import pytest
from own_networks import patterns

from mnist_tune import TrialConfig
from mnist_tune.data.dataset import Dataset, check_counts, load_dataset
from mnist_tune.data.holdout import BLOCKS, default_holdout
from mnist_tune.data.task_data import TaskData
from mnist_tune.data_spec import TaskSpec
from mnist_tune.regimes.learned_share import FEWEST


def of_count(count, name="data.npz"):
    """Return so many training examples of three classes."""
    images, labels = (
        np.zeros((count, 4), np.uint8),
        np.arange(count, dtype=np.int32) % 3,
    )
    return Dataset(name, images, labels, images[:30], labels[:30])


def held_out(data, *trials):
    return default_holdout(data, trials or [TrialConfig(batch_size=100)])[0]


@pytest.mark.parametrize(
    ("name", "count", "expected"),
    [
        ("mnist", 60_000, 0),
        ("fashion-mnist", 60_000, 6000),
        ("digits", 1500, 150),
        ("data.npz", 3081, 308),
    ],
)
def test_a_tenth_is_held_out_and_said_but_none_of_mnist(name, count, expected):
    said = f"{expected} of {count} training examples are held out, and choose the best; --holdout 0 holds out none"
    assert default_holdout(of_count(count, name), [TrialConfig()]) == (
        expected,
        said * (expected > 0),
    )
    assert default_holdout(of_count(count, name), [TrialConfig(holdout=0)]) == (
        expected,
        "",
    )


def test_the_stand_in_for_mnist_and_arrays_hold_out_a_tenth():
    assert held_out(load_dataset("mnist-5k")) == 400
    assert held_out(load_dataset(patterns((4, 3), 3)), TrialConfig(batch_size=20)) == 20


def test_a_last_batch_that_would_be_small_is_held_out_as_well():
    """3,600 of mnist-5k leave 16 of a batch of 128, which can make large rates
    oscillate."""
    data = of_count(4000)
    assert held_out(data, TrialConfig()) == 416
    assert held_out(data, TrialConfig(), TrialConfig(batch_size=100)) == 416
    assert held_out(data, TrialConfig(drop_last=True)) == 400
    assert held_out(data, TrialConfig(batch_size=3300)) == 400, (
        "it is more than half a tenth"
    )


@pytest.mark.parametrize("count", [1, 2, 9, 10, 60, 199])
def test_of_few_examples_none_are_held_out_and_that_is_said(count):
    said = f"note: no examples are held out, so the test set chooses the best: a tenth of {count} training examples is"
    found, line = default_holdout(of_count(count), [TrialConfig(batch_size=1)])
    assert (found, line) == (0, f"{said} too few")
    assert held_out(of_count(200)) == 20


def test_of_examples_in_order_of_class_none_are_held_out_and_that_is_said():
    """The last tenth is then of classes that nothing is trained on: no setting would do
    better than guessing."""
    found = of_count(3000)
    found = replace(found, train_labels=np.sort(found.train_labels))
    count, said = default_holdout(found, [TrialConfig()])
    assert (count, "the best: the training examples are in order of class" in said) == (
        0,
        True,
    )


@pytest.mark.parametrize(
    "asked",
    [
        {"label_noise": 3000},
        {"label_noise": 2701},
        {"batch_size": 2701, "drop_last": True},
    ],
)
def test_no_command_is_refused_for_what_is_held_out_by_default(asked):
    data, trials = (
        of_count(3000),
        [TrialConfig(batch_size=100), TrialConfig(**{"batch_size": 100} | asked)],
    )
    count, said = default_holdout(data, trials)
    needed = max(asked.values())
    assert (count, f"a trial needs {needed} of the 3000 training examples" in said) == (
        0,
        True,
    )
    check_counts([trial.holding_out(count) for trial in trials], data)


def task(count, test=100, chance=None, **values):
    return TaskData(TaskSpec("a task", count, test, chance=chance), **values)


def test_tasks_hold_out_whole_blocks_where_a_score_is_of_these():
    assert held_out(task(1500)) == 150
    assert held_out(task(5000, whole=20, block=20)) == 500
    assert held_out(task(4950, whole=20, block=20), TrialConfig(batch_size=1)) == 480
    assert held_out(task(1600, whole=100, block=100)) == 0, (
        "one block says nothing of its noise"
    )


def test_a_task_whose_noise_is_known_of_its_test_set_alone_holds_out_none_and_says_so():
    """Without it, labels do not know what is learned; its test set has 10 blocks, a
    tenth of its training set 2."""
    assert BLOCKS == FEWEST
    count, said = default_holdout(
        task(5000, 2560, block=256), [TrialConfig(batch_size=1)]
    )
    assert (count, "give the task a smaller block" in said) == (0, True)
    assert held_out(task(5000, 2560, block=64)) == 500
    assert held_out(task(5000, 1000, block=256)) == 500, (
        "of its test set, it is not known either"
    )
    assert held_out(task(5000, 2560, block=256, chance=0.1)) == 500, (
        "labels follow its accuracy"
    )


def test_what_a_trial_says_counts_and_one_that_says_nothing_holds_out_the_default():
    asked = [TrialConfig(), TrialConfig(holdout=0), TrialConfig(holdout=9)]
    assert [trial.held_out for trial in asked] == [0, 0, 9]
    assert [trial.holding_out(30).held_out for trial in asked] == [30, 0, 9]
