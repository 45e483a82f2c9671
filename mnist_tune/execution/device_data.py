"""A data set on a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from mnist_tune.data.dataset import Dataset
from mnist_tune.data.task_data import TaskData


@dataclass(frozen=True)
class DeviceData:
    """A data set on a device: its splits, concatenated, with the training set first."""

    arrays: Any
    """A tree of arrays with one leading axis: images [n, *shape] and labels [n], or [n, T] of tokens."""
    train_count: int
    """The number of training images."""
    splits: dict[str, tuple[int, int]]
    """For each split, the index of its first image and how many images are evaluated."""
    label_counts: tuple[int, ...] = ()
    """The number of training labels of each class; none of a task."""
    positions: int = 1
    """Labels of an example."""

    @classmethod
    def put(
        cls, dataset: Dataset | TaskData, label_noise: int, holdout: int, train_evaluation: int | None = None
    ) -> DeviceData:
        """Put a data set on the device. The last `holdout` training examples become the validation split, and the first
        `label_noise` images are permuted against their labels, as by the notebook's `create_outliers`. Only
        `train_evaluation` training examples are evaluated, with wrong labels in proportion; None evaluates all."""
        kept, counts, positions = dataset.spec.train_images - holdout, np.zeros(0, int), 1
        if isinstance(dataset, TaskData):
            train, test = dataset.train, dataset.test
        else:
            images, labels = dataset.train_images, dataset.train_labels
            if label_noise:
                order = np.random.RandomState(0).permutation(label_noise)
                images = np.concatenate([images[:label_noise][order], images[label_noise:]])
            train, test = (images, labels), (dataset.test_images, dataset.test_labels)
            counts = np.bincount(labels[:kept].ravel(), minlength=dataset.spec.classes)
            positions = dataset.spec.positions
        evaluated = min(kept, train_evaluation or kept)
        first = label_noise - label_noise * evaluated // kept
        splits = {"train": (first, evaluated), "test": (kept, dataset.spec.test_images)}
        if holdout:
            splits["validation"] = kept + dataset.spec.test_images, holdout
        parts = (jax.tree.map(lambda x: x[:kept], train), test, jax.tree.map(lambda x: x[kept:], train))
        arrays = jax.device_put(jax.tree.map(lambda *of: np.concatenate(of), *parts))
        return cls(arrays, kept, splits, tuple(counts.tolist()), positions)
