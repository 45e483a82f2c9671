"""A data set on a device."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from mnist_tune.data.dataset import Dataset


@dataclass(frozen=True)
class DeviceData:
    """A data set on a device: its splits, concatenated, with the training set first."""

    arrays: Any
    """A tree of arrays with one leading axis: images [n, *shape] and labels [n], or [n, T] of tokens."""
    train_count: int
    """The number of training images."""
    splits: dict[str, tuple[int, int]]
    """For each split, the index of its first image and how many images are evaluated."""
    label_counts: tuple[int, ...]
    """The number of training labels of each class."""
    positions: int = 1
    """Labels of an example."""

    @classmethod
    def put(cls, dataset: Dataset, label_noise: int, holdout: int, train_evaluation: int | None = None) -> DeviceData:
        """Put a data set on the device. The last `holdout` training images become the validation split, and the first
        `label_noise` are permuted against their labels, as by the notebook's `create_outliers`. Only the first
        `train_evaluation` training images are evaluated; None evaluates all."""
        images, labels = dataset.train_images, dataset.train_labels
        kept = len(labels) - holdout
        if label_noise:
            order = np.random.RandomState(0).permutation(label_noise)
            images = np.concatenate([images[:label_noise][order], images[label_noise:]])
        parts = {
            "train": (images[:kept], labels[:kept]),
            "test": (dataset.test_images, dataset.test_labels),
            "validation": (images[kept:], labels[kept:]),
        }
        splits, first = {}, 0
        for name, (_, some) in parts.items():
            if len(some):
                splits[name] = first, len(some)
            first += len(some)
        arrays = jax.device_put(tuple(np.concatenate(of) for of in zip(*parts.values(), strict=True)))
        splits["train"] = 0, min(kept, train_evaluation or kept)
        label_counts = np.bincount(labels[:kept].ravel(), minlength=dataset.spec.classes)
        return cls(arrays, kept, splits, tuple(label_counts.tolist()), dataset.spec.positions)
