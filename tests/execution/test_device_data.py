"""A data set on a device."""

import tracemalloc

import jax
import numpy as np
import pytest

from mnist_tune.execution.device_data import DeviceData

EVALUATED = [(None, 924), (100, 100), (924, 924), (925, 924), (1024, 924)]
"""How many images are to be evaluated, and how many are."""


def test_at_most_as_many_training_images_are_evaluated_as_there_are(few_images):
    counts = np.bincount(few_images.train_labels[:924], minlength=10)
    for images, evaluated in EVALUATED:
        data = DeviceData.put(few_images, 0, 100, images)
        splits = {"train": (0, evaluated), "test": (924, 256)}
        assert data.splits == splits | {"validation": (1180, 100)}
        assert data.train_count == 924
        assert data.label_counts == tuple(counts)


def test_a_part_that_is_evaluated_has_as_many_wrong_labels_as_the_whole(few_images):
    for noise, images in ((100, 100), (300, 300), (1024, 100), (300, None), (5, 17)):
        first, count = DeviceData.put(few_images, noise, 0, images).splits["train"]
        wrong = max(0, noise - first)
        assert wrong == pytest.approx(noise * count / 1024, abs=1)
        assert first + count <= 1024


def test_two_parts_for_all_lanes_fit_into_the_memory_for_data(few_images):
    total = few_images.train_images.nbytes + few_images.train_labels.nbytes
    size = total / 1024
    data = DeviceData.put(few_images, 0, 100, memory=640 * size, lanes=8)
    assert data.part == 40
    whole = DeviceData.put(few_images, 0, 100).arrays
    across_splits = np.array([[0, 923, 924], [1179, 1180, 3]])
    parts = [np.random.default_rng(0).permutation(924)] * 3
    for index in (across_splits, np.arange(1024, 1152), *parts):
        [(rows, inside)] = data.brought([index])
        leaves = jax.tree.leaves(rows), jax.tree.leaves(whole)
        for brought, array in zip(*leaves, strict=True):
            np.testing.assert_array_equal(np.asarray(brought)[inside], array[index])
    tracemalloc.start()  # the memory of parts is used again
    list(data.brought(parts))
    assert tracemalloc.get_traced_memory()[1] < 924 * size / 2
    tracemalloc.stop()
