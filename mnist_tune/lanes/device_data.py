"""A data set on a device: the splits one after another."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
from jax import Array

from mnist_tune.data.dataset import Dataset, hold_out, permute_images


@dataclass(frozen=True)
class DeviceData:
    """A data set on the device: the splits one after another, the training set first."""

    images: Array
    """uint8 [n, 784]."""
    labels: Array
    """uint8 [n]."""
    splits: dict[str, tuple[int, int]]
    """First image and number of images by name."""

    @classmethod
    def put(cls, dataset: Dataset, label_noise: int, holdout: int) -> DeviceData:
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
        images, labels = (np.concatenate(arrays) for arrays in zip(*parts.values(), strict=True))
        return cls(jax.device_put(images), jax.device_put(labels), splits)

    @property
    def arrays(self) -> tuple[Array, Array]:
        return self.images, self.labels

    @property
    def train_count(self) -> int:
        return self.splits["train"][1]
