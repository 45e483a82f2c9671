"""A data set on a device: the splits one after another."""

from __future__ import annotations

from dataclasses import dataclass

import jax
import numpy as np
from jax import Array

from mnist_tune.data.dataset import Dataset, hold_out, permute_images
from mnist_tune.regimes.divergence import guessing


@dataclass(frozen=True)
class DeviceData:
    """A data set on the device: the splits one after another, the training set first."""

    arrays: tuple[Array, Array]
    """Images uint8 [n, 784] and labels uint8 [n]."""
    train_count: int
    """Training images; they are the first."""
    splits: dict[str, tuple[int, int]]
    """First image and number of the images that are evaluated, by name."""
    chance: float
    """Share of the most frequent training label: what a constant answer reaches."""
    label_entropy: float
    """Of the training labels' frequencies, nats: the loss of the best constant guess."""

    @classmethod
    def put(cls, dataset: Dataset, label_noise: int, holdout: int, train_evaluation: int | None = None) -> DeviceData:
        """Puts a version of the data set on the device; of the training images, at most `train_evaluation` are
        evaluated, the first."""
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
        chance, entropy = guessing(np.bincount(dataset.train_labels))
        return cls(arrays, train_count, splits, chance, entropy)
