"""A data set on a device."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
from jax import Array

from mnist_tune.data.dataset import Dataset, hold_out, permute_images


@dataclass(frozen=True)
class DeviceData:
    """A data set on a device: its splits, concatenated, with the training set first."""

    arrays: tuple[Array, Array]
    """Images [n, *shape] and labels [n]."""
    train_count: int
    """The number of training images."""
    splits: dict[str, tuple[int, int]]
    """For each split, the index of its first image and how many images are evaluated."""
    label_counts: tuple[int, ...]
    """The number of training images of each class."""

    @classmethod
    def put(cls, dataset: Dataset, label_noise: int, holdout: int, train_evaluation: int | None = None) -> DeviceData:
        """Put a data set on the device, with label noise and a held-out split. Only the first `train_evaluation`
        training images are evaluated; None evaluates all."""
        dataset = permute_images(hold_out(dataset, holdout), label_noise)
        parts = {
            "train": (dataset.train_images, dataset.train_labels),
            "test": (dataset.test_images, dataset.test_labels),
            "validation": (dataset.validation_images, dataset.validation_labels),
        }
        splits, first = {}, 0
        for name, (_, labels) in parts.items():
            if len(labels):
                splits[name] = first, len(labels)
            first += len(labels)
        arrays = jax.device_put(tuple(np.concatenate(of) for of in zip(*parts.values(), strict=True)))
        train_count = len(dataset.train_labels)
        splits["train"] = 0, min(train_count, train_evaluation or train_count)
        label_counts = np.bincount(dataset.train_labels, minlength=dataset.spec.classes)
        return cls(arrays, train_count, splits, tuple(label_counts.tolist()))
