"""A data set on a device, or on the host if the device has no memory for it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from mnist_tune.data.dataset import Dataset
from mnist_tune.data.task_data import TaskData

MAPPED = 2**28
"""Bytes that parts of memory-mapped files may take without a limit on the device."""


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
    part: int = 0
    """If the device has no memory for all examples: how many it gets at a time. The `arrays` are then those of the
    training set, with what is held out, and of the test set, on the host."""

    @classmethod
    def put(
        cls,
        dataset: Dataset | TaskData,
        label_noise: int,
        holdout: int,
        train_evaluation: int | None = None,
        memory: float | None = None,
        lanes: int = 1,
    ) -> DeviceData:
        """Put a data set on the device. The last `holdout` training examples become the validation split, and the first
        `label_noise` images have wrong labels. Only `train_evaluation` training examples are evaluated, with wrong
        labels in proportion; None evaluates all.

        If the data take more than `memory` bytes (None: half of a GPU's), they stay on the host. Two parts of them for
        so many lanes fit into that memory, but for a batch or two blocks of an evaluation, which come in any case."""
        kept, (train, test) = dataset.spec.train_images - holdout, dataset.parts(label_noise)
        counts, positions = dataset.counts(kept), dataset.spec.positions
        evaluated = min(kept, train_evaluation or kept)
        first = label_noise - label_noise * evaluated // kept
        splits = {"train": (first, evaluated), "test": (kept, dataset.spec.test_images)}
        if holdout:
            splits["validation"] = kept + dataset.spec.test_images, holdout
        leaves, total = jax.tree.leaves((train, test)), dataset.spec.train_images + dataset.spec.test_images
        bytes_, device = sum(x.nbytes for x in leaves), jax.local_devices()[0].memory_stats() or {}
        usual = MAPPED if any(isinstance(x, np.memmap) for x in leaves) else math.inf
        memory = memory or device.get("bytes_limit", 2 * usual) / 2
        if bytes_ > memory:
            part = max(int(memory / (2 * lanes * bytes_ / total)), 1)
            return cls((train, test), kept, splits, counts, positions, part)
        parts = (jax.tree.map(lambda x: x[:kept], train), test, jax.tree.map(lambda x: x[kept:], train))
        arrays = jax.device_put(jax.tree.map(lambda *of: np.concatenate(of), *parts))
        return cls(arrays, kept, splits, counts, positions)

    def brought(self, parts: Sequence[np.ndarray]) -> Iterator[Any]:
        """Bring parts of the examples to the device, given their indices: the next part while the last one is used."""
        with ThreadPoolExecutor(1) as thread:
            ahead = thread.submit(self._bring, parts[0])
            for following in [*parts[1:], None]:
                found = ahead.result()
                if following is not None:
                    ahead = thread.submit(self._bring, following)
                yield found

    def of(self, index: np.ndarray) -> tuple[Any, np.ndarray]:
        """Return examples on the device, and the indices there of those with this index."""
        if not self.part:
            return self.arrays, index
        return self._bring(index.ravel()), np.arange(index.size, dtype=np.int32).reshape(index.shape)

    def _bring(self, index: np.ndarray) -> Any:
        tests = self.splits["test"][1]
        of_test = (index >= self.train_count) & (index < self.train_count + tests)
        others = index - np.where(index >= self.train_count + tests, tests, 0)
        row = bool((np.diff(index) == 1).all())  # such as the blocks of an evaluation, which need no copy

        def some(array: np.ndarray, at: np.ndarray) -> np.ndarray:
            return array[at[0] : at[0] + len(at)] if row else np.take(np.asarray(array), at, axis=0, mode="clip")

        def rows(train: np.ndarray, test: np.ndarray) -> np.ndarray:
            if of_test.all():
                return some(test, index - self.train_count)
            if not of_test.any():
                return some(train, others)
            found = np.take(np.asarray(train), others, axis=0, mode="clip")
            found[of_test] = test[index[of_test] - self.train_count]
            return found

        return jax.block_until_ready(jax.device_put(jax.tree.map(rows, *self.arrays)))
