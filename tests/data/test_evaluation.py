"""How many training examples are evaluated where nobody says so."""

from dataclasses import replace

import numpy as np
import pytest

from mnist_tune.data.dataset import Dataset
from mnist_tune.data.evaluation import default_evaluation
from mnist_tune.data.task_data import TaskData
from mnist_tune.data_spec import TaskSpec


def of_count(count, classes=3):
    """Return so many training examples, whose classes take turns."""
    images = np.zeros((count, 4), np.uint8)
    labels = np.arange(count, dtype=np.int32) % classes
    return Dataset("data.npz", images, labels, images[:30], labels[:30])


@pytest.mark.parametrize(
    ("count", "evaluated"), [(60_000, 10_000), (10_001, 10_000), (10_000, None)]
)
def test_ten_thousand_examples_are_evaluated_or_all_of_fewer(count, evaluated):
    assert default_evaluation(of_count(count), None) == evaluated
    numbers = np.arange(count)
    task = TaskData(TaskSpec("mine", count, 30), numbers, numbers[:30])
    assert default_evaluation(task, None) == evaluated


def test_examples_in_order_of_class_are_all_evaluated():
    data = of_count(30_000)
    in_order = replace(data, train_labels=np.sort(data.train_labels))
    assert default_evaluation(in_order, None) is None


@pytest.mark.parametrize("asked", ["all", 500, 20_000])
def test_as_many_are_evaluated_as_are_asked_for(asked):
    assert default_evaluation(of_count(60_000), asked) == asked
