"""A data set on a device."""

import tracemalloc

import jax
import numpy as np
import pytest

from mnist_tune.execution.device_data import DeviceData


def test_at_most_as_many_training_images_are_evaluated_as_there_are(few_images):
    for asked, evaluated in (
        (None, 924),
        (100, 100),
        (924, 924),
        (925, 924),
        (1024, 924),
    ):
        data = DeviceData.put(few_images, 0, 100, asked)
        assert data.splits == {
            "train": (0, evaluated),
            "test": (924, 256),
            "validation": (1180, 100),
        }
        assert data.train_count == 924
        assert data.label_counts == tuple(
            np.bincount(few_images.train_labels[:924], minlength=10)
        )


def test_a_part_that_is_evaluated_has_as_many_wrong_labels_as_the_whole(few_images):
    for noise, asked in ((100, 100), (300, 300), (1024, 100), (300, None), (5, 17)):
        first, count = DeviceData.put(few_images, noise, 0, asked).splits["train"]
        assert max(0, noise - first) == pytest.approx(noise * count / 1024, abs=1)
        assert first + count <= 1024


def test_two_parts_for_all_lanes_fit_into_the_memory_for_data(few_images):
    size = (
        sum(part.nbytes for part in (few_images.train_images, few_images.train_labels))
        / 1024
    )
    data = DeviceData.put(few_images, 0, 100, memory=640 * size, lanes=8)
    assert data.part == 40
    whole, parts = (
        DeviceData.put(few_images, 0, 100).arrays,
        [np.random.default_rng(0).permutation(924)] * 3,
    )
    for index in (
        np.array([[0, 923, 924], [1179, 1180, 3]]),
        np.arange(1024, 1152),
        *parts,
    ):
        [(rows, inside)] = data.brought([index])
        for some, all_ in zip(
            jax.tree.leaves(rows), jax.tree.leaves(whole), strict=True
        ):
            np.testing.assert_array_equal(np.asarray(some)[inside], all_[index])
    tracemalloc.start()  # the memory of parts is used again
    list(data.brought(parts))
    assert tracemalloc.get_traced_memory()[1] < 924 * size / 2
    tracemalloc.stop()
